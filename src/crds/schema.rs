//! A CRD's schema applied to an object, as the API server does between mutating and validating webhooks: defaults
//! filled in, unknown fields found, everything else validated.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use webhooks::contract::{FieldPath, Path, Violation};

/// The name under which schema violations are listed beside those of rules.
pub const RULE: &str = "crd-schema";

/// Schemas of all kinds of ours, by group, kind and version.
pub struct Schemas {
    by_kind: BTreeMap<(String, String, String), Schema>,
}

struct Schema {
    structural: Value,
    validator: Validator,
}

impl Schemas {
    /// The schemas of the CRDs that ship.
    ///
    /// # Errors
    /// When a CRD is wrong.
    pub fn load() -> Result<Schemas, String> {
        let crds = super::sources().map_err(|error| error.to_string())?;
        let mut by_kind = BTreeMap::new();
        for crd in &crds {
            let text = |pointer: &str| {
                crd.pointer(pointer)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            for version in super::versions(crd) {
                let structural = version
                    .pointer("/schema/openAPIV3Schema")
                    .cloned()
                    .unwrap_or_else(|| json!({"type": "object"}));
                let validator = jsonschema::options()
                    .with_pattern_options(PatternOptions::regex())
                    .build(&structural)
                    .map_err(|error| format!("{}: {error}", super::plural(crd)))?;
                let key = (
                    text("/spec/group"),
                    text("/spec/names/kind"),
                    super::version_name(version).to_owned(),
                );
                by_kind.insert(
                    key,
                    Schema {
                        structural,
                        validator,
                    },
                );
            }
        }
        Ok(Schemas { by_kind })
    }

    /// Fills in defaults and returns everything that is wrong. None when the kind is not ours.
    pub fn apply(
        &self,
        group: &str,
        kind: &str,
        version: &str,
        object: &mut Value,
    ) -> Option<Vec<Violation>> {
        let schema = self
            .by_kind
            .get(&(group.to_owned(), kind.to_owned(), version.to_owned()))?;
        let mut violations = Vec::new();
        walk(
            &schema.structural,
            object,
            &Path::ROOT,
            true,
            &mut violations,
        );
        violations.extend(
            schema
                .validator
                .iter_errors(object)
                .map(|error| violation(&error)),
        );
        violations.sort_by_cached_key(|violation| violation.field.to_string());
        Some(violations)
    }
}

/// Fills in defaults, top down, and finds fields that the schema does not know.
fn walk(
    schema: &Value,
    value: &mut Value,
    path: &Path<'_>,
    is_root: bool,
    violations: &mut Vec<Violation>,
) {
    if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true)) {
        return;
    }
    match value {
        Value::Object(members) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (name, property) in properties.into_iter().flatten() {
                if let Some(default) = property.get("default")
                    && members
                        .get(name)
                        .is_none_or(|found| found.is_null() && !is_nullable(property))
                {
                    members.insert(name.clone(), default.clone());
                }
            }
            walk_members(schema, properties, members, path, is_root, violations);
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                for (index, item) in items.iter_mut().enumerate() {
                    walk(schema, item, &path.index(index), false, violations);
                }
            }
        }
        _ => {}
    }
}

fn is_nullable(schema: &Value) -> bool {
    schema.get("nullable") == Some(&Value::Bool(true))
}

fn walk_members(
    schema: &Value,
    properties: Option<&Map<String, Value>>,
    members: &mut Map<String, Value>,
    path: &Path<'_>,
    is_root: bool,
    violations: &mut Vec<Violation>,
) {
    for (name, member) in members.iter_mut() {
        // The API server checks metadata by itself.
        if is_root && name == "metadata" {
            continue;
        }
        if let Some(property) = properties.and_then(|properties| properties.get(name)) {
            walk(property, member, &path.member(name), false, violations);
        } else if let Some(additional) = schema.get("additionalProperties") {
            walk(additional, member, &path.key(name), false, violations);
        } else {
            violations.push(Violation::forbidden(&path.member(name), "unknown field"));
        }
    }
}

/// What the library found, in the API server's words.
fn violation(error: &ValidationError<'_>) -> Violation {
    let mut field = FieldPath::default();
    for segment in error.instance_path().segments() {
        field = match segment {
            jsonschema::paths::LocationSegment::Property(name) => field.member(&name),
            jsonschema::paths::LocationSegment::Index(index) => field.index(index),
        };
    }
    let found = error.instance().as_ref();
    let mut violation = match error.kind() {
        ValidationErrorKind::Required { property } => {
            field = field.member(property.as_str().unwrap_or_default());
            Violation::required(&Path::ROOT, "")
        }
        ValidationErrorKind::Type { kind } => {
            let expected = match kind {
                TypeKind::Single(kind) => kind.to_string(),
                TypeKind::Multiple(_) => "of another type".to_owned(),
            };
            Violation::wrong_type(&Path::ROOT, found, &format!("of type {expected}"))
        }
        ValidationErrorKind::Enum { options } => {
            let options: Vec<&str> = options
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            Violation::not_supported(&Path::ROOT, found.clone(), &options)
        }
        ValidationErrorKind::MaxLength { limit } => {
            let limit = usize::try_from(*limit).unwrap_or(usize::MAX);
            Violation::too_long(&Path::ROOT, found.clone(), limit, "characters")
        }
        _ => Violation::invalid(&Path::ROOT, found.clone(), error.to_string()),
    };
    violation.field = field;
    violation
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(version: &str, spec: &Value) -> (Value, Vec<String>) {
        let schemas = Schemas::load().unwrap();
        let mut object = json!({"apiVersion": format!("cozystack.io/{version}"), "kind": "CozystackResourceDefinition",
            "metadata": {"name": "x", "whatever": 1}, "spec": spec});
        let violations = schemas
            .apply(
                "cozystack.io",
                "CozystackResourceDefinition",
                version,
                &mut object,
            )
            .unwrap();
        (object, violations.iter().map(Violation::message).collect())
    }

    #[test]
    fn defaults_come_before_required() {
        let application =
            json!({"kind": "A", "plural": "as", "singular": "a", "openAPISchema": ""});
        let chart = json!({"name": "a", "sourceRef": {"name": "r"}});
        let (object, violations) = apply(
            "v1alpha1",
            &json!({"application": application, "release": {"prefix": "", "chart": chart}}),
        );
        assert_eq!(violations, Vec::<String>::new());
        assert_eq!(
            object["spec"]["release"]["chart"]["sourceRef"],
            json!({"kind": "HelmRepository", "name": "r", "namespace": "cozy-public"})
        );
    }

    #[test]
    fn everything_wrong_is_named() {
        let (_, violations) = apply(
            "v1alpha2",
            &json!({
                "application": {"kind": 5, "plural": "as", "singular": "a"},
                "release": {"prefix": "", "chartRef": {"kind": "Nope", "name": ""}, "typo": 1},
                "dashboard": {"category": "c", "plural": "p", "singular": "s", "tabs": ["yaml", "nope"]},
            }),
        );
        assert_eq!(
            violations,
            [
                "spec.application.kind: Invalid value: \"number\": must be of type string",
                "spec.application.openAPISchema: Required value",
                "spec.dashboard.tabs[1]: Unsupported value: \"nope\": supported values: \"workloads\", \"ingresses\", \"services\", \"secrets\", \"yaml\"",
                "spec.release.chartRef.kind: Unsupported value: \"Nope\": supported values: \"OCIRepository\", \"HelmChart\", \"ExternalArtifact\"",
                "spec.release.chartRef.name: Invalid value: \"\": \"\" is shorter than 1 character",
                "spec.release.typo: Forbidden: unknown field",
            ]
        );
    }

    #[test]
    fn kinds_of_others_are_not_ours() {
        let schemas = Schemas::load().unwrap();
        assert!(
            schemas
                .apply("", "ConfigMap", "v1", &mut json!({}))
                .is_none()
        );
    }
}
