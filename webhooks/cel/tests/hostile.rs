//! What is written to stall or end the process is refused before it runs, or stopped while it does.

use super::super::*;
use super::say;
use crate::cel::guard;
use proptest::prelude::*;
use std::fmt::Write as _;

/// Texts at and beyond what the guard lets pass, by what they are made of.
fn towers(height: usize) -> Vec<(&'static str, String)> {
    let nested =
        |open: &str, close: &str| format!("{}1{}", open.repeat(height), close.repeat(height));
    let chain = |first: &str, next: &str| format!("{first}{}", next.repeat(height));
    vec![
        ("sum", chain("1", "+1")),
        ("fields", chain("object", ".a")),
        ("optional fields", chain("object", ".?a")),
        ("indexes", chain("object", "[0]")),
        ("calls", chain("'a'", ".trim()")),
        ("or", chain("true", "||true")),
        ("and", chain("true", "&&true")),
        ("equal", chain("1", "==1")),
        ("in", chain("1", " in [1]")),
        ("conditions", format!("{}1", "true?1:".repeat(height))),
        (
            "nested conditions",
            format!("{}1{}", "true?(".repeat(height), "):1".repeat(height)),
        ),
        ("not", format!("{}true", "!".repeat(height))),
        ("minus", format!("{}1", "-".repeat(height))),
        ("minus apart", format!("{}1", "- ".repeat(height))),
        ("brackets", nested("(", ")")),
        ("lists", nested("[", "]")),
        ("maps", nested("{'a':", "}")),
        ("mixed", nested("[({'a':size([", "])})]")),
        ("open", "[".repeat(height)),
        ("close", "]".repeat(height)),
        ("open maps", "{".repeat(height)),
        ("functions", nested("size(", ")")),
        (
            "loops",
            format!("{}true{}", "[1].all(x,".repeat(height), ")".repeat(height)),
        ),
        ("items", format!("[{}1]", "1,".repeat(height))),
        ("quotes", "'".repeat(height)),
        ("dots", ".".repeat(height)),
        ("questions", "?".repeat(height)),
        ("comments", "//".repeat(height)),
        ("doubled types", chain("optional.of(1)", ".optMap(x,{x:x})")),
        (
            "doubled values",
            chain("optional.of([1])", ".optMap(x,x+x)"),
        ),
        (
            "doubled lists",
            chain("optional.of([1])", ".optMap(x,[x,x])"),
        ),
    ]
}

#[test]
fn towers_of_any_height_end_well() {
    // A stack as small as those of the service's threads.
    for height in [1, 10, 45, 99, 100, 101, 300, 1_000, 2_000, 10_000, 100_000] {
        for (name, text) in towers(height) {
            let said = say(&text, "{}");
            let is_long = text.len() > SOURCE_MAX_BYTES;
            assert_eq!(
                is_long,
                said.contains("bytes long"),
                "{name} of {height}: {said}"
            );
        }
    }
}

#[test]
fn deep_and_long_expressions_are_refused_with_their_place() {
    for (text, wanted) in [
        (
            format!("1{}", "+1".repeat(400)),
            "1:202: the expression is more than 100 operators deep",
        ),
        (
            "(".repeat(60),
            "1:48: brackets are nested more than 48 deep",
        ),
        (
            "true||".repeat(2_100),
            "1:12005: there are more than 2000 `&&` and `||`",
        ),
        (
            "1".repeat(17_000),
            "1:1: the expression is 17000 bytes long: it may have at most 16384",
        ),
    ] {
        assert_eq!(say(&text, "{}"), format!("refused: {wanted}"));
    }
    // What stands in texts and comments is none.
    for text in [
        format!("'{}'", "(".repeat(100)),
        format!("r'{}\\'", "[".repeat(100)),
        format!("b\"{}\"", "+".repeat(1_000)),
        format!("'''{}'{}'''", "(".repeat(100), "(".repeat(100)),
        format!("true // {}\n", "(".repeat(100)),
        format!("'\\'{}'", "(".repeat(100)),
        format!("[{}]", vec!["1+1"; 1_000].join(",")),
    ] {
        assert_eq!(guard::check(&text), Ok(()), "{text}");
        assert!(!say(&text, "{}").starts_with("refused"), "{text}");
    }
}

#[test]
fn regular_expressions_are_kept_within_bounds() {
    let many: Vec<String> = (0..400)
        .map(|number| format!("'a'.matches('\\\\pL{{10}}x{number}')"))
        .collect();
    let said = say(&many.join("||"), "{}");
    assert!(
        said.contains("the regular expressions up to here are too large together"),
        "{said}"
    );
    // The same one counts once.
    let same = vec!["'a'.matches('\\\\pL{10}x')"; 300].join("||");
    assert_eq!(say(&same, "{}"), "false");
}

#[test]
fn no_more_errors_are_told_than_are_read() {
    let names: Vec<String> = (0..2_000).map(|number| format!("n{number}")).collect();
    let errors =
        Program::compile(&format!("[{}]", names.join(",")), &Environment::admission()).unwrap_err();
    assert_eq!(errors.len(), 20);
    assert!(
        errors[19].message.ends_with("; and 1980 more"),
        "{}",
        errors[19]
    );
}

#[test]
fn messages_hold_no_more_of_a_key_than_is_read() {
    let said = say("object[object.text] == 1", &large(20_000));
    assert_eq!(said, format!("error: no such key: {}...", "a".repeat(500)));
}

/// An object with a list of so many numbers, and a text of as many characters.
fn large(items: usize) -> String {
    let mut list = String::from("0");
    for item in 1..items {
        write!(list, ",{item}").unwrap();
    }
    format!(r#"{{"list": [{list}], "text": "{}"}}"#, "a".repeat(items))
}

#[test]
fn what_takes_too_much_is_stopped() {
    let object = large(20_000);
    let steps = "error: it takes more than 1000000 steps";
    let bytes = "error: it makes more than 8 MiB of values";
    for (expression, wanted) in [
        ("object.list.all(a, object.list.all(b, a + b >= 0))", steps),
        (
            "object.list.map(a, object.list.map(b, a * b)).size() > 0",
            steps,
        ),
        (
            "object.list.exists(a, a in object.list.map(b, -b - 1))",
            steps,
        ),
        (
            "object.list.filter(a, object.list.exists(b, b == a + 1)).size() == 0",
            steps,
        ),
        (
            "object.list.transformMapEntry(i, v, {v: i}).size() > 0",
            steps,
        ),
        ("object.list.all(a, object.text <= object.text)", steps),
        (
            "object.list.all(a, bytes(object.text) == bytes(object.text))",
            steps,
        ),
        (
            "object.list == object.list && object.list.all(x, object.list == object.list)",
            steps,
        ),
        (
            "[[1,2,3,4,5,6,7,8,9,10]].all(a, a.all(b, a.all(c, a.all(d, a.all(e, a.all(f, a.all(g, true)))))))",
            steps,
        ),
        (
            "object.list.map(a, object.text + object.text).size() > 0",
            bytes,
        ),
        (
            "object.list.map(a, [a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a]).size() > 0",
            steps,
        ),
        (
            "optional.of(object.text).optMap(x, x + x).optMap(x, x + x).optMap(x, x + x).optMap(x, x + x)\
             .optMap(x, x + x).optMap(x, x + x).optMap(x, x + x).optMap(x, x + x).optMap(x, x + x).hasValue()",
            bytes,
        ),
    ] {
        assert_eq!(say(expression, &object), wanted, "{expression}");
    }
    // What is stopped is not made up for. (Of what has no steps left nothing could.)
    for expression in [
        "object.list.map(a, object.text + object.text).size() > 0 || true",
        "!(false && object.list.map(a, object.text + object.text).size() > 0) && (object.list.map(a, object.text + object.text).size() > 0 || true)",
        "[1, 2].exists(x, x == 2 || object.list.map(a, object.text + object.text).size() > 0)",
        "[1, 2].exists_one(x, x == 2 || object.list.map(a, object.text + object.text).size() > 0)",
        "[1].map(x, x > 1 || object.list.map(a, object.text + object.text).size() > 0) == [true] || true",
    ] {
        assert_eq!(say(expression, &object), bytes, "{expression}");
    }
    for expression in [
        "object.list.all(a, object.list.all(b, a + b >= 0)) || true",
        "false && object.list.all(a, object.list.all(b, a + b >= 0)) ? true : object.list.all(a, object.list.all(b, a + b >= 0)) || true",
        "[1].exists(x, object.list.all(a, object.list.all(b, a + b >= 0))) || true",
    ] {
        assert_eq!(say(expression, &object), steps, "{expression}");
    }
}

#[test]
fn variables_cannot_pile_up() {
    let mut environment = Environment::admission().with_composed();
    let mut programs: Vec<(String, Program)> = Vec::new();
    for number in 0..200 {
        let expression = match number {
            0 => "[[1]]".to_owned(),
            _ => format!("[[dyn(variables.v{})]]", number - 1),
        };
        match Program::compile(&expression, &environment) {
            Ok(program) => {
                environment.compose(&format!("v{number}"), Some(&program));
                programs.push((format!("v{number}"), program));
            }
            Err(errors) => {
                let said = errors[0].to_string();
                assert!(
                    said.contains("are 151 steps deep: they may be 150"),
                    "{said}"
                );
                break;
            }
        }
    }
    // The highest that may be is evaluated.
    assert_eq!(programs.len(), 37);
    let (name, _) = programs.last().unwrap();
    let last = format!("type(variables.{name}) == list");
    let last = Program::compile(&last, &environment).unwrap();
    let mut scope = Scope::new();
    for (name, program) in &programs {
        scope.compose(name, program);
    }
    let value = last.evaluate(&scope, &mut Run::new(None, &[]));
    assert!(matches!(value, Ok(Value::Bool(true))), "{value:?}");
}

/// Pieces of expressions, right and wrong.
fn piece() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "object",
        "oldObject",
        "request",
        "variables",
        "x",
        "1",
        "2u",
        "1.5",
        "'a'",
        "b'a'",
        "null",
        "true",
        "+",
        "-",
        "*",
        "/",
        "%",
        "==",
        "!=",
        "<",
        "in",
        "&&",
        "||",
        "!",
        "?",
        ":",
        ".",
        ".?",
        "[",
        "]",
        "[?",
        "{",
        "}",
        "(",
        ")",
        ",",
        "has(",
        ".all(x,",
        ".map(x,",
        ".exists(k, v,",
        ".transformMap(k, v,",
        ".optMap(x,",
        "size(",
        ".size()",
        "matches(",
        ".matches('(a+)+$')",
        "int(",
        "string(",
        "type(",
        "dyn(",
        "optional.of(",
        ".orValue(",
        "\n",
        "//",
        "'''",
        "\\",
        "\u{e9}",
        "quantity('1')",
        "duration('1s')",
        "timestamp(",
        "sets.contains(",
        ".format(",
        "list",
    ];
    prop::sample::select(WORDS).prop_map(ToOwned::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Whatever is put together, nothing panics, and what may run ends.
    #[test]
    fn any_text_ends_well(pieces in prop::collection::vec(piece(), 0..40)) {
        say(&pieces.join(" "), r#"{"list": [1, 2], "x": {"y": null}}"#);
        say(&pieces.concat(), r#"{"list": [1, 2], "x": {"y": null}}"#);
    }

    #[test]
    fn any_bytes_end_well(text in "\\PC{0,60}") {
        say(&text, "{}");
    }
}
