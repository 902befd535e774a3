//! What the library finds, in sentences: what stands there and what would be right, at the HelmRelease's field and at
//! the field that the tenant wrote.

use crate::contract::nearest;
use crate::contract::{FieldPath, Path, Violation};
use crate::schema::dialect::expected_format;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{JsonType, ValidationError};
use serde_json::Value;

/// How many supported values a sentence lists.
const LISTED_VALUES_MAX: usize = 12;
/// How many forms a sentence describes.
const LISTED_FORMS_MAX: usize = 4;
/// How many things about one form.
const LISTED_FAULTS_MAX: usize = 3;
/// How many unknown names are compared with the known ones.
const NEAR_NAMES_MAX: usize = 100;
/// What marks a name whose value is not repeated: values travel through logs on their way to the writer.
const SECRET_NAMES: [&str; 6] = [
    "password",
    "passwd",
    "secret",
    "token",
    "credential",
    "accesskey",
];
/// The pattern of a quantity, as generators of schemas write it, begins like this.
const QUANTITY_PATTERN: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|";

/// Puts errors into words.
pub struct Reader<'a> {
    /// The schema as it was asked.
    pub schema: &'a Value,
    /// The values.
    pub values: &'a Value,
    /// Whether other values come beneath these.
    pub has_values_elsewhere: bool,
}

/// A place in both spellings.
#[derive(Clone)]
struct Place {
    field: FieldPath,
    written: FieldPath,
}

impl Place {
    fn below(mut self, name: &str) -> Place {
        // A name that would look like a path of several.
        let is_plain = !name.is_empty() && !name.contains(['.', '/', '[', ']', ' ']);
        (self.field, self.written) = if is_plain {
            (self.field.member(name), self.written.member(name))
        } else {
            (self.field.key(name), self.written.key(name))
        };
        self
    }

    fn at(mut self, index: usize) -> Place {
        self.field = self.field.index(index);
        self.written = self.written.index(index);
        self
    }

    fn put(self, mut violation: Violation, violations: &mut Vec<Violation>) {
        violation.detail = format!("{} ({} of the application)", violation.detail, self.written);
        violation.field = self.field;
        violations.push(violation);
    }
}

impl Reader<'_> {
    /// Adds what an error says.
    pub fn explain(&self, error: &ValidationError<'_>, violations: &mut Vec<Violation>) {
        if self.has_values_elsewhere && may_be_elsewhere(error) {
            return;
        }
        let place = self.place(error);
        let here = &Path::ROOT;
        let instance = error.instance().as_ref();
        match error.kind() {
            ValidationErrorKind::Required { property } => place
                .below(property.as_str().unwrap_or_default())
                .put(Violation::required(here, "must be set"), violations),
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                for name in unexpected {
                    // Looking for a name costs more than reporting its absence.
                    let near = (violations.len() < NEAR_NAMES_MAX)
                        .then(|| self.near(error, name))
                        .flatten();
                    let detail = match near {
                        Some(near) => format!("is not known; did you mean {near}?"),
                        None => "is not known".to_owned(),
                    };
                    place
                        .clone()
                        .below(name)
                        .put(Violation::forbidden(here, detail), violations);
                }
            }
            ValidationErrorKind::AnyOf { context }
            | ValidationErrorKind::OneOfNotValid { context } => {
                self.explain_forms(error, context, violations);
            }
            ValidationErrorKind::Type { kind } => {
                let expected = types(kind);
                place.put(Violation::wrong_type(here, instance, &expected), violations);
            }
            ValidationErrorKind::Enum { options } => {
                let mut violation = Violation::not_supported(here, found(error), &[]);
                violation.detail = supported(instance, options);
                place.put(violation, violations);
            }
            ValidationErrorKind::MaxLength { limit } => {
                let limit = usize::try_from(*limit).unwrap_or(usize::MAX);
                place.put(
                    Violation::too_long(here, found(error), limit, "characters"),
                    violations,
                );
            }
            _ => place.put(
                Violation::invalid(here, found(error), sentence(error)),
                violations,
            ),
        }
    }

    /// None of several forms fits: says what is wrong with the one that was meant, when that can be told.
    fn explain_forms(
        &self,
        error: &ValidationError<'_>,
        forms: &[Vec<ValidationError<'static>>],
        violations: &mut Vec<Violation>,
    ) {
        let here = error.instance_path();
        let type_fault = |fault: &ValidationError<'_>| match fault.kind() {
            ValidationErrorKind::Type { kind } if fault.instance_path() == here => {
                Some(types(kind))
            }
            _ => None,
        };
        // A form of another type was not meant.
        let meant: Vec<&Vec<ValidationError<'static>>> = forms
            .iter()
            .filter(|faults| !faults.iter().any(|fault| type_fault(fault).is_some()))
            .collect();
        match meant.as_slice() {
            [] => {
                let mut kinds: Vec<String> = Vec::new();
                for kind in forms.iter().flatten().filter_map(type_fault) {
                    if !kinds.contains(&kind) {
                        kinds.push(kind);
                    }
                }
                self.place(error).put(
                    Violation::wrong_type(&Path::ROOT, error.instance(), &kinds.join(" or ")),
                    violations,
                );
            }
            [faults] => {
                for fault in *faults {
                    self.explain(fault, violations);
                }
            }
            several => {
                let mut texts: Vec<String> = Vec::new();
                for faults in several {
                    let text = form(here.as_str(), faults);
                    if !texts.contains(&text) {
                        texts.push(text);
                    }
                }
                let more = texts.len().saturating_sub(LISTED_FORMS_MAX);
                texts.truncate(LISTED_FORMS_MAX);
                if more > 0 {
                    texts.push(format!("{more} more"));
                }
                self.place(error).put(
                    Violation::invalid(
                        &Path::ROOT,
                        found(error),
                        format!("must fit one of these: {}", texts.join("; ")),
                    ),
                    violations,
                );
            }
        }
    }

    /// Where an error is. Steps are told apart by what stands there: a name may look like a number.
    fn place(&self, error: &ValidationError<'_>) -> Place {
        let spec = FieldPath::of(&["spec"]);
        let mut place = Place {
            field: spec.clone().member("values"),
            written: spec,
        };
        let mut value = Some(self.values);
        for step in error.instance_path().as_str().split('/').skip(1) {
            let step = step.replace("~1", "/").replace("~0", "~");
            match (value, step.parse::<usize>()) {
                (Some(Value::Array(items)), Ok(index)) => {
                    place = place.at(index);
                    value = items.get(index);
                }
                _ => {
                    place = place.below(&step);
                    value = value.and_then(|value| value.get(&step));
                }
            }
        }
        place
    }

    /// The known name that is most like an unknown one.
    fn near(&self, error: &ValidationError<'_>, name: &str) -> Option<String> {
        let place = error.schema_path().as_str();
        let (parent, _) = place.rsplit_once('/')?;
        let known = self.schema.pointer(parent)?.get("properties")?;
        let instance = error.instance();
        let candidates = known.as_object()?.keys();
        nearest(
            name,
            candidates
                .filter(|known| instance.get(known.as_str()).is_none())
                .cloned(),
        )
    }
}

/// Whether what is wrong may be right once the other values are there: they can only add.
fn may_be_elsewhere(error: &ValidationError<'_>) -> bool {
    let any =
        |forms: &[Vec<ValidationError<'static>>]| forms.iter().flatten().any(may_be_elsewhere);
    let place = error.schema_path().as_str();
    place.contains("/then/")
        || place.contains("/else/")
        || match error.kind() {
            ValidationErrorKind::Required { .. }
            | ValidationErrorKind::MinProperties { .. }
            | ValidationErrorKind::OneOfMultipleValid { .. } => true,
            ValidationErrorKind::Not { .. } => error.instance().is_object(),
            ValidationErrorKind::AnyOf { context }
            | ValidationErrorKind::OneOfNotValid { context } => any(context),
            _ => false,
        }
}

/// What stands there, as far as it may be repeated: neither secrets nor whole objects.
fn found(error: &ValidationError<'_>) -> Value {
    match error.instance().as_ref() {
        Value::Object(_) => "object".into(),
        Value::Array(_) => "array".into(),
        Value::String(_) | Value::Number(_) if is_secret(error) => "(not shown)".into(),
        other => other.clone(),
    }
}

fn is_secret(error: &ValidationError<'_>) -> bool {
    let path = error.instance_path().as_str().to_ascii_lowercase();
    SECRET_NAMES.iter().any(|name| path.contains(name))
}

/// What would be right.
fn sentence(error: &ValidationError<'_>) -> String {
    use ValidationErrorKind as Kind;
    match error.kind() {
        Kind::Type { kind } => format!("must be {}", types(kind)),
        Kind::Enum { options } => format!("must be one of {}", listed(options)),
        Kind::Constant { expected_value } => format!("must be {expected_value}"),
        Kind::Minimum { limit } => format!("must be at least {limit}"),
        Kind::Maximum { limit } => format!("must be at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("must be more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        Kind::MinLength { limit } => format!("must have at least {}", count(*limit, "character")),
        Kind::MaxLength { limit } => format!("must have at most {}", count(*limit, "character")),
        Kind::MinItems { limit } => {
            format!("must have at least {}{}", count(*limit, "item"), has(error))
        }
        Kind::MaxItems { limit } => {
            format!("must have at most {}{}", count(*limit, "item"), has(error))
        }
        Kind::AdditionalItems { limit } => {
            let limit = u64::try_from(*limit).unwrap_or(u64::MAX);
            format!("must have at most {}{}", count(limit, "item"), has(error))
        }
        Kind::MinProperties { limit } => {
            format!(
                "must have at least {}{}",
                count(*limit, "field"),
                has(error)
            )
        }
        Kind::MaxProperties { limit } => {
            format!("must have at most {}{}", count(*limit, "field"), has(error))
        }
        Kind::UniqueItems => "must have no item twice".to_owned(),
        Kind::Contains => "must have an item of the form that the schema asks for".to_owned(),
        Kind::Pattern { pattern } if pattern.starts_with(QUANTITY_PATTERN) => {
            "must be a quantity, such as 2, 500m or 4Gi".to_owned()
        }
        Kind::Pattern { pattern } => format!("must match {pattern}"),
        Kind::Format { format } => match expected_format(format) {
            Some(expected) => format!("must be {expected}"),
            None => format!("must be of format {format}"),
        },
        Kind::Required { property } => {
            format!("must have {}", property.as_str().unwrap_or_default())
        }
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            format!("must not have {}", unexpected.join(", "))
        }
        Kind::PropertyNames { error } => {
            let name = error.instance().as_str().unwrap_or_default();
            format!("must not have the name {name}: it {}", sentence(error))
        }
        Kind::Not { schema } => match schema.get("required").and_then(Value::as_array) {
            Some(names) => {
                let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
                format!("must not have {}", names.join(" and "))
            }
            None => match schema.get("enum").or(schema.get("const")) {
                Some(values) => format!("must not be {}", listed(values)),
                None => "must not be of a form that the schema rules out".to_owned(),
            },
        },
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            format!("must fit one of {} forms", context.len())
        }
        Kind::OneOfMultipleValid { .. } => {
            "must fit one form only, and fits several that exclude each other".to_owned()
        }
        Kind::FalseSchema => "must not be set".to_owned(),
        _ => format!("must be right: {}", error.masked()),
    }
}

/// What keeps a value from one of several forms.
fn form(here: &str, faults: &[ValidationError<'_>]) -> String {
    let texts: Vec<String> = faults
        .iter()
        .take(LISTED_FAULTS_MAX)
        .map(|fault| {
            let below = fault.instance_path().as_str();
            let below = below.strip_prefix(here).unwrap_or(below);
            let below = below.trim_start_matches('/').replace('/', ".");
            if below.is_empty() {
                sentence(fault)
            } else {
                format!("{below} {}", sentence(fault))
            }
        })
        .collect();
    texts.join(" and ")
}

fn types(kind: &TypeKind) -> String {
    let name = |kind: JsonType| match kind {
        JsonType::Null => "null",
        JsonType::Boolean => "a boolean",
        JsonType::Integer => "an integer",
        JsonType::Number => "a number",
        JsonType::String => "a string",
        JsonType::Array => "a list",
        JsonType::Object => "an object",
    };
    match kind {
        TypeKind::Single(kind) => name(*kind).to_owned(),
        TypeKind::Multiple(kinds) => {
            // Null last: it is the exception.
            let (null, mut names): (Vec<&str>, Vec<&str>) =
                kinds.iter().map(name).partition(|name| *name == "null");
            names.extend(null);
            names.join(" or ")
        }
    }
}

/// How many stand there.
fn has(error: &ValidationError<'_>) -> String {
    let number = match error.instance().as_ref() {
        Value::Array(items) => items.len(),
        Value::Object(members) => members.len(),
        _ => return String::new(),
    };
    format!(", has {number}")
}

fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// The values of an enumeration, the nearest one first when the found one is misspelt.
fn supported(instance: &Value, options: &Value) -> String {
    let texts = options.as_array().into_iter().flatten();
    let texts = texts.filter_map(Value::as_str).map(ToOwned::to_owned);
    let near = instance.as_str().and_then(|text| nearest(text, texts));
    let list = listed(options);
    match near {
        Some(near) => format!("did you mean {near:?}? supported values: {list}"),
        None => format!("supported values: {list}"),
    }
}

fn listed(options: &Value) -> String {
    let Some(options) = options.as_array() else {
        return options.to_string();
    };
    let mut texts: Vec<String> = options
        .iter()
        .take(LISTED_VALUES_MAX)
        .map(ToString::to_string)
        .collect();
    let more = options.len() - texts.len();
    if more > 0 {
        texts.push(format!("and {more} more"));
    }
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::dialect::Dialect;
    use serde_json::json;

    fn messages(schema: &Value, values: &Value, has_values_elsewhere: bool) -> Vec<String> {
        let dialect = Dialect::of(schema).unwrap();
        let reader = Reader {
            schema: &dialect.document,
            values,
            has_values_elsewhere,
        };
        let mut violations = Vec::new();
        for error in dialect.errors(values) {
            reader.explain(&error, &mut violations);
        }
        let messages = violations.iter().map(Violation::message);
        messages
            .map(|message| {
                let (message, written) = message.rsplit_once(" (").unwrap();
                assert!(written.ends_with(" of the application)"), "{written}");
                message.to_owned()
            })
            .collect()
    }

    #[test]
    fn every_keyword_has_its_sentence() {
        for (schema, value, wanted) in [
            (json!({"const": 5}), json!(6), "6: must be 5"),
            (
                json!({"exclusiveMinimum": 1}),
                json!(1),
                "1: must be more than 1",
            ),
            (
                json!({"exclusiveMaximum": 1}),
                json!(1),
                "1: must be less than 1",
            ),
            (
                json!({"multipleOf": 2}),
                json!(3),
                "3: must be a multiple of 2",
            ),
            (
                json!({"minLength": 1}),
                json!(""),
                r#""": must have at least 1 character"#,
            ),
            (
                json!({"minItems": 2}),
                json!([1]),
                r#""array": must have at least 2 items, has 1"#,
            ),
            (
                json!({"minProperties": 1}),
                json!({}),
                r#""object": must have at least 1 field, has 0"#,
            ),
            (
                json!({"maxProperties": 1}),
                json!({"b": 1, "c": 2}),
                r#""object": must have at most 1 field, has 2"#,
            ),
            (
                json!({"uniqueItems": true}),
                json!([1, 1]),
                r#""array": must have no item twice"#,
            ),
            (
                json!({"contains": {"const": 1}}),
                json!([2]),
                r#""array": must have an item of the form that the schema asks for"#,
            ),
            (
                json!({"format": "ipv4"}),
                json!("x"),
                r#""x": must be an IPv4 address"#,
            ),
            (
                json!({"not": {"enum": ["x", "y"]}}),
                json!("x"),
                r#""x": must not be "x", "y""#,
            ),
            (
                json!({"not": {"type": "string"}}),
                json!("x"),
                r#""x": must not be of a form that the schema rules out"#,
            ),
            (
                json!({"type": ["null", "string", "integer"]}),
                json!([]),
                r#""array": must be an integer or a string or null"#,
            ),
            (
                json!({"propertyNames": {"maxLength": 1}}),
                json!({"bb": 1}),
                r#""object": must not have the name bb: it must have at most 1 character"#,
            ),
            (
                json!({"oneOf": [{"minimum": 1}, {"maximum": 5}]}),
                json!(3),
                "3: must fit one form only, and fits several that exclude each other",
            ),
            (
                json!({"anyOf": [{"pattern": "^a"}, {"maxLength": 1}]}),
                json!("bb"),
                r#""bb": must fit one of these: must match ^a; must have at most 1 character"#,
            ),
            (json!(false), json!(1), "1: must not be set"),
        ] {
            let schema = json!({"type": "object", "properties": {"a": schema}});
            assert_eq!(
                messages(&schema, &json!({"a": value}), false),
                [format!("spec.values.a: Invalid value: {wanted}")],
                "{schema}"
            );
        }
    }

    #[test]
    fn the_form_that_was_meant_is_explained() {
        let schema = json!({"properties": {"a": {"anyOf": [
            {"type": "string", "pattern": "^[0-9]+$"},
            {"type": "object", "required": ["b"], "properties": {"c": {"type": "integer"}}},
        ]}}});
        assert_eq!(
            messages(&schema, &json!({"a": {"c": "x"}}), false),
            [
                "spec.values.a.b: Required value: must be set",
                "spec.values.a.c: Invalid value: \"string\": must be an integer",
            ]
        );
        assert_eq!(
            messages(&schema, &json!({"a": "x"}), false),
            ["spec.values.a: Invalid value: \"x\": must match ^[0-9]+$"]
        );
        assert_eq!(
            messages(&schema, &json!({"a": 5}), false),
            ["spec.values.a: Invalid value: \"number\": must be a string or an object"]
        );
    }

    #[test]
    fn what_may_be_elsewhere_is_not_missing() {
        let schema = json!({"required": ["z"], "minProperties": 9, "if": {"required": ["x"]}, "else": {"properties": {"a": {"const": 1}}},
            "properties": {"a": {"type": "integer"}, "b": {"anyOf": [{"required": ["x"]}, {"required": ["y"]}]},
            "c": {"not": {"properties": {"d": {"const": 1}}}}, "e": {"type": "integer"}}});
        let values = json!({"a": 2, "b": {}, "c": {}, "e": "x"});
        assert_eq!(messages(&schema, &values, false).len(), 6);
        assert_eq!(
            messages(&schema, &values, true),
            ["spec.values.e: Invalid value: \"string\": must be an integer"]
        );
    }

    #[test]
    fn places_are_those_of_the_values() {
        let schema = json!({"additionalProperties": {"items": {"additionalProperties": {"type": "integer"}}}});
        let values = json!({"0": [{"5432": "x", "a/b": "x", "c~d": "x", "": "x"}]});
        assert_eq!(
            messages(&schema, &values, false)
                .iter()
                .map(|message| message.split(": ").next().unwrap())
                .collect::<Vec<_>>(),
            [
                "spec.values.0[0][]",
                "spec.values.0[0].5432",
                "spec.values.0[0][a/b]",
                "spec.values.0[0].c~d"
            ]
        );
    }

    #[test]
    fn secrets_are_not_repeated() {
        let schema = json!({"additionalProperties": {"additionalProperties": {"maxLength": 2, "enum": ["a"]}}});
        for name in ["password", "s3SecretKey", "apiToken", "s3AccessKey"] {
            let all = messages(&schema, &json!({"u": {name: "hunter2"}}), false).join("\n");
            assert!(
                all.contains("(not shown)") && !all.contains("hunter2"),
                "{all}"
            );
        }
        let all = messages(&schema, &json!({"secrets": {"x": "hunter2"}}), false).join("\n");
        assert!(!all.contains("hunter2"), "{all}");
    }

    #[test]
    fn long_lists_of_values_are_cut() {
        let options: Vec<String> = (0..40).map(|number| format!("u1.{number}")).collect();
        let schema = json!({"properties": {"a": {"enum": options}}});
        let message = messages(&schema, &json!({"a": "u1.7x"}), false).remove(0);
        assert!(
            message
                .starts_with("spec.values.a: Unsupported value: \"u1.7x\": did you mean \"u1.7\"?")
                && message.ends_with("and 28 more"),
            "{message}"
        );
    }
}
