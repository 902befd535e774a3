//! Whether a schema leads one value through an endless or very long chain of subschemas: validating it would take the
//! stack.

use serde_json::{Map, Value};
use std::collections::HashMap;

/// Keywords whose subschemas look at the same value: one, several, several by name.
const ONE: [&str; 4] = ["not", "if", "then", "else"];
const SEVERAL: [&str; 3] = ["allOf", "anyOf", "oneOf"];
const NAMED: [&str; 2] = ["dependentSchemas", "dependencies"];
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// Addresses and anchors, and what they stand for.
struct Places<'a> {
    root: &'a Value,
    addresses: HashMap<&'a str, &'a Value>,
    anchors: HashMap<&'a str, &'a Value>,
}

/// The length of the longest chain, or nothing when there is a circle.
pub(super) fn longest_chain(root: &Value) -> Option<usize> {
    let mut places = Places {
        root,
        addresses: HashMap::new(),
        anchors: HashMap::new(),
    };
    let mut schemas: Vec<&Value> = Vec::new();
    let mut open = vec![root];
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(members) => {
                schemas.push(value);
                places.note(value, members);
                open.extend(members.values());
            }
            _ => {}
        }
    }
    // Depth first without recursion: a schema is done once all that it leads to is done.
    let mut lengths: HashMap<*const Value, Option<usize>> = HashMap::new();
    for start in schemas {
        let mut path: Vec<(&Value, Vec<&Value>, usize)> = Vec::new();
        if lengths.contains_key(&std::ptr::from_ref(start)) {
            continue;
        }
        lengths.insert(start, None);
        path.push((start, places.next(start), 0));
        while let Some((here, targets, longest)) = path.last_mut() {
            let Some(target) = targets.pop() else {
                let (here, longest) = (*here, *longest);
                lengths.insert(here, Some(longest));
                path.pop();
                if let Some((_, _, around)) = path.last_mut() {
                    *around = (*around).max(longest + 1);
                }
                continue;
            };
            match lengths.get(&std::ptr::from_ref(target)) {
                Some(Some(known)) => *longest = (*longest).max(known + 1),
                // It is on the way here.
                Some(None) => return None,
                None => {
                    lengths.insert(target, None);
                    path.push((target, places.next(target), 0));
                }
            }
        }
    }
    Some(lengths.into_values().flatten().max().unwrap_or(0))
}

impl<'a> Places<'a> {
    fn note(&mut self, schema: &'a Value, members: &'a Map<String, Value>) {
        for key in ["$id", "id"] {
            if let Some(address) = members.get(key).and_then(Value::as_str) {
                let (address, anchor) = address.split_once('#').unwrap_or((address, ""));
                self.addresses.entry(address).or_insert(schema);
                self.anchors.entry(anchor).or_insert(schema);
            }
        }
        for key in ["$anchor", "$dynamicAnchor"] {
            if let Some(anchor) = members.get(key).and_then(Value::as_str) {
                self.anchors.entry(anchor).or_insert(schema);
            }
        }
    }

    /// The subschemas that look at the same value.
    fn next(&self, schema: &'a Value) -> Vec<&'a Value> {
        let Some(members) = schema.as_object() else {
            return Vec::new();
        };
        let mut targets: Vec<&Value> = Vec::new();
        for key in REFERENCES {
            let reference = members.get(key).and_then(Value::as_str);
            targets.extend(reference.and_then(|reference| self.target(reference)));
        }
        targets.extend(ONE.iter().filter_map(|key| members.get(*key)));
        for key in SEVERAL {
            targets.extend(
                members
                    .get(key)
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten(),
            );
        }
        for key in NAMED {
            let named = members.get(key).and_then(Value::as_object);
            targets.extend(named.into_iter().flat_map(Map::values));
        }
        targets
    }

    fn target(&self, reference: &str) -> Option<&'a Value> {
        let (address, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let base = self.addresses.get(address).copied().unwrap_or(self.root);
        if fragment.is_empty() {
            Some(base)
        } else if fragment.starts_with('/') {
            base.pointer(fragment)
                .or_else(|| self.root.pointer(fragment))
        } else {
            self.anchors.get(fragment).copied()
        }
    }
}

/// Whether a value is nested deeper than that.
pub(super) fn is_deeper(value: &Value, max: usize) -> bool {
    let mut open = vec![(value, 0)];
    while let Some((value, depth)) = open.pop() {
        if depth > max {
            return true;
        }
        match value {
            Value::Array(items) => open.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(members) => {
                open.extend(members.values().map(|member| (member, depth + 1)));
            }
            _ => {}
        }
    }
    false
}
