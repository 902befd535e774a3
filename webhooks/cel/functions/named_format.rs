//! Formats that have names, with the messages of the API server.

use super::time::is_date;
use super::url::parse_request;
use crate::cel::library::{Function, Library};
use crate::cel::run::{Fail, Run};
use crate::cel::types::Type;
use crate::cel::value::Value;

const FORMAT: Type = Type::Opaque("kubernetes.NamedFormat");
/// How often a check goes over a text at most.
const PASSES: usize = 4;
/// What the messages of one check take at most, beyond what they repeat.
const MESSAGES_BYTES: usize = 1024;

/// A format with a name.
#[derive(Debug)]
pub struct NamedFormat {
    name: &'static str,
    check: fn(&str) -> Vec<String>,
}

impl NamedFormat {
    /// Its name to the API server.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }
}

struct Known {
    /// Its name in CEL.
    name: &'static str,
    function: &'static str,
    make: Function,
    format: &'static NamedFormat,
}

/// One format: its name in CEL, the function that gives it, its name to the API server and its check.
macro_rules! known {
    ($name:literal, $shown:literal, $check:expr) => {{
        static FORMAT: NamedFormat = NamedFormat {
            name: $shown,
            check: $check,
        };
        Known {
            name: $name,
            function: concat!("format.", $name),
            make: |_, _| Ok(Value::Format(&FORMAT)),
            format: &FORMAT,
        }
    }};
}

static KNOWN: [Known; 13] = [
    known!("dns1123Label", "DNS1123Label", |text| dns1123_label(
        text.as_bytes()
    )),
    known!("dns1123Subdomain", "DNS1123Subdomain", |text| {
        dns1123_subdomain(text.as_bytes())
    }),
    known!("dns1035Label", "DNS1035Label", |text| dns1035_label(
        text.as_bytes()
    )),
    known!("qualifiedName", "QualifiedName", qualified_name),
    known!("dns1123LabelPrefix", "DNS1123LabelPrefix", |text| {
        dns1123_label(&masked(text))
    }),
    known!("dns1123SubdomainPrefix", "DNS1123SubdomainPrefix", |text| {
        dns1123_subdomain(&masked(text))
    }),
    known!("dns1035LabelPrefix", "DNS1035LabelPrefix", |text| {
        dns1035_label(&masked(text))
    }),
    known!("labelValue", "LabelValue", label_value),
    known!("uri", "URI", |text| parse_request(text)
        .err()
        .into_iter()
        .collect()),
    known!("uuid", "uuid", |text| unless(
        is_uuid(text),
        "does not match the UUID format"
    )),
    known!("byte", "byte", |text| unless(
        is_base64(text),
        "invalid base64"
    )),
    known!("date", "date", |text| unless(is_date(text), "invalid date")),
    known!("datetime", "datetime", |text| unless(
        is_date_time(text),
        "invalid datetime"
    )),
];

/// Declares them.
pub fn declare(library: &mut Library) {
    for known in &KNOWN {
        library.global(known.function, &[], FORMAT, known.make);
    }
    library.global(
        "format.named",
        &[Type::String],
        Type::optional(FORMAT),
        named,
    );
    let messages = Type::optional(Type::list(Type::String));
    library.member("validate", &[FORMAT, Type::String], messages, validate);
    library.growing("validate");
}

fn named<'a>(_: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let [Value::String(name)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    let known = KNOWN.iter().find(|known| known.name == &**name);
    Ok(known.map_or(Value::Optional(None), |known| {
        Value::Format(known.format).some()
    }))
}

fn validate<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let [Value::Format(format), Value::String(text)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    run.scan(text.len().saturating_mul(PASSES))?;
    run.allocate(MESSAGES_BYTES)?;
    let messages = (format.check)(text);
    if messages.is_empty() {
        return Ok(Value::Optional(None));
    }
    run.allocate(messages.iter().map(String::len).sum())?;
    Ok(Value::list(messages.into_iter().map(Value::text).collect()).some())
}

fn unless(is_valid: bool, message: &str) -> Vec<String> {
    if is_valid {
        Vec::new()
    } else {
        vec![message.to_owned()]
    }
}

const LABEL_MAX_BYTES: usize = 63;
const SUBDOMAIN_MAX_BYTES: usize = 253;

/// What is said of a text that does not match.
struct Mismatch {
    rule: &'static str,
    regex: &'static str,
    /// As they stand in the message.
    examples: &'static str,
}

const DNS1123_LABEL: Mismatch = Mismatch {
    rule: "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
    regex: "[a-z0-9]([-a-z0-9]*[a-z0-9])?",
    examples: "'my-name',  or '123-abc', ",
};
const DNS1123_SUBDOMAIN: Mismatch = Mismatch {
    rule: "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
    regex: r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
    examples: "'example.com', ",
};
const DNS1035_LABEL: Mismatch = Mismatch {
    rule: "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
    regex: "[a-z]([-a-z0-9]*[a-z0-9])?",
    examples: "'my-name',  or 'abc-123', ",
};
const QUALIFIED_NAME: Mismatch = Mismatch {
    rule: "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    regex: "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]",
    examples: "'MyName',  or 'my.name',  or '123-abc', ",
};
const LABEL_VALUE: Mismatch = Mismatch {
    rule: "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    regex: "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
    examples: "'MyValue',  or 'my_value',  or '12345', ",
};

impl Mismatch {
    fn message(&self) -> String {
        let Mismatch {
            rule,
            regex,
            examples,
        } = self;
        format!("{rule} (e.g. {examples}regex used for validation is '{regex}')")
    }
}

fn too_long(bytes: &[u8], most: usize) -> Vec<String> {
    unless(
        bytes.len() <= most,
        &format!("must be no more than {most} characters"),
    )
}

fn dns1123_label(bytes: &[u8]) -> Vec<String> {
    let mut messages = too_long(bytes, LABEL_MAX_BYTES);
    if !is_label(bytes) {
        messages.push(if is_subdomain(bytes) {
            "must not contain dots".to_owned()
        } else {
            DNS1123_LABEL.message()
        });
    }
    messages
}

fn dns1123_subdomain(bytes: &[u8]) -> Vec<String> {
    let mut messages = too_long(bytes, SUBDOMAIN_MAX_BYTES);
    if !is_subdomain(bytes) {
        messages.push(DNS1123_SUBDOMAIN.message());
    }
    messages
}

fn dns1035_label(bytes: &[u8]) -> Vec<String> {
    let mut messages = too_long(bytes, LABEL_MAX_BYTES);
    if !is_label(bytes) || !bytes.first().is_some_and(u8::is_ascii_lowercase) {
        messages.push(DNS1035_LABEL.message());
    }
    messages
}

fn label_value(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let mut messages = too_long(bytes, LABEL_MAX_BYTES);
    if !bytes.is_empty() && !is_name(bytes) {
        messages.push(LABEL_VALUE.message());
    }
    messages
}

fn qualified_name(text: &str) -> Vec<String> {
    let mut messages = Vec::new();
    let name = match text.split_once('/') {
        None => text,
        Some((_, name)) if name.contains('/') => {
            let message = QUALIFIED_NAME.message();
            return vec![format!(
                "a qualified name {message} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
        Some(("", name)) => {
            messages.push("prefix part must be non-empty".to_owned());
            name
        }
        Some((prefix, name)) => {
            let wrong = dns1123_subdomain(prefix.as_bytes());
            messages.extend(wrong.iter().map(|message| format!("prefix part {message}")));
            name
        }
    };
    let bytes = name.as_bytes();
    let mut wrong = unless(!bytes.is_empty(), "must be non-empty");
    wrong.extend(too_long(bytes, LABEL_MAX_BYTES));
    if !is_name(bytes) {
        wrong.push(QUALIFIED_NAME.message());
    }
    messages.extend(wrong.iter().map(|message| format!("name part {message}")));
    messages
}

/// A prefix may end in a dash. The API server puts a letter there, and loses the one before it.
fn masked(text: &str) -> Vec<u8> {
    match text.as_bytes() {
        [start @ .., _, b'-'] => [start, b"a"].concat(),
        bytes => bytes.to_vec(),
    }
}

fn is_label(bytes: &[u8]) -> bool {
    let is_alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    bytes.first().is_some_and(is_alphanumeric)
        && bytes.last().is_some_and(is_alphanumeric)
        && bytes
            .iter()
            .all(|byte| is_alphanumeric(byte) || *byte == b'-')
}

fn is_subdomain(bytes: &[u8]) -> bool {
    bytes.split(|byte| *byte == b'.').all(is_label)
}

fn is_name(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// Each dash may be left out.
fn is_uuid(text: &str) -> bool {
    let mut rest = text;
    for (index, digits) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        match rest.split_at_checked(digits) {
            Some((group, after)) if group.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                rest = after;
            }
            _ => return false,
        }
    }
    rest.is_empty()
}

/// In groups of four; nothing at all is none.
fn is_base64(text: &str) -> bool {
    let padding = text.len() - text.trim_end_matches('=').len();
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    !text.is_empty()
        && text.len().is_multiple_of(4)
        && padding <= 2
        && text.bytes().rev().skip(padding).all(is_letter)
}

/// As go-openapi has it: what follows a second `T` does not count.
fn is_date_time(text: &str) -> bool {
    let mut parts = text.split(['t', 'T']);
    let (Some(date), Some(time)) = (parts.next(), parts.next()) else {
        return false;
    };
    is_date(date) && is_time(time)
}

fn is_time(text: &str) -> bool {
    let Some((clock, rest)) = text.split_at_checked(8) else {
        return false;
    };
    let [h1, h2, b':', m1, m2, b':', s1, s2] = clock.as_bytes() else {
        return false;
    };
    let is_below = |tens: u8, ones: u8, end: [u8; 2]| {
        tens.is_ascii_digit() && ones.is_ascii_digit() && [tens, ones] < end
    };
    if !is_below(*h1, *h2, *b"24") || !is_below(*m1, *m2, *b"60") || !is_below(*s1, *s2, *b"60") {
        return false;
    }
    let fraction = rest.strip_suffix(['z', 'Z']).or_else(|| {
        let (fraction, zone) = rest.split_at_checked(rest.len().checked_sub(6)?)?;
        let [b'+' | b'-', h1, h2, b':', m1, m2] = zone.as_bytes() else {
            return None;
        };
        [h1, h2, m1, m2]
            .iter()
            .all(|digit| digit.is_ascii_digit())
            .then_some(fraction)
    });
    fraction.is_some_and(|fraction| {
        let mut characters = fraction.chars();
        // Any character may stand for the point.
        match characters.next() {
            None => true,
            Some('\n') => false,
            Some(_) => {
                !characters.as_str().is_empty() && characters.all(|digit| digit.is_ascii_digit())
            }
        }
    })
}

#[cfg(test)]
mod tests;
