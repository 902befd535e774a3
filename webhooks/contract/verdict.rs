//! What a validator says of a change: violations, warnings, audit annotations.

use super::field::{FieldPath, Path};
use serde_json::Value;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Longest text of a bad value that a message repeats, in characters; the rest is cut and counted.
const SHOWN_VALUE_MAX_CHARS: usize = 120;
/// Longest warning, in characters: longer ones are cut by clients.
pub const WARNING_MAX_CHARS: usize = 120;

/// Why a field is refused. The machine value of `status.details.causes[].reason`, as in the API server's
/// `metav1.CauseType` (k8s.io/apimachinery, `field.ErrorType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It must be there and is not.
    Required,
    /// It is there and wrong.
    Invalid,
    /// It is of another JSON type.
    TypeInvalid,
    /// It is none of the values that are allowed.
    NotSupported,
    /// Something else has it already.
    Duplicate,
    /// It must not be set, or not be changed in this way.
    Forbidden,
    /// It is too long.
    TooLong,
    /// A refusal by policy that no single field causes.
    Policy,
}

impl Cause {
    /// The reason on the wire.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Cause::Required => "FieldValueRequired",
            Cause::Invalid => "FieldValueInvalid",
            Cause::TypeInvalid => "FieldValueTypeInvalid",
            Cause::NotSupported => "FieldValueNotSupported",
            Cause::Duplicate => "FieldValueDuplicate",
            Cause::Forbidden | Cause::Policy => "FieldValueForbidden",
            Cause::TooLong => "FieldValueTooLong",
        }
    }
}

/// As what a refusal by an operator's policy is answered: the reasons of ValidatingAdmissionPolicy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Reason {
    /// 401
    Unauthorized,
    /// 403
    Forbidden,
    /// 422
    #[default]
    Invalid,
    /// 413
    RequestEntityTooLarge,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 4] = [
        Reason::Unauthorized,
        Reason::Forbidden,
        Reason::Invalid,
        Reason::RequestEntityTooLarge,
    ];

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Unauthorized => "Unauthorized",
            Reason::Forbidden => "Forbidden",
            Reason::Invalid => "Invalid",
            Reason::RequestEntityTooLarge => "RequestEntityTooLarge",
        }
    }

    /// The HTTP code.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Reason::Unauthorized => 401,
            Reason::Forbidden => 403,
            Reason::Invalid => 422,
            Reason::RequestEntityTooLarge => 413,
        }
    }
}

/// The operator's policy that refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByPolicy {
    /// Its name.
    pub name: String,
    /// As what it refuses.
    pub reason: Reason,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Violation {
    /// Where; the root for a refusal that no single field causes.
    pub field: FieldPath,
    /// Why, for machines.
    pub cause: Cause,
    /// What was found there.
    pub found: Option<Value>,
    /// What would be right, for people.
    pub detail: String,
    /// Whether the annotation `webhook.cozystack.io/allow` lets the writer insist: only where the rule protects
    /// the writer from a mistake, never where it protects others from the writer.
    pub insistable: bool,
    /// Tells what stands at the field where `found` does not tell it whole: another value there is another sin.
    pub fingerprint: Option<u64>,
    /// Set where an operator's policy refuses.
    pub policy: Option<Box<ByPolicy>>,
}

impl Violation {
    fn new(
        path: &Path<'_>,
        cause: Cause,
        found: Option<Value>,
        detail: impl Into<String>,
    ) -> Violation {
        Violation {
            field: path.to_field(),
            cause,
            found,
            detail: detail.into(),
            insistable: false,
            fingerprint: None,
            policy: None,
        }
    }

    /// The field must be set and is not.
    #[must_use]
    pub fn required(path: &Path<'_>, detail: impl Into<String>) -> Violation {
        Violation::new(path, Cause::Required, None, detail)
    }

    /// The field holds `found`, which is wrong.
    #[must_use]
    pub fn invalid(
        path: &Path<'_>,
        found: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Violation {
        Violation::new(path, Cause::Invalid, Some(found.into()), detail)
    }

    /// The field holds `found`, which is no `expected` (a JSON type with its article, such as "an object").
    #[must_use]
    pub fn wrong_type(path: &Path<'_>, found: &Value, expected: &str) -> Violation {
        let kind = match found {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        Violation::new(
            path,
            Cause::TypeInvalid,
            Some(kind.into()),
            format!("must be {expected}"),
        )
        .about(found)
    }

    /// The field holds `found`, which is none of `supported`.
    #[must_use]
    pub fn not_supported(
        path: &Path<'_>,
        found: impl Into<Value>,
        supported: &[&str],
    ) -> Violation {
        let list: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
        Violation::new(
            path,
            Cause::NotSupported,
            Some(found.into()),
            format!("supported values: {}", list.join(", ")),
        )
    }

    /// The field holds `found`, which something else (named in `detail`) has already.
    #[must_use]
    pub fn duplicate(
        path: &Path<'_>,
        found: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Violation {
        Violation::new(path, Cause::Duplicate, Some(found.into()), detail)
    }

    /// The field may not be set or changed like this.
    #[must_use]
    pub fn forbidden(path: &Path<'_>, detail: impl Into<String>) -> Violation {
        Violation::new(path, Cause::Forbidden, None, detail)
    }

    /// The field has more than `max` of `unit` ("bytes", "characters").
    #[must_use]
    pub fn too_long(path: &Path<'_>, found: impl Into<Value>, max: usize, unit: &str) -> Violation {
        let mut violation = Violation::new(
            path,
            Cause::TooLong,
            Some(found.into()),
            format!("may not be more than {max} {unit}"),
        );
        // The API server does not repeat what is too long either.
        violation.found = violation
            .found
            .filter(|value| value.as_str().is_some_and(|text| text.len() <= 300));
        violation
    }

    /// A refusal by policy that no single field causes.
    #[must_use]
    pub fn policy(message: impl Into<String>) -> Violation {
        Violation::new(&Path::ROOT, Cause::Policy, None, message)
    }

    /// A refusal by an operator's policy, in his words.
    #[must_use]
    pub fn by_policy(path: &Path<'_>, message: impl Into<String>, policy: ByPolicy) -> Violation {
        let mut violation = Violation::new(path, Cause::Policy, None, message);
        violation.policy = Some(Box::new(policy));
        violation
    }

    /// The same violation, of just that value: it is no old sin once something else stands there.
    #[must_use]
    pub fn about(mut self, value: &Value) -> Violation {
        self.fingerprint = Some(fingerprint(value));
        self
    }

    /// The writer may insist with the `allow` annotation.
    #[must_use]
    pub fn insistable(mut self) -> Violation {
        self.insistable = true;
        self
    }

    /// The text without the field, as `field.Error.ErrorBody` of the API server has it.
    #[must_use]
    pub fn body(&self) -> String {
        let found = self.found.as_ref().map(shown).unwrap_or_default();
        let head = match self.cause {
            Cause::Required => "Required value".to_owned(),
            Cause::Invalid | Cause::TypeInvalid => format!("Invalid value: {found}"),
            Cause::NotSupported => format!("Unsupported value: {found}"),
            Cause::Duplicate => format!("Duplicate value: {found}"),
            Cause::Forbidden => "Forbidden".to_owned(),
            Cause::TooLong => "Too long".to_owned(),
            Cause::Policy => return self.detail.clone(),
        };
        if self.detail.is_empty() {
            head
        } else {
            format!("{head}: {}", self.detail)
        }
    }

    /// The whole sentence: `spec.replicas: Invalid value: 2: must be odd`.
    #[must_use]
    pub fn message(&self) -> String {
        if self.field.is_root() {
            self.body()
        } else {
            format!("{}: {}", self.field, self.body())
        }
    }

    /// Whether `old`, found in the object before the change, is the same sin: the same field (list items are
    /// matched by what they hold, not by where they stand), cause and value.
    #[must_use]
    pub fn is_same_sin(&self, old: &Violation) -> bool {
        self.cause == old.cause
            && self.found == old.found
            && self.fingerprint == old.fingerprint
            && self.field.is_same_but_for_indexes(&old.field)
    }
}

/// The same for equal values, and for hardly any others.
#[must_use]
pub fn fingerprint(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    };
    let total = text.chars().count();
    if total <= SHOWN_VALUE_MAX_CHARS {
        return text;
    }
    let mut cut: String = text.chars().take(SHOWN_VALUE_MAX_CHARS).collect();
    let _ = write!(cut, "... ({total} characters)");
    cut
}

/// What a validator says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdict {
    /// Everything that is wrong, in the order of the fields.
    pub violations: Vec<Violation>,
    /// Sentences for the user, shown on allow and on deny; at most 120 characters each.
    pub warnings: Vec<String>,
    /// Audit annotations, key (without the webhook's name) and value.
    pub audit: Vec<(String, String)>,
    /// By what was judged, for `review --explain`; only where [`super::Request::explains`] is set.
    pub notes: Vec<String>,
}

impl Verdict {
    /// Adds a violation.
    pub fn refuse(&mut self, violation: Violation) {
        self.violations.push(violation);
    }

    /// Adds a warning.
    pub fn warn(&mut self, sentence: impl Into<String>) {
        self.warnings.push(sentence.into());
    }

    /// Says by what was judged.
    pub fn note(&mut self, sentence: impl Into<String>) {
        self.notes.push(sentence.into());
    }

    /// Adds a warning that names something between `head` and `tail`: as much of it as a warning holds, at least one;
    /// the rest is counted.
    pub fn warn_naming(&mut self, head: &str, names: &[impl AsRef<str>], tail: &str) {
        let sentence = |shown: usize| {
            let list: Vec<&str> = names.iter().take(shown).map(AsRef::as_ref).collect();
            let list = list.join(", ");
            match names.len() - shown {
                0 => format!("{head}{list}{tail}"),
                more => format!("{head}{list} and {more} more{tail}"),
            }
        };
        if names.is_empty() {
            return;
        }
        // A name takes a character and a comma at least, so no more can fit.
        let most = names.len().min(WARNING_MAX_CHARS / 2);
        let fitting = (1..=most)
            .rev()
            .map(sentence)
            .find(|text| text.chars().count() <= WARNING_MAX_CHARS);
        self.warn(fitting.unwrap_or_else(|| sentence(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_are_those_of_the_api_server() {
        let spec = Path::ROOT.member("spec");
        let replicas = spec.member("replicas");
        let text = |violation: Violation| violation.message();
        assert_eq!(
            text(Violation::invalid(&replicas, 2, "must be odd")),
            "spec.replicas: Invalid value: 2: must be odd"
        );
        assert_eq!(
            text(Violation::required(&replicas, "")),
            "spec.replicas: Required value"
        );
        assert_eq!(
            text(Violation::not_supported(&replicas, "x", &["a", "b"])),
            r#"spec.replicas: Unsupported value: "x": supported values: "a", "b""#
        );
        assert_eq!(
            text(Violation::wrong_type(&replicas, &json!([]), "an object")),
            r#"spec.replicas: Invalid value: "array": must be an object"#
        );
        assert_eq!(text(Violation::policy("no")), "no");
    }

    #[test]
    fn a_warning_names_as_much_as_it_holds() {
        let said = |names: &[String]| {
            let mut verdict = Verdict::default();
            verdict.warn_naming("gone: ", names, "; look");
            verdict.warnings.pop()
        };
        assert_eq!(said(&[]), None);
        let name = |number: usize| format!("package-{number:03}");
        let few: Vec<String> = (0..2).map(name).collect();
        assert_eq!(
            said(&few).as_deref(),
            Some("gone: package-000, package-001; look")
        );
        let many: Vec<String> = (0..500).map(name).collect();
        let text = said(&many).unwrap();
        assert!(text.chars().count() <= WARNING_MAX_CHARS, "{text}");
        assert!(
            text.starts_with("gone: package-000, package-001, "),
            "{text}"
        );
        assert!(text.ends_with(" more; look"), "{text}");
        assert!(said(&["x".repeat(300)]).is_some());
    }

    #[test]
    fn a_long_value_is_cut() {
        let body = Violation::invalid(&Path::ROOT, "x".repeat(5_000), "too much").body();
        assert!(
            body.len() < 200 && body.contains("5002 characters"),
            "{body}"
        );
    }
}
