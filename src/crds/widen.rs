//! A CRD that is installed over another one never becomes narrower: what was accepted and kept stays so.

#![expect(
    clippy::indexing_slicing,
    reason = "reading an absent member of a Value gives null, and no request reaches this module"
)]

use serde_json::{Map, Value};

/// `ours`, widened by what `live` allows beyond it.
#[must_use]
pub fn crd(live: &Value, mut ours: Value) -> Value {
    let Some(versions) = ours
        .pointer_mut("/spec/versions")
        .and_then(Value::as_array_mut)
    else {
        return ours;
    };
    for live_version in super::versions(live) {
        let name = super::version_name(live_version);
        match versions
            .iter_mut()
            .find(|version| super::version_name(version) == name)
        {
            Some(version) => {
                if let (Some(live), Some(ours)) = (
                    live_version.pointer("/schema/openAPIV3Schema"),
                    version.pointer_mut("/schema/openAPIV3Schema"),
                ) {
                    schema(live, ours);
                }
                for member in ["subresources", "additionalPrinterColumns"] {
                    if let (None, Some(kept)) = (version.get(member), live_version.get(member)) {
                        version[member] = kept.clone();
                    }
                }
            }
            // A later release's version, or one that objects are still stored in: stays, but does not store.
            None => {
                let mut kept = live_version.clone();
                kept["storage"] = Value::Bool(false);
                versions.push(kept);
            }
        }
    }
    // Nor is a later release's conversion taken from it, with the authority that it trusts.
    let conversion = |crd: &Value| crd.pointer("/spec/conversion").cloned();
    if let (None, Some(kept)) = (conversion(&ours), conversion(live))
        && kept["strategy"] == "Webhook"
    {
        ours["spec"]["conversion"] = kept;
    }
    ours
}

/// Widens `ours` until it takes and keeps everything that `live` does.
fn schema(live: &Value, ours: &mut Value) {
    let (Some(live), Some(ours)) = (live.as_object(), ours.as_object_mut()) else {
        return;
    };
    let is_open = |schema: &Map<String, Value>| {
        schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true))
    };
    if is_open(live) {
        ours.insert(
            "x-kubernetes-preserve-unknown-fields".to_owned(),
            Value::Bool(true),
        );
    }
    if live.get("type") != ours.get("type") {
        // Two types have no union in a structural schema: the one in force stays.
        let description = ours.get("description").cloned();
        *ours = live.clone();
        if let Some(description) = description {
            ours.insert("description".to_owned(), description);
        }
        return;
    }
    keep_common_requirements(live, ours);
    for limit in [
        "minLength",
        "minItems",
        "minProperties",
        "minimum",
        "exclusiveMinimum",
    ] {
        keep_looser(live, ours, limit, |live, ours| live < ours);
    }
    for limit in [
        "maxLength",
        "maxItems",
        "maxProperties",
        "maximum",
        "exclusiveMaximum",
    ] {
        keep_looser(live, ours, limit, |live, ours| live > ours);
    }
    for strict in [
        "pattern",
        "format",
        "enum",
        "x-kubernetes-validations",
        "anyOf",
        "oneOf",
        "allOf",
        "not",
    ] {
        if strict == "enum"
            && let (Some(Value::Array(live)), Some(Value::Array(ours))) =
                (live.get(strict), ours.get_mut(strict))
        {
            let more: Vec<Value> = live
                .iter()
                .filter(|value| !ours.contains(value))
                .cloned()
                .collect();
            ours.extend(more);
        } else if live.get(strict) != ours.get(strict) && live.get(strict).is_none() {
            ours.remove(strict);
        }
    }
    if live.get("nullable") == Some(&Value::Bool(true)) {
        ours.insert("nullable".to_owned(), Value::Bool(true));
    }
    if let Some(Value::Object(live)) = live.get("properties") {
        let properties = ours
            .entry("properties")
            .or_insert_with(|| Value::Object(Map::new()));
        if let Some(properties) = properties.as_object_mut() {
            for (name, live) in live {
                match properties.get_mut(name) {
                    Some(ours) => schema(live, ours),
                    None => {
                        properties.insert(name.clone(), live.clone());
                    }
                }
            }
        }
    }
    for inner in ["items", "additionalProperties"] {
        let Some(live) = live.get(inner) else {
            continue;
        };
        if let Some(ours) = ours.get_mut(inner) {
            schema(live, ours);
        } else if inner == "items" || !ours.contains_key("properties") {
            ours.insert(inner.to_owned(), live.clone());
        }
    }
}

/// Required stays what both require.
fn keep_common_requirements(live: &Map<String, Value>, ours: &mut Map<String, Value>) {
    let required = |schema: &Map<String, Value>| {
        schema
            .get("required")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let live = required(live);
    let common: Vec<Value> = required(ours)
        .into_iter()
        .filter(|name| live.contains(name))
        .collect();
    if common.is_empty() {
        ours.remove("required");
    } else {
        ours.insert("required".to_owned(), Value::Array(common));
    }
}

fn keep_looser(
    live: &Map<String, Value>,
    ours: &mut Map<String, Value>,
    limit: &str,
    looser: fn(f64, f64) -> bool,
) {
    let number = |schema: &Map<String, Value>| schema.get(limit).and_then(Value::as_f64);
    match (number(live), number(ours)) {
        (None, Some(_)) => {
            ours.remove(limit);
        }
        (Some(theirs), Some(own)) if looser(theirs, own) => {
            if let Some(kept) = live.get(limit) {
                ours.insert(limit.to_owned(), kept.clone());
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn widened(live: &Value, mut ours: Value) -> Value {
        schema(live, &mut ours);
        ours
    }

    #[test]
    fn what_was_accepted_stays_accepted() {
        assert_eq!(
            widened(
                &json!({"type": "object", "required": ["a"], "properties": {
                    "a": {"type": "string", "enum": ["x", "z"]},
                    "later": {"type": "object", "properties": {"field": {"type": "string"}}},
                    "free": {"x-kubernetes-preserve-unknown-fields": true, "type": "object"},
                    "size": {"type": "string", "maxLength": 300},
                }}),
                json!({"type": "object", "required": ["a", "b"], "properties": {
                    "a": {"type": "string", "enum": ["x", "y"]},
                    "b": {"type": "string"},
                    "free": {"type": "object"},
                    "size": {"type": "string", "minLength": 1, "maxLength": 253, "pattern": "x"},
                }})
            ),
            json!({"type": "object", "required": ["a"], "properties": {
                "a": {"type": "string", "enum": ["x", "y", "z"]},
                "b": {"type": "string"},
                "later": {"type": "object", "properties": {"field": {"type": "string"}}},
                "free": {"x-kubernetes-preserve-unknown-fields": true, "type": "object"},
                "size": {"type": "string", "maxLength": 300},
            }})
        );
    }

    #[test]
    fn another_type_is_not_forced_on_anyone() {
        let live = json!({"type": "integer", "minimum": 1});
        assert_eq!(
            widened(&live, json!({"type": "string", "description": "d"})),
            json!({"type": "integer", "minimum": 1, "description": "d"})
        );
    }

    #[test]
    fn versions_that_only_the_cluster_has_stay() {
        let version = |name: &str, stores: bool| json!({"name": name, "storage": stores, "served": true, "schema": {"openAPIV3Schema": {"type": "object"}}});
        let live = json!({"spec": {"versions": [version("v1", false), version("v2", true)]}});
        let ours = json!({"spec": {"versions": [version("v1", true)]}});
        let merged = crd(&live, ours);
        assert_eq!(
            merged["spec"]["versions"],
            json!([version("v1", true), version("v2", false)])
        );
    }

    #[test]
    fn a_conversion_that_only_the_cluster_has_stays() {
        let with = |conversion: Value| json!({"spec": {"versions": [], "conversion": conversion}});
        let webhook =
            json!({"strategy": "Webhook", "webhook": {"clientConfig": {"caBundle": "x"}}});
        let ours = json!({"spec": {"versions": []}});
        assert_eq!(
            crd(&with(webhook.clone()), ours.clone()),
            with(webhook.clone())
        );
        assert_eq!(crd(&with(json!({"strategy": "None"})), ours.clone()), ours);
        let own = with(json!({"strategy": "Webhook", "webhook": {}}));
        assert_eq!(crd(&with(webhook), own.clone()), own);
    }

    #[test]
    fn our_own_are_not_changed_by_themselves() {
        for ours in super::super::bare(webhooks::REGISTRY).unwrap() {
            assert_eq!(crd(&ours, ours.clone()), ours);
        }
    }
}
