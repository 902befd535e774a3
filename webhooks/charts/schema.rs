//! One chart's values.schema.json: compiled once, and what it says of values in sentences.
//!
//! Helm 3.21 has `santhosh-tekuri/jsonschema` v6: the draft is that of `$schema`, 2020-12 when there is none or it is
//! the one without a version, formats count in the drafts before 2019-09 only, and patterns are RE2.

use super::formats;
use super::shape;
use super::text::Text;
use super::view::{View, Views};
use crate::contract::field::Segment;
use crate::contract::nearest;
use crate::contract::{Cause, FieldPath, Violation};
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::Value;

/// Largest schema that is compiled, in bytes.
const SCHEMA_MAX_BYTES: usize = 2 << 20;
/// Largest regular expression of a pattern once compiled, in bytes: matching larger ones takes tens of milliseconds.
const PATTERN_MAX_BYTES: usize = 1 << 20;
/// Most subschemas that one value may lead through by references and alternatives, and deepest values: both together
/// bound the stack.
const CHAIN_MAX: u64 = 24;
const VALUES_DEPTH_MAX: usize = 64;
/// Most pairs of a subschema and a value that are looked at: about 50 ms.
const VISITS_MAX: u64 = 200_000;
/// Most violations of one schema that are told.
const FINDINGS_MAX: usize = 100;
/// Most alternatives, known names and allowed values that a sentence lists.
const LISTED_MAX: usize = 8;
/// Longest text of one listed thing, in characters.
const LISTED_MAX_CHARS: usize = 200;

/// A schema that is ready, or why there is none.
pub(super) enum Schema {
    /// The chart has none.
    None,
    /// It compiles.
    Ready(Box<Ready>),
    /// Helm cannot use it either, and refuses all values.
    Broken(String),
    /// Helm may be able to use it.
    Unjudged(String),
}

pub(super) struct Ready {
    validator: Validator<Views>,
    source: Value,
    /// Its references multiply, or it contains itself: how far that goes depends on the values.
    may_be_costly: bool,
    /// The most that one value is asked.
    width: u64,
}

impl Ready {
    /// Whether values of that many parts may take longer than is allowed: a closer look tells.
    fn is_suspect(&self, parts: usize) -> bool {
        let parts = u64::try_from(parts).unwrap_or(u64::MAX);
        self.may_be_costly || self.width.saturating_mul(parts) > VISITS_MAX
    }
}

/// What a schema says of values.
pub(super) enum Said {
    Nothing,
    Wrong(Vec<Finding>),
    Broken(String),
    Unjudged(String),
}

impl Schema {
    pub(super) fn new(text: &str) -> Schema {
        if text.len() > SCHEMA_MAX_BYTES {
            return Schema::Unjudged(format!("its schema has more than {SCHEMA_MAX_BYTES} bytes"));
        }
        let mut source: Value = match serde_json::from_str(text) {
            Ok(source) => source,
            Err(error) if error.to_string().contains("recursion limit") => {
                return Schema::Unjudged("its schema is nested too deep".to_owned());
            }
            Err(error) if error.to_string().contains("number out of range") => {
                return Schema::Unjudged("its schema has a number that is no float".to_owned());
            }
            Err(error) => return Schema::Broken(format!("is no JSON: {error}")),
        };
        let draft = match source.get("$schema").and_then(Value::as_str) {
            None => Draft::Draft202012,
            Some(address) => match draft_of(address) {
                Some(draft) => draft,
                None => {
                    return Schema::Unjudged(format!(
                        "its schema is written in {address:?}, which would have to be fetched"
                    ));
                }
            },
        };
        let shape = shape::of(&source);
        if !shape.is_clear {
            return Schema::Unjudged(
                "its schema refers to itself in a way that is not followed here".to_owned(),
            );
        }
        match shape.longest_chain {
            Some(length) if length <= CHAIN_MAX => {}
            Some(_) => {
                return Schema::Unjudged(format!(
                    "its schema leads one value through more than {CHAIN_MAX} references and alternatives"
                ));
            }
            None => return Schema::Unjudged("its schema refers to itself in a circle".to_owned()),
        }
        // The draft is chosen below: the address may be one that only Helm knows.
        if let Some(members) = source.as_object_mut() {
            members.remove("$schema");
        }
        forget_drafts(&mut source);
        let built = formats::add(jsonschema::options_for::<Views>(), draft)
            .with_draft(draft)
            .without_content_encoding_support("base64")
            .without_content_media_type_support("application/json")
            .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_MAX_BYTES))
            .build(&source);
        match built {
            Ok(validator) => Schema::Ready(Box::new(Ready {
                validator,
                source,
                may_be_costly: shape.unfolded.is_none_or(|size| size > VISITS_MAX),
                width: shape.width,
            })),
            Err(error) => not_built(&error),
        }
    }

    /// Whether the values are certainly right, over the defaults of a chart without subcharts. When not, somebody else
    /// finds out what is wrong, if anything is.
    pub(super) fn accepts(&self, text: &Text<'_>, defaults: &Value) -> bool {
        match self {
            Schema::Ready(ready) => {
                !ready.is_suspect(text.parts())
                    && text.depth() <= VALUES_DEPTH_MAX
                    && ready.validator.is_valid(View::over(text.root(), defaults))
            }
            Schema::None | Schema::Broken(_) | Schema::Unjudged(_) => false,
        }
    }

    pub(super) fn is_some(&self) -> bool {
        !matches!(self, Schema::None)
    }

    /// What it says of `values`, which stand at `here`.
    pub(super) fn judge(&self, here: &FieldPath, values: &Value) -> Said {
        match self {
            Schema::None => Said::Nothing,
            Schema::Broken(why) => Said::Broken(why.clone()),
            Schema::Unjudged(why) => Said::Unjudged(why.clone()),
            Schema::Ready(_) if shape::is_deeper(values, VALUES_DEPTH_MAX) => Said::Unjudged(
                format!("the values are nested more than {VALUES_DEPTH_MAX} deep"),
            ),
            Schema::Ready(ready)
                if ready.is_suspect(shape::parts(values))
                    && shape::is_costly(&ready.source, values, VISITS_MAX) =>
            {
                Said::Unjudged("its schema would take too long".to_owned())
            }
            Schema::Ready(ready) => {
                let values = View::Value(values);
                if ready.validator.is_valid(values) {
                    return Said::Nothing;
                }
                let mut findings = Vec::new();
                for error in ready.validator.iter_errors(values).take(FINDINGS_MAX) {
                    ready.describe(here, &error, &mut findings);
                }
                Said::Wrong(findings)
            }
        }
    }
}

/// As the library of Helm does it: with or without TLS, with or without an empty fragment.
fn draft_of(address: &str) -> Option<Draft> {
    let plain = address.strip_suffix('#').unwrap_or(address);
    let rest = plain
        .strip_prefix("http://")
        .or_else(|| plain.strip_prefix("https://"))
        .unwrap_or(plain);
    match rest.strip_prefix("json-schema.org/")? {
        "schema" | "draft/2020-12/schema" => Some(Draft::Draft202012),
        "draft/2019-09/schema" => Some(Draft::Draft201909),
        "draft-07/schema" => Some(Draft::Draft7),
        "draft-06/schema" => Some(Draft::Draft6),
        "draft-04/schema" => Some(Draft::Draft4),
        _ => None,
    }
}

/// Within a schema Helm's library heeds `$schema` only beside an address.
fn forget_drafts(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(forget_drafts),
        Value::Object(members) => {
            let has_address = ["$id", "id"]
                .iter()
                .any(|key| members.get(*key).is_some_and(Value::is_string));
            if !has_address && members.get("$schema").is_some_and(Value::is_string) {
                members.remove("$schema");
            }
            for (key, value) in members {
                // These hold values.
                if !matches!(key.as_str(), "enum" | "const" | "default" | "examples") {
                    forget_drafts(value);
                }
            }
        }
        _ => {}
    }
}

fn not_built(error: &ValidationError<'_>) -> Schema {
    let place = error.instance_path().as_str();
    let place = if place.is_empty() {
        String::new()
    } else {
        format!(" at {place}")
    };
    let text = cut(&error.to_string());
    match error.kind() {
        // What is not in the schema itself would have to be fetched: Helm does that, and may succeed.
        ValidationErrorKind::Referencing(why) => match why {
            jsonschema::ReferencingError::PointerToNowhere { .. }
            | jsonschema::ReferencingError::NoSuchAnchor { .. } => {
                Schema::Broken(format!("does not compile{place}: {text}"))
            }
            _ => Schema::Unjudged(format!("its schema refers to what is elsewhere: {text}")),
        },
        // Go's dialect differs in corners from the one here, and has no limit of size: only what is wrong in both
        // is known to be wrong.
        ValidationErrorKind::Format { format } if format == "regex" => {
            let pattern = error.instance().as_str().unwrap_or_default();
            if is_wrong_everywhere(pattern) {
                Schema::Broken(format!("does not compile{place}: {text}"))
            } else {
                Schema::Unjudged(format!(
                    "its schema has a pattern that is not read here: {text}"
                ))
            }
        }
        _ => Schema::Broken(format!("does not compile{place}: {text}")),
    }
}

/// Look-around, and parentheses or brackets without their other half.
fn is_wrong_everywhere(pattern: &str) -> bool {
    if ["(?=", "(?!", "(?<=", "(?<!"]
        .iter()
        .any(|sign| pattern.contains(sign))
    {
        return true;
    }
    let (mut depth, mut is_class, mut letters) = (0_i32, false, pattern.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                None => return true,
                Some('1'..='9') if !is_class => return true,
                Some('Q') => return false,
                Some(_) => {}
            },
            '[' if !is_class => is_class = true,
            ']' if is_class => is_class = false,
            '(' if !is_class => depth += 1,
            ')' if !is_class => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return true;
        }
    }
    depth != 0
}

/// One thing that a schema refuses.
pub(super) struct Finding {
    violation: Violation,
    /// What must be known for this to be known.
    about: FieldPath,
    /// One of these would have to hold.
    alternatives: Vec<Vec<Finding>>,
}

impl Finding {
    fn new(
        field: FieldPath,
        cause: Cause,
        found: Option<Value>,
        detail: impl Into<String>,
    ) -> Finding {
        Finding {
            about: field.clone(),
            violation: Violation {
                field,
                cause,
                found,
                detail: detail.into(),
                insistable: false,
                fingerprint: None,
                policy: None,
            },
            alternatives: Vec::new(),
        }
    }

    fn about(mut self, value: &Value) -> Finding {
        self.violation = self.violation.about(value);
        self
    }

    /// The violation; none when it hangs on what is not known.
    pub(super) fn known(self, is_known: &impl Fn(&FieldPath) -> bool) -> Option<Violation> {
        self.is_known(is_known).then_some(self.violation)
    }

    fn is_known(&self, is_known: &impl Fn(&FieldPath) -> bool) -> bool {
        is_known(&self.about)
            && !self.alternatives.iter().any(|findings| {
                !findings.is_empty() && !findings.iter().any(|finding| finding.is_known(is_known))
            })
    }
}

impl Ready {
    #[allow(
        clippy::too_many_lines,
        reason = "one arm for each keyword is what there is to read"
    )]
    fn describe(&self, base: &FieldPath, error: &ValidationError<'_>, findings: &mut Vec<Finding>) {
        let here = at(base, error.instance_path());
        let found = shown(error.instance());
        let invalid = |detail: String| {
            Finding::new(here.clone(), Cause::Invalid, Some(found.clone()), detail)
        };
        let finding = match error.kind() {
            ValidationErrorKind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                Finding::new(
                    below(&here, name),
                    Cause::Required,
                    None,
                    "the schema requires it",
                )
            }
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                let known = self.known_names(error.schema_path());
                for name in unexpected {
                    let finding = Finding::new(
                        below(&here, name),
                        Cause::Forbidden,
                        None,
                        unexpected_name(name, &known),
                    );
                    let value = error.instance().get(name).unwrap_or(&Value::Null);
                    findings.push(finding.about(value));
                }
                return;
            }
            ValidationErrorKind::FalseSchema => Finding::new(
                here.clone(),
                Cause::Forbidden,
                None,
                "the schema allows no such value",
            ),
            ValidationErrorKind::Type { kind } => {
                let wanted: Vec<String> = match kind {
                    TypeKind::Single(one) => vec![one.to_string()],
                    TypeKind::Multiple(set) => set.iter().map(|one| one.to_string()).collect(),
                };
                let wanted: Vec<String> = wanted.iter().map(|name| with_article(name)).collect();
                let found = match error.instance().as_ref() {
                    // Where a number is asked for and one is there, its value is what is wrong.
                    number @ Value::Number(_) => number.clone(),
                    other => kind_of(other).into(),
                };
                Finding::new(
                    here,
                    Cause::TypeInvalid,
                    Some(found),
                    format!("must be {}", wanted.join(" or ")),
                )
            }
            ValidationErrorKind::Enum { options } => {
                let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
                let mut list: Vec<String> = options
                    .iter()
                    .take(LISTED_MAX)
                    .map(|option| cut(&option.to_string()))
                    .collect();
                if options.len() > LISTED_MAX {
                    list.push(format!("and {} more", options.len() - LISTED_MAX));
                }
                Finding::new(
                    here,
                    Cause::NotSupported,
                    Some(found),
                    format!("supported values: {}", list.join(", ")),
                )
            }
            ValidationErrorKind::Constant { expected_value } => {
                invalid(format!("must be {}", cut(&expected_value.to_string())))
            }
            ValidationErrorKind::Minimum { limit } => invalid(format!("must be at least {limit}")),
            ValidationErrorKind::Maximum { limit } => invalid(format!("must be at most {limit}")),
            ValidationErrorKind::ExclusiveMinimum { limit } => {
                invalid(format!("must be more than {limit}"))
            }
            ValidationErrorKind::ExclusiveMaximum { limit } => {
                invalid(format!("must be less than {limit}"))
            }
            ValidationErrorKind::MultipleOf { multiple_of } => {
                invalid(format!("must be a multiple of {multiple_of}"))
            }
            ValidationErrorKind::MinLength { limit } => {
                invalid(format!("must have at least {limit} characters"))
            }
            ValidationErrorKind::MaxLength { limit } => Finding::new(
                here,
                Cause::TooLong,
                None,
                format!("may not be more than {limit} characters"),
            ),
            ValidationErrorKind::Pattern { pattern } => {
                invalid(format!("must match the pattern {}", cut(pattern)))
            }
            ValidationErrorKind::Format { format } => {
                invalid(format!("must have the format {format:?}"))
            }
            ValidationErrorKind::MinItems { limit } => {
                invalid(format!("must have at least {limit} items"))
            }
            ValidationErrorKind::MaxItems { limit } => {
                invalid(format!("may not have more than {limit} items"))
            }
            ValidationErrorKind::AdditionalItems { limit } => {
                invalid(format!("may not have more than {limit} items"))
            }
            ValidationErrorKind::UnevaluatedItems { .. } => {
                invalid("has items that the schema does not allow".to_owned())
            }
            ValidationErrorKind::UniqueItems => {
                invalid("must not have the same item twice".to_owned())
            }
            ValidationErrorKind::Contains => {
                invalid("has not the items that the schema asks for".to_owned())
            }
            ValidationErrorKind::MinProperties { limit } => {
                let mut finding = invalid(format!("must have at least {limit} members"));
                // Others may add members.
                finding.about = finding.about.member("");
                finding
            }
            ValidationErrorKind::MaxProperties { limit } => {
                invalid(format!("may not have more than {limit} members"))
            }
            ValidationErrorKind::PropertyNames { error } => {
                let name = error.instance().as_str().unwrap_or_default();
                let mut inner = Vec::new();
                self.describe(&FieldPath::default(), error, &mut inner);
                let why: Vec<String> = inner
                    .into_iter()
                    .map(|finding| finding.violation.detail)
                    .collect();
                let mut finding = Finding::new(
                    here.clone(),
                    Cause::Invalid,
                    Some(name.into()),
                    format!("as a name {}", why.join(", ")),
                );
                finding.about = below(&here, name);
                finding
            }
            ValidationErrorKind::AnyOf { context }
            | ValidationErrorKind::OneOfNotValid { context } => {
                let finding = self.none_of(base, here, found, context);
                return findings.push(finding.about(error.instance()));
            }
            ValidationErrorKind::OneOfMultipleValid { .. } => invalid(
                "must match exactly one alternative of the schema, and matches several".to_owned(),
            ),
            ValidationErrorKind::Not { schema } => {
                invalid(format!("must not match {}", cut(&schema.to_string())))
            }
            other => invalid(format!("the schema refuses it ({})", other.keyword())),
        };
        // Of what is missing nothing stands there.
        let finding = match error.kind() {
            ValidationErrorKind::Required { .. } => finding,
            _ => finding.about(error.instance()),
        };
        findings.push(finding);
    }

    fn none_of(
        &self,
        base: &FieldPath,
        here: FieldPath,
        found: Value,
        context: &[Vec<ValidationError<'static>>],
    ) -> Finding {
        let alternatives: Vec<Vec<Finding>> = context
            .iter()
            .map(|errors| {
                let mut findings = Vec::new();
                for error in errors.iter().take(FINDINGS_MAX) {
                    self.describe(base, error, &mut findings);
                }
                findings
            })
            .collect();
        let mut sentences: Vec<String> = Vec::new();
        for findings in alternatives.iter().take(LISTED_MAX) {
            let all: Vec<String> = findings
                .iter()
                .take(LISTED_MAX)
                .map(|finding| {
                    let violation = &finding.violation;
                    if violation.field == here {
                        violation.detail.clone()
                    } else {
                        violation.message()
                    }
                })
                .collect();
            let sentence = all.join(", ");
            if !sentences.contains(&sentence) {
                sentences.push(sentence);
            }
        }
        let mut finding = Finding::new(here, Cause::Invalid, Some(found), sentences.join("; or "));
        finding.alternatives = alternatives;
        finding
    }

    /// The names that the schema knows beside the one at `location` (`.../additionalProperties`).
    fn known_names(&self, location: &Location) -> Vec<String> {
        let around = location
            .as_str()
            .rsplit_once('/')
            .map_or("", |(around, _)| around);
        self.source
            .pointer(around)
            .and_then(|schema| schema.get("properties"))
            .and_then(Value::as_object)
            .map(|properties| properties.keys().cloned().collect())
            .unwrap_or_default()
    }
}

fn unexpected_name(name: &str, known: &[String]) -> String {
    if let Some(near) = nearest(name, known.iter().cloned()) {
        return format!("the schema knows no such name; did you mean {near:?}?");
    }
    let mut list: Vec<String> = known
        .iter()
        .take(LISTED_MAX)
        .map(|name| format!("{name:?}"))
        .collect();
    if known.len() > LISTED_MAX {
        list.push(format!("and {} more", known.len() - LISTED_MAX));
    }
    if list.is_empty() {
        "the schema knows no such name".to_owned()
    } else {
        format!("the schema knows no such name, but {}", list.join(", "))
    }
}

/// Scalars are repeated; of what is larger only its sentence is told.
fn shown(value: &Value) -> Value {
    match value {
        Value::Array(_) | Value::Object(_) => kind_of(value).into(),
        other => other.clone(),
    }
}

pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn with_article(kind: &str) -> String {
    match kind {
        "null" => "null".to_owned(),
        "integer" | "array" | "object" => format!("an {kind}"),
        other => format!("a {other}"),
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= LISTED_MAX_CHARS {
        return text.to_owned();
    }
    let head: String = text.chars().take(LISTED_MAX_CHARS).collect();
    format!("{head}...")
}

fn at(base: &FieldPath, location: &Location) -> FieldPath {
    location
        .segments()
        .fold(base.clone(), |field, segment| match segment {
            LocationSegment::Property(name) => below(&field, &name),
            LocationSegment::Index(index) => field.index(index),
        })
}

/// A key of values: shown with a dot where that is how one would write it.
pub(super) fn below(field: &FieldPath, name: &str) -> FieldPath {
    let is_plain = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if is_plain {
        field.clone().member(name)
    } else {
        field.clone().key(name)
    }
}

pub(super) fn name_of<'a>(segment: &'a Segment<'_>) -> Option<&'a str> {
    match segment {
        Segment::Member(name) | Segment::Key(name) => Some(name),
        Segment::Index(_) => None,
    }
}
