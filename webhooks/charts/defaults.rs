//! What the user's values have no place for in the defaults of charts without a schema.

use super::dependencies::Node;
use super::schema::{below, kind_of};
use super::{Departure, FROM_SECRET};
use crate::contract::FieldPath;
use crate::contract::nearest;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::rc::Rc;

/// Most departures that are told.
const DEPARTURES_MAX: usize = 20;
/// Most known paths among which the nearest is looked for.
const KNOWN_MAX: usize = 2_000;

struct Walk<'a> {
    /// Where the user's values stand.
    base: &'a FieldPath,
    /// The defaults of all charts, merged.
    known: &'a Value,
    found: Vec<Departure>,
}

pub(super) fn departures(
    root: &Rc<RefCell<Node<'_>>>,
    base: &FieldPath,
    user: &Value,
    known: &Value,
) -> Vec<Departure> {
    let mut walk = Walk {
        base,
        known,
        found: Vec::new(),
    };
    if let (Some(user), Some(defaults)) = (user.as_object(), known.as_object()) {
        walk.chart(root, base, user, defaults, true);
    }
    walk.found
}

impl Walk<'_> {
    fn chart(
        &mut self,
        node: &Rc<RefCell<Node<'_>>>,
        here: &FieldPath,
        user: &Map<String, Value>,
        defaults: &Map<String, Value>,
        is_root: bool,
    ) {
        let node = node.borrow();
        for (key, value) in user {
            let child = node
                .children
                .iter()
                .find(|child| child.borrow().name == *key);
            if let Some(child) = child {
                let part = defaults.get(key).and_then(Value::as_object);
                if let (Some(value), Some(part)) = (value.as_object(), part) {
                    self.chart(child, &below(here, key), value, part, false);
                }
                continue;
            }
            let is_for_all = key == super::coalesce::GLOBAL
                || (is_root && (key == "tags" || FROM_SECRET.contains(&key.as_str())));
            if is_for_all || node.prepared.schema.is_some() || is_subchart(&node, key) {
                continue;
            }
            self.value(here, key, value, defaults);
        }
    }

    fn value(
        &mut self,
        around: &FieldPath,
        key: &str,
        value: &Value,
        defaults: &Map<String, Value>,
    ) {
        if self.found.len() >= DEPARTURES_MAX {
            return;
        }
        let here = below(around, key);
        let Some(default) = defaults.get(key) else {
            // What is taken away may well be nowhere.
            if !value.is_null() {
                let detail = match self.nearest(around, key, defaults) {
                    Some(near) => format!("not in the chart's defaults; did you mean {near}?"),
                    None => "not in the chart's defaults".to_owned(),
                };
                self.found.push(Departure {
                    field: here,
                    detail,
                });
            }
            return;
        };
        match (value, default) {
            (Value::Null, _) | (_, Value::Null) => {}
            // An empty map or list says nothing of what may stand there.
            (_, Value::Object(known)) if known.is_empty() => {}
            (_, Value::Array(known)) if known.is_empty() => {}
            (Value::Object(members), Value::Object(known)) => {
                for (key, value) in members {
                    self.value(&here, key, value, known);
                }
            }
            (Value::Object(_) | Value::Array(_), _) | (_, Value::Object(_) | Value::Array(_))
                if kind_of(value) != kind_of(default) =>
            {
                self.found.push(Departure {
                    field: here,
                    detail: format!(
                        "{} where the chart's defaults have {}",
                        named(value),
                        named(default)
                    ),
                });
            }
            _ => {}
        }
    }

    /// A neighbour of a similar name, else the same name elsewhere: as it would be written in values.
    fn nearest(
        &self,
        around: &FieldPath,
        key: &str,
        defaults: &Map<String, Value>,
    ) -> Option<FieldPath> {
        if let Some(name) = nearest(key, defaults.keys().cloned()) {
            return Some(self.within(&below(around, &name)));
        }
        let mut paths = Vec::new();
        collect(self.known, self.base, &mut paths);
        paths
            .into_iter()
            .find(|(_, last)| last == key)
            .map(|(path, _)| self.within(&path))
    }

    /// Without what leads to the values: a warning is short.
    fn within(&self, path: &FieldPath) -> FieldPath {
        let steps = path.segments().iter().skip(self.base.segments().len());
        steps
            .filter_map(super::schema::name_of)
            .fold(FieldPath::default(), |path, name| below(&path, name))
    }
}

fn named(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "a map",
        Value::Array(_) => "a list",
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => "a single value",
    }
}

/// Subcharts that are not enabled: what they would know is not looked at.
fn is_subchart(node: &Node<'_>, key: &str) -> bool {
    let prepared = node.prepared;
    let declared = prepared.dependencies.iter().flatten();
    prepared.subcharts.iter().any(|chart| chart.name == key)
        || declared
            .into_iter()
            .any(|dependency| dependency.name == key || dependency.alias.as_deref() == Some(key))
}

fn collect(known: &Value, here: &FieldPath, paths: &mut Vec<(FieldPath, String)>) {
    let Some(members) = known.as_object() else {
        return;
    };
    for (key, value) in members {
        if paths.len() >= KNOWN_MAX {
            return;
        }
        let path = below(here, key);
        collect(value, &path, paths);
        paths.push((path, key.clone()));
    }
}
