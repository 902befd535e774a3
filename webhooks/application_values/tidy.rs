//! Values as Helm and the API server would look at them: without nulls that only stand for absence. On the way, names
//! that the schema does not know but nearly does.

use crate::contract::nearest;
use crate::contract::{FieldPath, Path};
use crate::schema::dialect::PRESERVE_UNKNOWN;
use serde_json::{Map, Value};

/// How many are named.
const STRAYS_MAX: usize = 3;
/// How many names of one object are compared with the known ones: what costs more is no slip of a pen.
const COMPARED_MAX: usize = 100;
/// Longest name that is compared, in bytes.
const COMPARED_MAX_BYTES: usize = 64;
/// A name is taken for a misspelt one when it is this much like a known one (Jaro-Winkler, 0 to 1). Charts may well
/// know names that their schemas do not, so it takes more than for settings.
const MISSPELT_SIMILARITY: f64 = 0.85;
/// With one of these the known names stand in more places than one.
const COMBINING: [&str; 7] = [
    "allOf",
    "anyOf",
    "oneOf",
    "if",
    "not",
    "patternProperties",
    "dependentSchemas",
];

/// A name that is probably misspelt.
pub struct Stray {
    /// Where, as the tenant wrote it.
    pub written: FieldPath,
    /// Where, in the HelmRelease.
    pub field: FieldPath,
    /// The name that was probably meant.
    pub near: String,
}

impl Stray {
    /// The warning.
    pub fn sentence(&self, kind: &str) -> String {
        format!(
            "{} is not known to {kind}; did you mean {}? ({} of the application)",
            self.field, self.near, self.written
        )
    }
}

/// Takes the nulls out that mean nothing and returns the first few strays.
pub fn tidy(schema: &Value, values: &mut Value) -> Vec<Stray> {
    let mut strays = Vec::new();
    let spec = Path::ROOT.member("spec");
    walk(schema, values, &spec, &spec.member("values"), &mut strays);
    strays
}

fn walk(
    schema: &Value,
    value: &mut Value,
    written: &Path<'_>,
    field: &Path<'_>,
    strays: &mut Vec<Stray>,
) {
    match value {
        Value::Object(members) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let additional = schema.get("additionalProperties");
            let of = |name: &str| {
                properties
                    .and_then(|properties| properties.get(name))
                    .or(additional)
            };
            members.retain(|name, member| !member.is_null() || of(name).is_some_and(takes_null));
            if let Some(properties) = properties
                && strays.len() < STRAYS_MAX
                && additional.is_none()
                && schema.get(PRESERVE_UNKNOWN) != Some(&Value::Bool(true))
                && COMBINING
                    .iter()
                    .all(|keyword| schema.get(keyword).is_none())
            {
                let unknown = members
                    .keys()
                    .filter(|name| !properties.contains_key(*name));
                for name in unknown.take(COMPARED_MAX) {
                    if let Some(near) = misspelt(name, members, properties) {
                        strays.push(Stray {
                            written: written.member(name).to_field(),
                            field: field.member(name).to_field(),
                            near,
                        });
                    }
                }
                strays.truncate(STRAYS_MAX);
            }
            for (name, member) in members.iter_mut() {
                if let Some(schema) = of(name) {
                    let (written, field) = (written.member(name), field.member(name));
                    walk(schema, member, &written, &field, strays);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for (index, item) in items.iter_mut().enumerate() {
                    walk(
                        schema,
                        item,
                        &written.index(index),
                        &field.index(index),
                        strays,
                    );
                }
            }
        }
        _ => {}
    }
}

/// Whether null is a value here and not the absence of one. What a reference or a combination says of it is not asked.
fn takes_null(schema: &Value) -> bool {
    let is_null = |value: &Value| value.is_null() || value == "null";
    schema.get("nullable") == Some(&Value::Bool(true))
        || ["type", "enum", "const"].iter().any(|keyword| {
            schema.get(keyword).is_some_and(|found| match found {
                Value::Array(options) => options.iter().any(is_null),
                other => is_null(other),
            })
        })
}

/// The known name that was probably meant. One that stands there as well was not.
fn misspelt(
    name: &str,
    members: &Map<String, Value>,
    properties: &Map<String, Value>,
) -> Option<String> {
    // The platform's API keeps names with an underscore to itself.
    if name.len() > COMPARED_MAX_BYTES || name.starts_with('_') {
        return None;
    }
    let candidates = properties
        .keys()
        .filter(|known| !members.contains_key(*known));
    nearest(name, candidates.cloned())
        .filter(|near| strsim::jaro_winkler(name, near) >= MISSPELT_SIMILARITY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nulls_that_stand_for_absence_go() {
        let schema = json!({"type": "object", "properties": {
            "a": {"type": "string"}, "b": {"type": ["string", "null"], "nullable": true}, "c": {"enum": [1, null]},
            "map": {"additionalProperties": {"type": "object", "properties": {"x": {}}}},
            "list": {"items": {"type": "object", "properties": {"x": {"type": "integer"}}}},
        }});
        let mut values = json!({"a": null, "b": null, "c": null, "z": null, "map": {"k": null, "l": {"x": null}},
            "list": [null, {"x": null}]});
        assert_eq!(tidy(&schema, &mut values).len(), 0);
        assert_eq!(
            values,
            json!({"b": null, "c": null, "map": {"l": {}}, "list": [null, {}]})
        );
    }

    #[test]
    fn misspelt_names_are_found_where_names_are_known() {
        let known = json!({"replicas": {}, "storageClass": {}, "user": {}});
        let schema = json!({"type": "object", "properties": {
            "replicas": {}, "storageClass": {}, "user": {},
            "open": {"properties": known, "x-kubernetes-preserve-unknown-fields": true},
            "any": {"properties": known, "anyOf": [{"properties": {"replica": {}}}]},
            "list": {"items": {"properties": known}},
        }});
        let mut values = json!({"replica": 1, "_replicas": 1, "colour": 1, "user": 1, "users": 1,
            "open": {"replica": 1}, "any": {"replica": 1}, "list": [{"storageclass": 1, "Replicas": 1}, {"replcas": 1}, {"replcas": 1}]});
        let strays: Vec<String> = tidy(&schema, &mut values)
            .iter()
            .map(|stray| stray.sentence("Gizmo"))
            .collect();
        assert_eq!(
            strays,
            [
                "spec.values.replica is not known to Gizmo; did you mean replicas? (spec.replica of the application)",
                "spec.values.list[0].Replicas is not known to Gizmo; did you mean replicas? (spec.list[0].Replicas of the application)",
                "spec.values.list[0].storageclass is not known to Gizmo; did you mean storageClass? (spec.list[0].storageclass of the application)",
            ]
        );
    }
}
