use super::*;
use proptest::prelude::*;
use serde_json::json;

fn one(text: &str) -> Result<Value, String> {
    match documents(text) {
        Ok(mut found) if found.len() == 1 => Ok(found.remove(0).value),
        Ok(found) => Err(format!("{} documents", found.len())),
        Err(error) => Err(error.to_string()),
    }
}

/// The table that the end-to-end tests hold against a real kubectl.
#[test]
fn the_table_holds() {
    let table: Value = serde_json::from_str(include_str!("../../tests/yaml/table.json")).unwrap();
    let rows = table.as_array().unwrap();
    assert!(rows.len() >= 60, "{} rows", rows.len());
    let mut differences = Vec::new();
    for row in rows {
        let text = row["yaml"].as_str().unwrap();
        let found = one(text);
        let is_right = match row.get("json") {
            Some(wanted) => found.as_ref() == Ok(&as_kubectl_holds(wanted)),
            None => found.is_err(),
        };
        // Where this reader differs on purpose, the row says so.
        let is_right = is_right != row.get("here").is_some();
        if !is_right {
            differences.push(format!(
                "{text:?}: found {found:?}, expected {:?}",
                row.get("json")
            ));
        }
    }
    assert_eq!(
        differences,
        Vec::<String>::new(),
        "{}",
        differences.join("\n")
    );
}

/// The table is JSON as `sigs.k8s.io/yaml` writes it; kubectl then reads numbers beyond 64-bit integers as floats.
fn as_kubectl_holds(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.as_f64() == Some(0.0) => json!(0),
        Value::Number(number) if !number.is_i64() => json!(number.as_f64().unwrap()),
        Value::Array(items) => items.iter().map(as_kubectl_holds).collect(),
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(key, value)| (key.clone(), as_kubectl_holds(value)));
            Value::Object(members.collect())
        }
        other => other.clone(),
    }
}

#[test]
fn documents_are_split_as_kubectl_splits_them() {
    let text = "# only a comment\n---\na: 1\n--- # note\n---\nb: |\n  x\n   ---\n---\n";
    let found = documents(text).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].line, &found[0].value), (3, &json!({"a": 1})));
    assert_eq!(
        (found[1].line, &found[1].value),
        (6, &json!({"b": "x\n ---\n"}))
    );
    assert_eq!(documents("").unwrap(), []);
    assert_eq!(documents("\u{feff}a: 1").unwrap().len(), 1);
    assert_eq!(
        documents("{\"a\":1}\n{\"b\":2}").unwrap()[1],
        Document {
            line: 2,
            value: json!({"b": 2})
        }
    );
    assert_eq!(
        documents("a: 1\n--- text\n").unwrap_err().to_string(),
        "line 2: only a comment may follow the document separator, found \"text\""
    );
}

#[test]
fn errors_name_the_line() {
    let failure = |text: &str| documents(text).unwrap_err().to_string();
    assert_eq!(
        failure("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n"),
        "line 5: key \"c\" is already defined in line 3"
    );
    assert_eq!(
        failure("---\na: 1\n---\nx: 1\nx: 2\n"),
        "line 5: key \"x\" is already defined in line 4"
    );
    assert_eq!(
        failure("{\n\"a\": 1,\n\"a\": 2}"),
        "line 3: key \"a\" is already defined"
    );
    assert_eq!(failure("a: [1,\n"), "line 1: unclosed bracket '['");
    assert!(
        failure("a: *b").starts_with("line 1: "),
        "{}",
        failure("a: *b")
    );
    assert!(failure("a: .inf").contains("no JSON number"));
}

#[test]
fn bombs_are_refused() {
    let mut bomb = String::from("a0: &a0 [x]\n");
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(",");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert!(
        documents(&bomb).unwrap_err().to_string().contains("values"),
        "{:?}",
        documents(&bomb).is_ok()
    );
    assert!(documents(&"[".repeat(100_000)).is_err());
    assert!(documents(&format!("a: {}1{}", "[".repeat(5_000), "]".repeat(5_000))).is_err());
    assert!(documents(&"- ".repeat(50_000)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_text_breaks_the_reader(text in ".{0,60}") {
        let _ = documents(&text);
    }

    #[test]
    fn no_yaml_like_text_breaks_the_reader(text in "[-a:{}\\[\\]&*!|>'\"#%@?,~ \n\t]{0,60}") {
        let _ = documents(&text);
    }
}
