//! `dashboard.keysOrder`: paths that the values' schema does not have are silently ignored by the dashboard.

use super::checks::list;
use crate::contract::{Path, Verdict};
use serde_json::Value;

/// Members of every object that the values' schema does not describe.
const OUTSIDE_THE_SCHEMA: [&str; 4] = ["apiVersion", "appVersion", "kind", "metadata"];
/// How many strays are named.
const STRAYS_MAX: usize = 5;

/// Warns of paths that lead nowhere.
pub fn check(order: &[Value], path: &Path<'_>, schema: &Value, verdict: &mut Verdict) {
    let mut strays = 0;
    for (index, entry) in order.iter().enumerate() {
        let path = path.index(index);
        let keys: Option<Vec<&str>> = list(Some(entry), &path, verdict)
            .iter()
            .map(Value::as_str)
            .collect();
        let Some((first, below)) = keys.as_deref().and_then(<[&str]>::split_first) else {
            continue;
        };
        let is_known = OUTSIDE_THE_SCHEMA.contains(first)
            || (*first == "spec" && leads_somewhere(&[schema], below));
        if is_known {
            continue;
        }
        strays += 1;
        if strays <= STRAYS_MAX {
            let keys = keys.unwrap_or_default().join(".");
            verdict.warn(format!("{}: the schema has no {keys}", path.to_field()));
        }
    }
    if strays > STRAYS_MAX {
        verdict.warn(format!(
            "{}: {} more paths lead nowhere",
            path.to_field(),
            strays - STRAYS_MAX
        ));
    }
}

/// Whether the keys name something below one of the schemas. A map's keys and a list's items need not be named:
/// `["spec", "nodeGroups", "minReplicas"]` is a field of every node group.
fn leads_somewhere(schemas: &[&Value], keys: &[&str]) -> bool {
    let Some((key, rest)) = keys.split_first() else {
        return true;
    };
    let mut next = Vec::new();
    let mut here = schemas.to_vec();
    while let Some(schema) = here.pop() {
        let member = |name: &str| schema.get(name);
        let is_open = [
            member("x-kubernetes-preserve-unknown-fields"),
            member("additionalProperties"),
        ]
        .contains(&Some(&Value::Bool(true)));
        let is_undescribed = [
            "properties",
            "additionalProperties",
            "items",
            "$ref",
            "allOf",
            "anyOf",
            "oneOf",
        ]
        .iter()
        .all(|name| member(name).is_none())
            && member("type").is_none_or(|kind| kind == "object");
        if is_open || is_undescribed || member("$ref").is_some() {
            return true;
        }
        if let Some(found) = member("properties").and_then(|properties| properties.get(key)) {
            next.push(found);
        }
        for inner in ["additionalProperties", "items"] {
            if let Some(found) = member(inner).filter(|found| found.is_object()) {
                next.push(found);
                here.push(found);
            }
        }
        for branches in ["allOf", "anyOf", "oneOf"] {
            here.extend(
                member(branches)
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten(),
            );
        }
    }
    !next.is_empty() && leads_somewhere(&next, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn strays(order: &Value) -> Vec<String> {
        let schema = json!({"type": "object", "properties": {
            "size": {"type": "string"},
            "groups": {"type": "object", "additionalProperties": {"type": "object", "properties": {"min": {"type": "integer"}}}},
            "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
            "free": {"type": "object"},
            "either": {"anyOf": [{"properties": {"x": {}}}]},
        }});
        let mut verdict = Verdict::default();
        check(
            order.as_array().unwrap(),
            &Path::ROOT.member("keysOrder"),
            &schema,
            &mut verdict,
        );
        verdict.warnings
    }

    #[test]
    fn paths_of_the_schema_are_fine() {
        let fine = json!([
            ["apiVersion"],
            ["appVersion"],
            ["kind"],
            ["metadata"],
            ["metadata", "name"],
            ["spec"],
            ["spec", "size"],
            ["spec", "groups", "min"],
            ["spec", "groups", "md0"],
            ["spec", "groups", "md0", "min"],
            ["spec", "list", "a"],
            ["spec", "free", "what", "ever"],
            ["spec", "either", "x"],
            []
        ]);
        assert_eq!(strays(&fine), Vec::<String>::new());
    }

    #[test]
    fn strays_are_named_and_counted() {
        assert_eq!(
            strays(&json!([
                ["spec", "size", "x"],
                ["status"],
                ["spec", "groups", "md0", "max"],
                ["spec", "list", "a", "b"]
            ])),
            [
                "keysOrder[0]: the schema has no spec.size.x",
                "keysOrder[1]: the schema has no status",
                "keysOrder[2]: the schema has no spec.groups.md0.max",
                "keysOrder[3]: the schema has no spec.list.a.b",
            ]
        );
        let many: Vec<Value> = (0..8)
            .map(|index| json!(["spec", format!("x{index}")]))
            .collect();
        let warnings = strays(&Value::Array(many));
        assert_eq!(warnings.len(), 6);
        assert_eq!(warnings[5], "keysOrder: 3 more paths lead nowhere");
    }
}
