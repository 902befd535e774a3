mod hostile;

use super::*;
use serde_json::Value as Json;

/// What an expression gives on an object: its value in words, `error: ..`, or `refused: ..`.
fn say(expression: &str, object: &str) -> String {
    let environment = Environment::admission();
    let program = match Program::compile(expression, &environment) {
        Ok(program) => program,
        Err(errors) => {
            let errors: Vec<String> = errors
                .iter()
                .map(|error| format!("{}:{}: {}", error.line, error.column, error.message))
                .collect();
            return format!("refused: {}", errors.join("; "));
        }
    };
    let raw: Box<serde_json::value::RawValue> = serde_json::from_str(object).unwrap();
    let document = Document::new(raw.get());
    let mut scope = Scope::new();
    scope.bind(
        "object",
        Value::of_json(crate::contract::Json::from(&*raw), &document),
    );
    scope.bind("oldObject", Value::Null);
    scope.bind("request", Value::Null);
    scope.bind("params", Value::Null);
    let mut run = Run::new(None, &[]);
    match program.evaluate(&scope, &mut run) {
        Ok(value) => words(&value),
        Err(fail) => format!("error: {fail}"),
    }
}

/// As CEL writes it; of what is large, the first part.
fn words(value: &Value<'_>) -> String {
    let mut text = String::new();
    write_words(value, &mut text);
    text
}

fn write_words(value: &Value<'_>, text: &mut String) {
    // A value may hold another many times over, and that one a third.
    if text.len() > 10_000 {
        return;
    }
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(is) => text.push_str(&is.to_string()),
        Value::Int(number) => text.push_str(&number.to_string()),
        Value::Uint(number) => text.push_str(&format!("{number}u")),
        Value::Double(number) => text.push_str(&format!("{number:?}")),
        Value::String(string) => text.push_str(&Json::from(&**string).to_string()),
        Value::List(list) => {
            text.push('[');
            for (at, item) in list.iter().enumerate() {
                text.push_str(if at > 0 { ", " } else { "" });
                write_words(&item, text);
            }
            text.push(']');
        }
        Value::Map(map) => {
            text.push('{');
            for (at, (key, value)) in map.members().enumerate() {
                text.push_str(if at > 0 { ", " } else { "" });
                write_words(&key, text);
                text.push_str(": ");
                write_words(&value, text);
            }
            text.push('}');
        }
        Value::Optional(None) => text.push_str("none"),
        Value::Optional(Some(inner)) => {
            text.push_str("some(");
            write_words(inner, text);
            text.push(')');
        }
        Value::Type(name) => text.push_str(&format!("type {name}")),
        other => text.push_str(&format!("{other:?}")),
    }
}

#[test]
fn expressions_give_what_cel_says() {
    let object = r#"{"metadata": {"name": "x", "labels": {"app.kubernetes.io/name": "a"}},
        "spec": {"n": 3, "f": 1.0, "list": [1, 2, 3], "nil": null, "deep": {"a": {"b": {"c": {"d": [1.5, "é"]}}}}}}"#;
    for (expression, wanted) in [
        ("1 + 2 * 3", "7"),
        ("object.metadata.name == 'x'", "true"),
        ("object.metadata.labels['app.kubernetes.io/name']", "\"a\""),
        ("object.spec.f == 1 && object.spec.n > 2.5", "true"),
        ("object.spec.list.map(x, x * 2)", "[2, 4, 6]"),
        ("object.spec.list.filter(x, x > 1)", "[2, 3]"),
        (
            "object.spec.list.exists(x, x > 2) && !object.spec.list.all(x, x > 2)",
            "true",
        ),
        ("object.spec.deep.a.b.c.d[1]", "\"é\""),
        (
            "has(object.spec.nothing) || object.spec.nothing == 1",
            "error: no such key: nothing",
        ),
        ("object.spec.nothing == 1 || true", "true"),
        ("object.?spec.?nothing.orValue(5)", "5"),
        ("object.spec.list[?7]", "none"),
        ("object.spec.list[7]", "error: index out of bounds: 7"),
        ("has(object.spec.nil)", "true"),
        ("type(object.spec.n) == int", "true"),
        ("type(object.spec.f)", "type double"),
        (
            "{'a': 1, 'b': 2}.transformMap(k, v, v + 1)",
            "{\"a\": 2, \"b\": 3}",
        ),
        ("[1, 2].transformList(i, v, i + v)", "[1, 3]"),
        ("object.?spec.?n.optMap(x, x + 1)", "some(4)"),
        ("1 / 0 == 1", "error: division by zero"),
        (
            "'a' + 1",
            "refused: 1:5: found no matching overload for '_+_' applied to '(string, int)'",
        ),
        (
            "objekt.spec",
            "refused: 1:1: undeclared reference to 'objekt' (in container ''); did you mean 'object'?",
        ),
        (
            "request.nam == 'x'",
            "refused: 1:8: undefined field 'nam'; did you mean 'name'?",
        ),
        (
            "true &&\n  1",
            "refused: 2:3: expected type 'bool' but found 'int'",
        ),
        ("1 in [1, 2] && !('x' in {'y': 1})", "true"),
        (
            "[1, 'a']",
            "refused: 1:5: expected type 'int' but found 'string'",
        ),
        (
            "object.spec.n.map(x, x)",
            "error: got 'types.Int', expected iterable type",
        ),
        (
            "a.b(",
            "refused: 1:5: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', ')', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}",
        ),
    ] {
        assert_eq!(say(expression, object), wanted, "{expression}");
    }
}

#[test]
fn what_is_read_is_told() {
    for (expression, wanted) in [
        ("object.spec.a.b == 1", "object.spec.a.b"),
        (
            "has(object.spec.a) && object.spec.a == oldObject.spec.a",
            "object.spec.a oldObject.spec.a",
        ),
        (
            "object == oldObject && object.spec.x == 1",
            "object object.spec.x oldObject",
        ),
        (
            "object.metadata.?labels[?'a/b'].orValue('') == request.name",
            "object.metadata.labels.a/b request.name",
        ),
        (
            "object.spec.list.all(x, x.a == params.data[x.b])",
            "object.spec.list params.data",
        ),
        (
            "object.spec.list[size(object.spec.m)].x == 1",
            "object.spec.list object.spec.m",
        ),
        ("object.spec.list.map(x, has(x.y))[0]", "object.spec.list"),
        ("'%s'.format([object.metadata]) == ''", "object.metadata"),
    ] {
        let program = Program::compile(expression, &Environment::admission()).unwrap();
        assert_eq!(program.reads().join(" "), wanted, "{expression}");
    }
}
