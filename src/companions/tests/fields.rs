//! The fields of an object as `fieldsV1` names them, and who has set which: what server-side apply reckons with.
//!
//! Maps are taken apart, as where a schema names their members. Lists are whole values, but for owner references,
//! which are told apart by uid.

use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// `f:<member>` or `k:{"uid":"..."}`, from the root.
pub type Path = Vec<String>;
pub type Set = BTreeSet<Path>;
/// Manager and operation, and the fields that they have set.
pub type Managers = BTreeMap<(String, &'static str), Set>;

pub const APPLY: &str = "Apply";
pub const UPDATE: &str = "Update";

/// What says which object it is, or is the server's own: nobody's fields.
const IDENTITY: [&str; 2] = ["apiVersion", "kind"];
const SYSTEM: [&str; 8] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "managedFields",
];

pub fn path(members: &[&str]) -> Path {
    members.iter().map(|member| format!("f:{member}")).collect()
}

fn owners() -> Path {
    path(&["metadata", "ownerReferences"])
}

fn key_of(owner: &Value) -> String {
    format!("k:{}", json!({"uid": owner["uid"]}))
}

/// Every field that somebody can have set, and its value.
pub fn leaves(object: &Value) -> BTreeMap<Path, Value> {
    let mut found = BTreeMap::new();
    walk(object, &mut Path::new(), &mut found);
    found
}

fn walk(value: &Value, at: &mut Path, found: &mut BTreeMap<Path, Value>) {
    match value {
        Value::Object(members) if at.is_empty() || !members.is_empty() => {
            let is_metadata = *at == ["f:metadata"];
            for (member, value) in members {
                let is_hidden = (at.is_empty() && IDENTITY.contains(&member.as_str()))
                    || (is_metadata && SYSTEM.contains(&member.as_str()));
                if !is_hidden {
                    at.push(format!("f:{member}"));
                    walk(value, at, found);
                    at.pop();
                }
            }
        }
        Value::Array(items) if *at == owners() => {
            for item in items {
                let mut path = at.clone();
                path.push(key_of(item));
                found.insert(path, item.clone());
            }
        }
        _ => {
            found.insert(at.clone(), value.clone());
        }
    }
}

pub fn get<'v>(object: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter()
        .try_fold(object, |value, element| match element.strip_prefix("f:") {
            Some(member) => value.get(member),
            None => value
                .as_array()?
                .iter()
                .find(|item| key_of(item) == *element),
        })
}

/// Whether the field is there with another value. A map is there in whatever it holds.
pub fn differs(object: &Value, path: &[String], value: &Value) -> bool {
    get(object, path)
        .is_some_and(|found| found != value && !(found.is_object() && *value == json!({})))
}

pub fn put(object: &mut Value, path: &[String], value: Value) {
    let Some((first, rest)) = path.split_first() else {
        *object = value;
        return;
    };
    match first.strip_prefix("f:") {
        Some(member) => {
            if !object.is_object() {
                *object = json!({});
            }
            put(
                object
                    .as_object_mut()
                    .unwrap()
                    .entry(member)
                    .or_insert(Value::Null),
                rest,
                value,
            );
        }
        None => {
            if !object.is_array() {
                *object = json!([]);
            }
            let items = object.as_array_mut().unwrap();
            match items.iter_mut().find(|item| key_of(item) == *first) {
                Some(item) => *item = value,
                None => items.push(value),
            }
        }
    }
}

/// Takes a field out, and what holds nothing any more.
pub fn remove(object: &mut Value, path: &[String]) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    match (first.strip_prefix("f:"), object) {
        (Some(member), Value::Object(members)) => {
            let is_empty = match members.get_mut(member) {
                Some(inner) if !rest.is_empty() => {
                    remove(inner, rest);
                    *inner == json!({}) || *inner == json!([])
                }
                _ => true,
            };
            if is_empty {
                members.remove(member);
            }
        }
        (None, Value::Array(items)) => items.retain(|item| key_of(item) != *first),
        _ => {}
    }
}

pub fn encode(set: &Set) -> Value {
    let mut fields = Value::Object(Map::new());
    for path in set {
        let mut at = &mut fields;
        for element in path {
            at = at
                .as_object_mut()
                .unwrap()
                .entry(element)
                .or_insert_with(|| json!({}));
        }
    }
    fields
}

pub fn decode(fields: &Value) -> Set {
    fn walk(fields: &Value, at: &mut Path, found: &mut Set) {
        let members = fields.as_object().unwrap();
        for (element, below) in members.iter().filter(|(element, _)| *element != ".") {
            at.push(element.clone());
            walk(below, at, found);
            at.pop();
        }
        if members.keys().all(|element| element == ".") && !at.is_empty() {
            found.insert(at.clone());
        }
    }
    let mut found = Set::new();
    walk(fields, &mut Path::new(), &mut found);
    found
}

/// `.spec.size`, as messages name it.
pub fn dotted(path: &[String]) -> String {
    path.iter()
        .map(|element| match element.strip_prefix("f:") {
            Some(member) => format!(".{member}"),
            None => element.replacen("k:", "", 1),
        })
        .collect()
}

/// Who has set what.
pub fn managers(object: &Value) -> Managers {
    let entries = object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    entries
        .into_iter()
        .flatten()
        .filter(|entry| entry.get("manager").is_some())
        .map(|entry| {
            let operation = if entry["operation"] == APPLY {
                APPLY
            } else {
                UPDATE
            };
            let manager = entry["manager"].as_str().unwrap().to_owned();
            ((manager, operation), decode(&entry["fieldsV1"]))
        })
        .collect()
}

pub fn put_managers(object: &mut Value, managers: &Managers) {
    let version = object["apiVersion"].clone();
    let entries: Vec<Value> = managers
        .iter()
        .filter(|(_, set)| !set.is_empty())
        .map(|((manager, operation), set)| {
            json!({
                "manager": manager,
                "operation": operation,
                "apiVersion": version,
                "fieldsType": "FieldsV1",
                "fieldsV1": encode(set),
            })
        })
        .collect();
    let metadata = object["metadata"].as_object_mut().unwrap();
    if entries.is_empty() {
        metadata.remove("managedFields");
    } else {
        metadata.insert("managedFields".to_owned(), entries.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_as_they_are_read() {
        let object = json!({
            "apiVersion": "v1", "kind": "X",
            "metadata": {
                "name": "x", "labels": {"a.b/c": "d"},
                "ownerReferences": [{"uid": "u1", "name": "p"}, {"uid": "u2", "name": "q"}],
            },
            "spec": {"list": [1, 2], "map": {"deep": true}, "empty": {}},
        });
        let all = leaves(&object);
        let set: Set = all.keys().cloned().collect();
        assert_eq!(
            encode(&set),
            json!({
                "f:metadata": {
                    "f:labels": {"f:a.b/c": {}},
                    "f:ownerReferences": {"k:{\"uid\":\"u1\"}": {}, "k:{\"uid\":\"u2\"}": {}},
                },
                "f:spec": {"f:list": {}, "f:map": {"f:deep": {}}, "f:empty": {}},
            })
        );
        assert_eq!(decode(&encode(&set)), set);
        let mut copy = json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "x"}});
        for (path, value) in &all {
            assert_eq!(get(&object, path), Some(value));
            put(&mut copy, path, value.clone());
        }
        assert_eq!(copy, object);
        for path in &set {
            remove(&mut copy, path);
        }
        assert_eq!(
            copy,
            json!({"apiVersion": "v1", "kind": "X", "metadata": {"name": "x"}}),
            "nothing stays of what is empty"
        );
    }
}
