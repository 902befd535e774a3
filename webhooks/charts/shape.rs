//! Whether a schema would take the stack, by an endless or very long chain of subschemas for one value, or the time, by
//! references that multiply.

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

/// What is known of a schema before any value.
pub(super) struct Shape {
    /// The length of the longest chain; nothing when there is a circle.
    pub(super) longest_chain: Option<u64>,
    /// How large it is with all references written out; nothing when it contains itself.
    pub(super) unfolded: Option<u64>,
    /// The most that is looked at for one value.
    pub(super) width: u64,
    /// Whether every reference leads where it is known to lead. The library decodes fragments and resolves addresses
    /// against those around them; what needs that is not followed here.
    pub(super) is_clear: bool,
}

pub(super) fn of(root: &Value) -> Shape {
    let places = Places::of(root);
    Shape {
        longest_chain: fold(
            root,
            |schema| places.same(schema),
            |_| 0,
            |longest, length| longest.max(length + 1),
        ),
        unfolded: fold(
            root,
            |schema| places.below(schema),
            |_| 1,
            u64::saturating_add,
        ),
        width: fold(
            root,
            |schema| places.same(schema),
            own_weight,
            u64::saturating_add,
        )
        .unwrap_or(u64::MAX),
        is_clear: places.are_clear(),
    }
}

/// What a schema asks of one value without its subschemas: a pattern or an allowed value is a question each.
fn own_weight(schema: &Value) -> u64 {
    let count = |keyword: &str| match schema.get(keyword) {
        Some(Value::Array(items)) => items.len(),
        Some(Value::Object(members)) => members.len(),
        _ => 0,
    };
    let questions = count("patternProperties") + count("enum") + count("required");
    u64::try_from(questions)
        .unwrap_or(u64::MAX)
        .saturating_add(1)
}

/// What `gather` makes of each schema's targets, the largest of them; nothing when there is a circle.
fn fold<'a>(
    root: &'a Value,
    next: impl Fn(&'a Value) -> Vec<&'a Value>,
    first: impl Fn(&'a Value) -> u64,
    gather: impl Fn(u64, u64) -> u64,
) -> Option<u64> {
    let mut known: HashMap<*const Value, Option<u64>> = HashMap::new();
    let mut largest = 0;
    for start in nested(root) {
        if known.contains_key(&std::ptr::from_ref(start)) {
            continue;
        }
        // Depth first without recursion: a schema is done once all that it leads to is done.
        known.insert(start, None);
        let mut path: Vec<(&Value, Vec<&Value>, u64)> = vec![(start, next(start), first(start))];
        while let Some((here, targets, gathered)) = path.last_mut() {
            let Some(target) = targets.pop() else {
                let (here, found) = (*here, *gathered);
                known.insert(here, Some(found));
                largest = largest.max(found);
                path.pop();
                if let Some((_, _, around)) = path.last_mut() {
                    *around = gather(*around, found);
                }
                continue;
            };
            match known.get(&std::ptr::from_ref(target)) {
                Some(Some(found)) => *gathered = gather(*gathered, *found),
                // It is on the way here.
                Some(None) => return None,
                None => {
                    known.insert(target, None);
                    path.push((target, next(target), first(target)));
                }
            }
        }
    }
    Some(largest)
}

/// All objects and lists of a schema.
fn nested(root: &Value) -> Vec<&Value> {
    let (mut all, mut open) = (Vec::new(), vec![root]);
    while let Some(value) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(members) => open.extend(members.values()),
            _ => continue,
        }
        all.push(value);
    }
    all
}

/// Whether validating `values` looks at more than `max` pairs of a subschema and a value: references that are
/// used twice at every level multiply.
pub(super) fn is_costly(root: &Value, values: &Value, max: u64) -> bool {
    let mut estimate = Estimate {
        places: Places::of(root),
        known: HashMap::new(),
        max,
    };
    estimate.cost(root, values) > max
}

struct Estimate<'a> {
    places: Places<'a>,
    known: HashMap<(*const Value, *const Value), u64>,
    max: u64,
}

impl<'a> Estimate<'a> {
    /// Ends: there are no circles, and values are not deep.
    fn cost(&mut self, schema: &'a Value, value: &Value) -> u64 {
        let pair = (std::ptr::from_ref(schema), std::ptr::from_ref(value));
        if let Some(known) = self.known.get(&pair) {
            return *known;
        }
        if u64::try_from(self.known.len()).unwrap_or(u64::MAX) > self.max {
            return self.max.saturating_add(1);
        }
        let mut total: u64 = own_weight(schema);
        for target in self.places.same(schema) {
            total = total.saturating_add(self.cost(target, value));
        }
        let member = |name: &str| schema.get(name);
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    let own = member("properties").and_then(|known| known.get(key));
                    let patterns = member("patternProperties").and_then(Value::as_object);
                    let mut targets: Vec<&Value> = own.into_iter().collect();
                    targets.extend(patterns.into_iter().flat_map(Map::values));
                    if targets.is_empty() {
                        targets.extend(member("additionalProperties"));
                    }
                    targets.extend(member("unevaluatedProperties"));
                    for target in targets {
                        total = total.saturating_add(self.cost(target, value));
                    }
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let mut targets: Vec<&Value> = Vec::new();
                    for name in ["items", "prefixItems"] {
                        targets.extend(match member(name) {
                            Some(Value::Array(each)) => each.get(index),
                            other => other,
                        });
                    }
                    for name in ["additionalItems", "contains", "unevaluatedItems"] {
                        targets.extend(member(name));
                    }
                    for target in targets {
                        total = total.saturating_add(self.cost(target, item));
                    }
                }
            }
            _ => {}
        }
        self.known.insert(pair, total);
        total
    }
}

impl<'a> Places<'a> {
    fn of(root: &'a Value) -> Places<'a> {
        let mut places = Places {
            root,
            addresses: HashMap::new(),
            anchors: HashMap::new(),
        };
        for value in nested(root) {
            if let Some(members) = value.as_object() {
                places.note(value, members);
            }
        }
        places
    }

    /// See [`Shape::is_clear`].
    fn are_clear(&self) -> bool {
        let has_inner_address = nested(self.root).iter().any(|value| {
            !std::ptr::eq(*value, self.root)
                && ["$id", "id"]
                    .iter()
                    .any(|key| value.get(*key).is_some_and(Value::is_string))
        });
        nested(self.root).into_iter().all(|value| {
            let references = REFERENCES
                .iter()
                .filter_map(|key| value.get(*key)?.as_str());
            references.into_iter().all(|reference| {
                let address = reference.split('#').next().unwrap_or_default();
                // A plain file name beside itself is itself.
                let is_own = !address.contains('/')
                    && self
                        .addresses
                        .get(address)
                        .is_some_and(|found| std::ptr::eq(*found, self.root));
                let is_here = (address.is_empty() || is_own) && !has_inner_address;
                let is_absolute = address.contains("://") && self.addresses.contains_key(address);
                !reference.contains('%') && (is_here || is_absolute)
            })
        })
    }

    /// All that a schema is made of, references included.
    fn below(&self, schema: &'a Value) -> Vec<&'a Value> {
        let is_nested = |value: &&'a Value| value.is_object() || value.is_array();
        match schema {
            Value::Array(items) => items.iter().filter(is_nested).collect(),
            Value::Object(members) => members
                .values()
                .filter(is_nested)
                .chain(self.references(members))
                .collect(),
            _ => Vec::new(),
        }
    }

    fn references(&self, members: &Map<String, Value>) -> impl Iterator<Item = &'a Value> {
        REFERENCES
            .iter()
            .filter_map(|key| members.get(*key))
            .filter_map(Value::as_str)
            .filter_map(|reference| self.target(reference))
    }

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
    fn same(&self, schema: &'a Value) -> Vec<&'a Value> {
        let Some(members) = schema.as_object() else {
            return Vec::new();
        };
        let mut targets: Vec<&Value> = self.references(members).collect();
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

/// How many values there are in a value, itself included.
pub(super) fn parts(value: &Value) -> usize {
    let (mut count, mut open) = (0, vec![value]);
    while let Some(value) = open.pop() {
        count += 1;
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(members) => open.extend(members.values()),
            _ => {}
        }
    }
    count
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
