//! Kubernetes' dialect of JSON schema, put into words that the library knows: `nullable`,
//! `x-kubernetes-int-or-string`, `x-kubernetes-preserve-unknown-fields`, formats, and draft 4's boolean
//! `exclusiveMinimum`. CEL (`x-kubernetes-validations`) is not read.
//!
//! The chart has defaults, which Helm merges beneath the values: what has one is not required here.

use super::{formats, options};
use jsonschema::{Draft, ValidationError, Validator};
use serde_json::{Map, Value, json};

/// Largest schema once its references are followed, in nodes: each of them is asked about a value at most once, so this bounds
/// what values can cost. The largest of the platform has about 300.
const NODES_MAX: usize = 20_000;
/// Deepest schema once its references are followed: as deep as JSON may be.
const DEPTH_MAX: usize = 128;

/// A member of the dialect that stays, for readers of [`Dialect::document`].
pub const PRESERVE_UNKNOWN: &str = "x-kubernetes-preserve-unknown-fields";

/// A schema that can be asked.
pub struct Dialect {
    /// The schema as it is asked, all references followed: without them, every error's place is found in it.
    pub document: Value,
    validator: Validator,
}

impl Dialect {
    /// Adapts and compiles a schema.
    ///
    /// # Errors
    /// A sentence that says why it cannot be used.
    pub fn of(schema: &Value) -> Result<Dialect, String> {
        let mut adapter = Adapter {
            root: schema,
            nodes: 0,
            depth: 0,
            following: Vec::new(),
        };
        let document = adapter.adapt(schema, None)?;
        let build = |draft| {
            formats::register(options())
                .with_draft(draft)
                .build(&document)
                .map_err(|error| error.to_string())
        };
        let written = schema.get("$schema").and_then(Value::as_str);
        let validator = match written {
            Some(draft) if draft.contains("2019-09") => build(Draft::Draft201909),
            Some(draft) if draft.contains("/draft-0") => build(Draft::Draft7),
            // Lists of `items` are of the older drafts.
            _ => build(Draft::Draft202012).or_else(|error| build(Draft::Draft7).map_err(|_| error)),
        }?;
        Ok(Dialect {
            document,
            validator,
        })
    }

    /// Whether nothing is wrong with the values. A tenth of what listing the errors takes.
    #[must_use]
    pub fn is_valid(&self, values: &Value) -> bool {
        self.validator.is_valid(values)
    }

    /// Everything that is wrong with the values.
    pub fn errors<'v>(&'v self, values: &'v Value) -> impl Iterator<Item = ValidationError<'v>> {
        self.validator.iter_errors(values)
    }

    /// One thing that is wrong with the values.
    #[must_use]
    pub fn first_error<'v>(&'v self, values: &'v Value) -> Option<ValidationError<'v>> {
        self.validator.validate(values).err()
    }
}

/// What a string of that format is, with its article.
#[must_use]
pub fn expected_format(name: &str) -> Option<&'static str> {
    formats::expected(name)
}

struct Adapter<'s> {
    root: &'s Value,
    nodes: usize,
    depth: usize,
    /// The references that are being followed: one that comes again would never end.
    following: Vec<&'s str>,
}

impl<'s> Adapter<'s> {
    /// The schema in words that the library knows. `default` is what the chart's values have here.
    fn adapt(&mut self, schema: &'s Value, default: Option<&'s Value>) -> Result<Value, String> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(format!(
                "has more than {NODES_MAX} nodes once its references are followed"
            ));
        }
        if self.depth >= DEPTH_MAX {
            return Err(format!(
                "is deeper than {DEPTH_MAX} once its references are followed"
            ));
        }
        self.depth += 1;
        let adapted = match schema {
            Value::Object(members) => {
                let default = members.get("default").or(default);
                match members.get("$ref") {
                    Some(reference) => self.follow(reference, members, default),
                    None => self.members(members, default).map(Value::Object),
                }
            }
            other => Ok(other.clone()),
        };
        self.depth -= 1;
        adapted
    }

    fn follow(
        &mut self,
        reference: &'s Value,
        members: &'s Map<String, Value>,
        default: Option<&'s Value>,
    ) -> Result<Value, String> {
        let pointer = reference
            .as_str()
            .and_then(|reference| reference.strip_prefix('#'))
            .filter(|pointer| pointer.is_empty() || pointer.starts_with('/'));
        let target = pointer.and_then(|pointer| Some((pointer, self.root.pointer(pointer)?)));
        let Some((pointer, target)) = target else {
            return Err(format!("refers to {reference}, which is not in it"));
        };
        if self.following.contains(&pointer) {
            return Err(format!("refers to itself by {reference}"));
        }
        self.following.push(pointer);
        let target = self.adapt(target, default);
        self.following.pop();
        let beside = self.members(members, default)?;
        if beside.is_empty() {
            target
        } else {
            Ok(json!({"allOf": [target?, beside]}))
        }
    }

    fn members(
        &mut self,
        members: &'s Map<String, Value>,
        default: Option<&'s Value>,
    ) -> Result<Map<String, Value>, String> {
        let mut adapted = Map::new();
        for (keyword, value) in members {
            let value = match keyword.as_str() {
                // Read elsewhere, or says nothing of values.
                "$ref" | "$schema" | "$id" | "id" | "$anchor" | "$comment" | "$defs"
                | "definitions" | "title" | "description" | "default" | "example" | "examples"
                | "externalDocs" => continue,
                "$dynamicRef" | "$recursiveRef" => {
                    return Err(format!("has a {keyword}, which is not followed"));
                }
                "properties" => self.map(value, default)?,
                "patternProperties" | "dependentSchemas" | "dependencies" => {
                    self.map(value, None)?
                }
                "items"
                | "prefixItems"
                | "additionalItems"
                | "additionalProperties"
                | "not"
                | "if"
                | "then"
                | "else"
                | "contains"
                | "propertyNames"
                | "unevaluatedItems"
                | "unevaluatedProperties" => self.one_or_list(value, None)?,
                // About the same value: the same default.
                "allOf" | "anyOf" | "oneOf" => self.one_or_list(value, default)?,
                "required" => match still_required(value, members, default) {
                    Some(value) => value,
                    None => continue,
                },
                "format" => match value.as_str() {
                    Some("int32" | "int64") => value.clone(),
                    Some(format) if formats::is_known(format) => value.clone(),
                    _ => continue,
                },
                _ => value.clone(),
            };
            adapted.insert(keyword.clone(), value);
        }
        bound_integers(&mut adapted);
        number_exclusive_bounds(&mut adapted);
        if is_true(members, "x-kubernetes-int-or-string") {
            take_int_or_string(&mut adapted);
        }
        if is_true(members, "nullable") {
            allow_null(&mut adapted);
        }
        if is_true(members, PRESERVE_UNKNOWN)
            && adapted.get("additionalProperties") == Some(&Value::Bool(false))
        {
            adapted.remove("additionalProperties");
        }
        Ok(adapted)
    }

    fn map(&mut self, value: &'s Value, default: Option<&'s Value>) -> Result<Value, String> {
        let Some(schemas) = value.as_object() else {
            return Ok(value.clone());
        };
        let mut adapted = Map::new();
        for (name, schema) in schemas {
            let default = default.and_then(|default| default.get(name));
            adapted.insert(name.clone(), self.adapt(schema, default)?);
        }
        Ok(Value::Object(adapted))
    }

    fn one_or_list(
        &mut self,
        value: &'s Value,
        default: Option<&'s Value>,
    ) -> Result<Value, String> {
        let Some(schemas) = value.as_array() else {
            return self.adapt(value, default);
        };
        let schemas = schemas.iter().map(|schema| self.adapt(schema, default));
        Ok(Value::Array(schemas.collect::<Result<_, _>>()?))
    }
}

fn is_true(members: &Map<String, Value>, keyword: &str) -> bool {
    members.get(keyword) == Some(&Value::Bool(true))
}

/// The required names that no default brings; none when nothing is left.
fn still_required(
    required: &Value,
    members: &Map<String, Value>,
    default: Option<&Value>,
) -> Option<Value> {
    let Some(names) = required.as_array() else {
        return Some(required.clone());
    };
    let property = |name: &str| members.get("properties")?.get(name)?.get("default");
    let names: Vec<Value> = names
        .iter()
        .filter(|name| {
            name.as_str().is_none_or(|name| {
                property(name).is_none() && default.and_then(|default| default.get(name)).is_none()
            })
        })
        .cloned()
        .collect();
    (!names.is_empty()).then_some(Value::Array(names))
}

/// `int32` and `int64` are bounds.
fn bound_integers(adapted: &mut Map<String, Value>) {
    let (min, max) = match adapted.get("format").and_then(Value::as_str) {
        Some("int32") => (i64::from(i32::MIN), i64::from(i32::MAX)),
        Some("int64") => (i64::MIN, i64::MAX),
        _ => return,
    };
    adapted.remove("format");
    let own = |keyword: &str| adapted.get(keyword).and_then(Value::as_f64);
    #[expect(
        clippy::cast_precision_loss,
        reason = "a bound of the schema's own near the end of int64 may stand"
    )]
    let (is_low, is_high) = (
        own("minimum").is_none_or(|own| own < min as f64),
        own("maximum").is_none_or(|own| own > max as f64),
    );
    if is_low {
        adapted.insert("minimum".to_owned(), min.into());
    }
    if is_high {
        adapted.insert("maximum".to_owned(), max.into());
    }
}

/// `exclusiveMinimum: true` makes `minimum` exclusive.
fn number_exclusive_bounds(adapted: &mut Map<String, Value>) {
    for (bound, exclusive) in [
        ("minimum", "exclusiveMinimum"),
        ("maximum", "exclusiveMaximum"),
    ] {
        if let Some(Value::Bool(is_exclusive)) = adapted.get(exclusive) {
            let limit = if *is_exclusive {
                adapted.remove(bound)
            } else {
                None
            };
            adapted.remove(exclusive);
            if let Some(limit) = limit {
                adapted.insert(exclusive.to_owned(), limit);
            }
        }
    }
}

/// The form in which Kubernetes wants it written says less clearly what a type says.
fn take_int_or_string(adapted: &mut Map<String, Value>) {
    let is_form = |branches: &Value| {
        let forms = [json!({"type": "integer"}), json!({"type": "string"})];
        branches.as_array().is_some_and(|branches| {
            branches.len() == 2 && forms.iter().all(|form| branches.contains(form))
        })
    };
    if adapted.get("anyOf").is_some_and(is_form) {
        adapted.remove("anyOf");
    }
    if let Some(Value::Array(parts)) = adapted.get_mut("allOf") {
        parts.retain(|part| {
            let alone = part.as_object().filter(|part| part.len() == 1);
            !alone.is_some_and(|part| part.get("anyOf").is_some_and(is_form))
        });
        if parts.is_empty() {
            adapted.remove("allOf");
        }
    }
    adapted
        .entry("type")
        .or_insert_with(|| json!(["integer", "string"]));
}

fn allow_null(adapted: &mut Map<String, Value>) {
    let null = || Value::from("null");
    match adapted.get_mut("type") {
        Some(Value::Array(types)) if !types.contains(&null()) => types.push(null()),
        Some(kind @ Value::String(_)) => *kind = json!([kind.take(), "null"]),
        Some(_) => {}
        None => {
            for keyword in ["anyOf", "oneOf"] {
                if let Some(Value::Array(branches)) = adapted.get_mut(keyword) {
                    branches.push(json!({"type": "null"}));
                }
            }
        }
    }
    if let Some(Value::Array(values)) = adapted.get_mut("enum")
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(schema: &Value, values: &Value) -> Vec<String> {
        let dialect = Dialect::of(schema).unwrap();
        let errors: Vec<String> = dialect
            .errors(values)
            .map(|error| format!("{} {error}", error.schema_path()))
            .collect();
        assert_eq!(dialect.is_valid(values), errors.is_empty());
        for error in dialect.errors(values) {
            let place = error.schema_path().to_string();
            assert!(dialect.document.pointer(&place).is_some(), "{place}");
        }
        errors
    }

    fn property(schema: &Value) -> Value {
        json!({"type": "object", "properties": {"a": schema}})
    }

    #[test]
    fn the_dialect_is_understood() {
        for (schema, right, wrong) in [
            (
                json!({"type": "string", "nullable": true, "enum": ["a"]}),
                vec![json!("a"), json!(null)],
                vec![json!("b")],
            ),
            (
                json!({"nullable": true, "anyOf": [{"type": "boolean"}, {"type": "string"}]}),
                vec![json!(null), json!(true)],
                vec![json!(1)],
            ),
            (
                json!({"x-kubernetes-int-or-string": true, "pattern": "^[0-9]+m$",
                    "anyOf": [{"type": "integer"}, {"type": "string"}]}),
                vec![json!(5), json!("5m")],
                vec![json!("5"), json!(0.5), json!(null), json!({})],
            ),
            (
                json!({"x-kubernetes-int-or-string": true, "nullable": true,
                    "allOf": [{"anyOf": [{"type": "string"}, {"type": "integer"}]}, {"maxLength": 2}]}),
                vec![json!(500), json!("5m"), json!(null)],
                vec![json!("500m"), json!(true)],
            ),
            (
                json!({"x-kubernetes-int-or-string": true}),
                vec![json!(1), json!("1")],
                vec![json!([])],
            ),
            (
                json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "additionalProperties": false}),
                vec![json!({"x": 1})],
                vec![json!(1)],
            ),
            (
                json!({"type": "integer", "format": "int32", "minimum": 1}),
                vec![json!(1), json!(2_147_483_647)],
                vec![json!(0), json!(2_147_483_648_i64)],
            ),
            (
                json!({"type": "integer", "format": "int64"}),
                vec![json!(i64::MAX), json!(i64::MIN)],
                vec![json!(u64::MAX)],
            ),
            (
                json!({"type": "number", "minimum": 0, "exclusiveMinimum": true, "maximum": 1, "exclusiveMaximum": false}),
                vec![json!(0.5), json!(1)],
                vec![json!(0), json!(1.5)],
            ),
            (
                json!({"type": "string", "format": "duration"}),
                vec![json!("1h30m")],
                vec![json!("PT1H")],
            ),
            (
                json!({"type": "string", "format": "quantity"}),
                vec![json!("whatever")],
                vec![],
            ),
            (
                json!({"type": "array", "items": [{"type": "integer"}], "additionalItems": false}),
                vec![json!([1])],
                vec![json!(["x"]), json!([1, 2])],
            ),
        ] {
            for value in right {
                let errors = judge(&property(&schema), &json!({"a": value}));
                assert!(errors.is_empty(), "{schema} {value}: {errors:?}");
            }
            for value in wrong {
                let errors = judge(&property(&schema), &json!({"a": value}));
                assert_eq!(errors.len(), 1, "{schema} {value}: {errors:?}");
            }
        }
    }

    #[test]
    fn what_the_chart_has_is_not_required() {
        let schema = json!({"type": "object", "required": ["name", "size", "store"], "properties": {
            "name": {"type": "string"}, "size": {"default": 1},
            "store": {"type": "object", "default": {"class": "fast", "deep": {"x": 1}}, "required": ["class", "path", "deep"],
                "properties": {"class": {}, "path": {}, "deep": {"required": ["x", "y"]}}},
            "users": {"type": "object", "default": {"a": {"name": "x"}}, "additionalProperties": {"required": ["name"]}},
        }});
        assert_eq!(
            judge(&schema, &json!({"store": {"deep": {}}, "users": {"b": {}}})),
            [
                "/required \"name\" is a required property",
                "/properties/store/required \"path\" is a required property",
                "/properties/store/properties/deep/required \"y\" is a required property",
                "/properties/users/additionalProperties/required \"name\" is a required property",
            ]
        );
    }

    #[test]
    fn references_are_followed_while_they_end() {
        let schema = json!({"type": "object", "$schema": "http://json-schema.org/draft-07/schema#", "$id": "https://x/y",
            "definitions": {"a": {"type": "integer"}, "b/c": {"$ref": "#/definitions/a"}},
            "properties": {"x": {"$ref": "#/definitions/b~1c", "default": 1}, "y": {"$ref": "#/definitions/a", "minimum": 3}}});
        assert_eq!(judge(&schema, &json!({"x": 1, "y": 3})), [""; 0]);
        assert_eq!(judge(&schema, &json!({"x": "1", "y": 1})).len(), 2);
        let refused = |schema: &Value| Dialect::of(schema).err().unwrap();
        for (schema, wanted) in [
            (json!({"$ref": "#"}), "refers to itself"),
            (
                json!({"properties": {"a": {"$ref": "#"}}}),
                "refers to itself",
            ),
            (
                json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}),
                "refers to itself",
            ),
            (json!({"$ref": "#/nowhere"}), "which is not in it"),
            (json!({"$ref": "#anchor"}), "which is not in it"),
            (
                json!({"$ref": "http://127.0.0.1:1/x"}),
                "which is not in it",
            ),
            (json!({"$dynamicRef": "#a"}), "is not followed"),
        ] {
            assert!(refused(&schema).contains(wanted), "{schema}");
        }
        // Each of thirty definitions asks the next one twice: a billion questions about one value.
        let mut definitions = Map::new();
        for level in 0..30 {
            let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
            definitions.insert(format!("d{level}"), json!({"allOf": [next, next]}));
        }
        definitions.insert("d30".to_owned(), json!({"type": "integer"}));
        let schema = json!({"$defs": definitions, "$ref": "#/$defs/d0"});
        assert!(refused(&schema).contains("nodes"), "{}", refused(&schema));
        // Each of a thousand asks the next one a few levels down.
        let mut definitions = Map::new();
        for level in 0..1_000 {
            let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
            definitions.insert(format!("d{level}"), json!({"items": {"items": next}}));
        }
        definitions.insert("d1000".to_owned(), json!({}));
        let schema = json!({"$defs": definitions, "$ref": "#/$defs/d0"});
        assert!(refused(&schema).contains("deeper"), "{}", refused(&schema));
    }

    #[test]
    fn what_cannot_be_compiled_says_why() {
        let error = Dialect::of(&json!({"properties": {"a": {"pattern": "(?=x)"}}}))
            .err()
            .unwrap();
        assert!(error.contains("regex"), "{error}");
    }
}
