//! The table of YAML scalars and constructs, held against a real kubectl.

use crate::Cluster;
use serde_json::Value;
use std::path::Path;

const HEAD: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: row}\n";

pub fn as_kubectl(assets: &Path) {
    let cluster = Cluster::bare(assets);
    let table: Vec<Value> = serde_json::from_str(include_str!("../yaml/table.json")).unwrap();
    // Rows that are a block mapping become members of an object that kubectl takes.
    let rows: Vec<(&str, Option<&Value>, bool)> = table
        .iter()
        .map(|row| {
            (
                row["yaml"].as_str().unwrap(),
                row.get("json"),
                row.get("here").is_some(),
            )
        })
        .filter(|(text, _, _)| !text.starts_with(['{', '-', ' ', '%']))
        .collect();
    let is_object = |json: &Option<&Value>| json.is_some_and(Value::is_object);

    // What kubectl reads goes in one call, what it refuses one by one.
    let good: Vec<_> = rows.iter().filter(|(_, json, _)| is_object(json)).collect();
    let all: Vec<String> = good
        .iter()
        .map(|(text, _, _)| format!("{HEAD}{text}"))
        .collect();
    let arguments = [
        "create",
        "--dry-run=client",
        "--validate=false",
        "-o",
        "json",
        "-f",
        "-",
    ];
    let (success, stdout, stderr) = cluster.plane.kubectl_with(&arguments, &all.join("---\n"));
    assert!(success, "{stderr}");
    let answers: Vec<Value> = serde_json::Deserializer::from_str(&stdout)
        .into_iter::<Value>()
        .map(Result::unwrap)
        .flat_map(|answer| match answer.get("items") {
            Some(Value::Array(items)) if answer["kind"] == "List" => items.clone(),
            _ => vec![answer],
        })
        .collect();
    assert_eq!(answers.len(), good.len());
    for ((text, json, differs), mut answer) in good.into_iter().zip(answers) {
        for member in ["apiVersion", "kind", "metadata"] {
            answer.as_object_mut().unwrap().remove(member);
        }
        let answer = floats(&answer);
        assert_eq!(
            Some(&answer),
            json.map(floats).as_ref(),
            "kubectl reads {text:?} in another way than the table says"
        );
        let ours = cozystack_webhook::manifest::yaml::documents(text);
        assert_eq!(
            ours.is_ok_and(|found| floats(&found[0].value) == answer),
            !differs,
            "{text:?}"
        );
    }
    let mut refused = 0;
    for (text, _, _) in rows.iter().filter(|(_, json, _)| json.is_none()) {
        let (success, stdout, _) = cluster
            .plane
            .kubectl_with(&arguments, &format!("{HEAD}{text}"));
        assert!(!success, "kubectl takes {text:?}: {stdout}");
        refused += 1;
    }
    assert!(
        rows.len() >= 60 && refused >= 10,
        "{} rows, {refused} refused",
        rows.len()
    );
}

/// kubectl prints a large float without exponent, so that it reads back as an integer: both are the same number.
fn floats(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.as_f64() == Some(0.0) => serde_json::json!(0),
        Value::Number(number) if !number.is_i64() => serde_json::json!(number.as_f64().unwrap()),
        Value::Array(items) => items.iter().map(floats).collect(),
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(key, value)| (key.clone(), floats(value)))
                .collect(),
        ),
        other => other.clone(),
    }
}
