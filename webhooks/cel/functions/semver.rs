//! Semantic versions, as the Go library reads them that Kubernetes uses.

use super::quoted::quoted;
use crate::cel::library::{Function, Library};
use crate::cel::run::{Fail, Run};
use crate::cel::types::Type;
use crate::cel::value::Value;
use std::borrow::Cow;
use std::cmp::Ordering;

const SEMVER: Type = Type::Opaque("kubernetes.Semver");
/// What an identifier takes beyond its text.
const IDENTIFIER_BYTES: usize = 24;

/// A semantic version. Its build metadata is checked and forgotten: nothing asks for it.
#[derive(Debug)]
pub struct Version {
    major: u64,
    minor: u64,
    patch: u64,
    prerelease: Vec<Identifier>,
}

/// In the order of precedence.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    Number(u64),
    Text(Box<str>),
}

impl Version {
    /// Whether they are the same by precedence.
    #[must_use]
    pub fn is_equal(&self, other: &Version) -> bool {
        self.compare(other).is_eq()
    }

    fn compare(&self, other: &Version) -> Ordering {
        let numbers = [self.major, self.minor, self.patch];
        let numbers = numbers.cmp(&[other.major, other.minor, other.patch]);
        numbers.then_with(
            || match (self.prerelease.is_empty(), other.prerelease.is_empty()) {
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                _ => self.prerelease.cmp(&other.prerelease),
            },
        )
    }
}

/// Declares them.
pub fn declare(library: &mut Library) {
    library.global("semver", &[Type::String], SEMVER, from_text);
    library.growing("semver");
    library.global("semver", &[Type::String, Type::Bool], SEMVER, from_text);
    library.growing("semver");
    library.global("isSemver", &[Type::String], Type::Bool, is_semver);
    library.growing("isSemver");
    library.global(
        "isSemver",
        &[Type::String, Type::Bool],
        Type::Bool,
        is_semver,
    );
    library.growing("isSemver");
    let numbers: [(&'static str, Function); 3] = [
        ("major", |_, arguments| {
            number(arguments, |version| version.major)
        }),
        ("minor", |_, arguments| {
            number(arguments, |version| version.minor)
        }),
        ("patch", |_, arguments| {
            number(arguments, |version| version.patch)
        }),
    ];
    for (name, function) in numbers {
        library.member(name, &[SEMVER], Type::Int, function);
    }
    library.member(
        "isGreaterThan",
        &[SEMVER, SEMVER],
        Type::Bool,
        |run, arguments| Ok(Value::Bool(compare(run, arguments)?.is_gt())),
    );
    library.member(
        "isLessThan",
        &[SEMVER, SEMVER],
        Type::Bool,
        |run, arguments| Ok(Value::Bool(compare(run, arguments)?.is_lt())),
    );
    library.member(
        "compareTo",
        &[SEMVER, SEMVER],
        Type::Int,
        |run, arguments| Ok(Value::Int(compare(run, arguments)? as i64)),
    );
    for name in ["isGreaterThan", "isLessThan", "compareTo"] {
        library.growing(name);
    }
}

fn from_text<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    let version = read(run, arguments)?.map_err(Fail::error)?;
    Ok(Value::Semver(version.into()))
}

fn is_semver<'a>(run: &mut Run<'_>, arguments: &[Value<'a>]) -> Result<Value<'a>, Fail> {
    Ok(Value::Bool(read(run, arguments)?.is_ok()))
}

fn read(run: &mut Run<'_>, arguments: &[Value<'_>]) -> Result<Result<Version, String>, Fail> {
    let (text, normalize) = match arguments {
        [Value::String(text)] => (text, false),
        [Value::String(text), Value::Bool(normalize)] => (text, *normalize),
        _ => return Err(Fail::no_such_overload()),
    };
    let identifiers = text.bytes().filter(|byte| *byte == b'.').count();
    run.allocate(text.len() + identifiers * IDENTIFIER_BYTES)?;
    if !normalize {
        return Ok(parse(text));
    }
    Ok(normalized(text).and_then(|text| parse(&text)))
}

fn number<'a>(arguments: &[Value<'a>], part: fn(&Version) -> u64) -> Result<Value<'a>, Fail> {
    match arguments {
        // Go wraps numbers that do not fit.
        [Value::Semver(version)] => Ok(Value::Int(part(version).cast_signed())),
        _ => Err(Fail::no_such_overload()),
    }
}

fn compare(run: &mut Run<'_>, arguments: &[Value<'_>]) -> Result<Ordering, Fail> {
    let [Value::Semver(one), Value::Semver(other)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    run.scan(
        one.prerelease
            .len()
            .min(other.prerelease.len())
            .saturating_mul(10),
    )?;
    Ok(one.compare(other))
}

/// Without a leading `v` and leading zeros, with zeros for what is missing.
fn normalized(text: &str) -> Result<String, String> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts: Vec<Cow<'_, str>> = text.splitn(3, '.').map(without_zeros).collect();
    if parts.len() < 3 {
        if parts.last().is_some_and(|last| last.contains(['+', '-'])) {
            return Err("short version cannot contain PreRelease/Build meta data".to_owned());
        }
        parts.resize(3, Cow::Borrowed("0"));
    }
    Ok(parts.join("."))
}

fn without_zeros(part: &str) -> Cow<'_, str> {
    if part.len() < 2 {
        return Cow::Borrowed(part);
    }
    let rest = part.trim_start_matches('0');
    if rest.starts_with(|first: char| first.is_ascii_digit()) {
        Cow::Borrowed(rest)
    } else {
        Cow::Owned(format!("0{rest}"))
    }
}

fn parse(text: &str) -> Result<Version, String> {
    if text.is_empty() {
        return Err("Version string empty".to_owned());
    }
    let mut parts = text.splitn(3, '.');
    let (Some(major), Some(minor), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("No Major.Minor.Patch elements found".to_owned());
    };
    let major = read_number("major", "Major", major)?;
    let minor = read_number("minor", "Minor", minor)?;
    let (rest, build) = match rest.split_once('+') {
        Some((rest, build)) => (rest, Some(build)),
        None => (rest, None),
    };
    let (patch, prerelease) = match rest.split_once('-') {
        Some((patch, prerelease)) => (patch, Some(prerelease)),
        None => (rest, None),
    };
    let patch = read_number("patch", "Patch", patch)?;
    let prerelease = prerelease.into_iter().flat_map(|all| all.split('.'));
    let prerelease = prerelease
        .map(read_identifier)
        .collect::<Result<Vec<_>, _>>()?;
    for part in build.into_iter().flat_map(|all| all.split('.')) {
        if part.is_empty() {
            return Err("Build meta data is empty".to_owned());
        }
        if !part.bytes().all(is_identifier_byte) {
            let part = quoted(part);
            return Err(format!(
                "Invalid character(s) found in build meta data {part}"
            ));
        }
    }
    Ok(Version {
        major,
        minor,
        patch,
        prerelease,
    })
}

fn read_number(name: &str, capital: &str, text: &str) -> Result<u64, String> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "Invalid character(s) found in {name} number {}",
            quoted(text)
        ));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(format!(
            "{capital} number must not contain leading zeroes {}",
            quoted(text)
        ));
    }
    digits(text)
}

/// What Go's `strconv` makes of digits.
fn digits(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| {
        let problem = if text.is_empty() {
            "invalid syntax"
        } else {
            "value out of range"
        };
        format!("strconv.ParseUint: parsing {}: {problem}", quoted(text))
    })
}

fn read_identifier(text: &str) -> Result<Identifier, String> {
    if text.is_empty() {
        return Err("Prerelease is empty".to_owned());
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        if text.len() > 1 && text.starts_with('0') {
            let text = quoted(text);
            return Err(format!(
                "Numeric PreRelease version must not contain leading zeroes {text}"
            ));
        }
        return digits(text).map(Identifier::Number);
    }
    if text.bytes().all(is_identifier_byte) {
        return Ok(Identifier::Text(text.into()));
    }
    Err(format!(
        "Invalid character(s) found in prerelease {}",
        quoted(text)
    ))
}

fn is_identifier_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

#[cfg(test)]
mod tests;
