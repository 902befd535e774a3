//! YAML as kubectl reads it: the scalars of goyaml v2 (`go.yaml.in/yaml/v2`, YAML 1.1 with its own choices), turned
//! into JSON the way `sigs.k8s.io/yaml` does. One thing is stricter: a key that is there twice is refused, where
//! kubectl silently takes the last.
//!
//! The tests hold a table of scalars and constructs; the end-to-end tests ask a real kubectl about the same table.

use base64::Engine as _;
use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::collections::HashMap;
use std::fmt;

/// Deepest nesting: more is no manifest, and would take the stack.
const DEPTH_MAX: usize = 100;
/// Most values in one document, with aliases expanded.
const VALUES_MAX: usize = 1_000_000;

/// One document of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The line on which it starts, from 1.
    pub line: usize,
    /// What it says.
    pub value: Value,
}

/// A text that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("line {line}: {detail}")]
pub struct Error {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub detail: String,
}

fn error(line: usize, detail: impl Into<String>) -> Error {
    Error {
        line,
        detail: detail.into(),
    }
}

/// All documents of a text, YAML or JSON. Documents that hold nothing are left out.
///
/// # Errors
/// The first thing that cannot be read, with its line.
pub fn documents(text: &str) -> Result<Vec<Document>, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // As kubectl does: what begins like JSON is JSON if it can be.
    if text.trim_start().starts_with('{') {
        match json_documents(text) {
            Ok(documents) => return Ok(documents),
            Err(JsonError::Duplicate(duplicate)) => return Err(duplicate),
            Err(JsonError::NotJson) => {}
        }
    }
    let mut documents = Vec::new();
    for (offset, part) in parts(text)? {
        if let Some((line, value)) = Reader::new(part, offset).document()?
            && !value.is_null()
        {
            documents.push(Document { line, value });
        }
    }
    Ok(documents)
}

/// The first document of a text as Helm reads the files of a chart: like kubectl, but of a key that is there twice it
/// silently takes the last. Null when the text holds nothing.
///
/// # Errors
/// The first thing that cannot be read, with its line.
pub fn first_document(text: &str) -> Result<Value, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::new(text, 0);
    reader.takes_duplicates = true;
    reader.first()
}

/// The text split at its `---` lines, each part with the number of lines before it. kubectl does this before it
/// reads any YAML, so that anchors do not reach from one document to the next.
fn parts(text: &str) -> Result<Vec<(usize, &str)>, Error> {
    let mut parts = Vec::new();
    let (mut start, mut start_line, mut here) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if let Some(rest) = line.strip_prefix("---") {
            let rest = rest.trim();
            if !rest.is_empty() && !rest.starts_with('#') {
                return Err(error(
                    number + 1,
                    format!("only a comment may follow the document separator, found {rest:?}"),
                ));
            }
            parts.push((start_line, text.get(start..here).unwrap_or_default()));
            start = here + line.len();
            start_line = number + 1;
        }
        here += line.len();
    }
    parts.push((start_line, text.get(start..).unwrap_or_default()));
    Ok(parts)
}

/// What a scalar says.
#[derive(Debug, Clone, PartialEq)]
enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    /// Lines of the file before this part.
    offset: usize,
    anchors: HashMap<usize, (Value, usize)>,
    values: usize,
    line: usize,
    /// The last of several equal keys wins.
    takes_duplicates: bool,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, offset: usize) -> Reader<'a> {
        Reader {
            events: Parser::new_from_str(text),
            offset,
            anchors: HashMap::new(),
            values: 0,
            line: 1,
            takes_duplicates: false,
        }
    }

    fn next(&mut self) -> Result<Event<'a>, Error> {
        loop {
            return match self.events.next() {
                Some(Ok((Event::Comment(..), _))) => continue,
                Some(Ok((event, Span { start, .. }))) => {
                    self.line = start.line().max(1) + self.offset;
                    Ok(event)
                }
                Some(Err(scan)) => Err(self.scan_error(&scan)),
                None => Ok(Event::StreamEnd),
            };
        }
    }

    fn scan_error(&self, scan: &ScanError) -> Error {
        error(
            scan.marker().line().max(1) + self.offset,
            scan.kind().to_string(),
        )
    }

    /// The document and its line; none when the part holds none.
    fn document(mut self) -> Result<Option<(usize, Value)>, Error> {
        let mut found = None;
        loop {
            match self.next()? {
                Event::StreamStart | Event::DocumentEnd | Event::DocumentStart(..) => {}
                Event::StreamEnd => return Ok(found),
                event => {
                    if found.is_some() {
                        return Err(error(
                            self.line,
                            "more content after the end of the document",
                        ));
                    }
                    let line = self.line;
                    let (value, _) = self.value(event, 0)?;
                    found = Some((line, value));
                }
            }
        }
    }

    /// The first document, whatever follows it.
    fn first(mut self) -> Result<Value, Error> {
        loop {
            match self.next()? {
                Event::StreamStart | Event::DocumentStart(..) => {}
                Event::StreamEnd | Event::DocumentEnd => return Ok(Value::Null),
                event => return self.value(event, 0).map(|(value, _)| value),
            }
        }
    }

    /// The value that begins with `event`, and how many values it is made of.
    fn value(&mut self, event: Event<'a>, depth: usize) -> Result<(Value, usize), Error> {
        let line = self.line;
        if depth > DEPTH_MAX {
            return Err(error(line, format!("nested more than {DEPTH_MAX} deep")));
        }
        let before = self.values;
        self.count(1)?;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => (
                to_json(scalar(&text, style, tag.as_deref(), line)?, line)?,
                anchor,
            ),
            Event::SequenceStart(_, anchor, _) => (self.sequence(depth)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.mapping(depth)?, anchor),
            Event::Alias(anchor) => {
                let (value, size) = self
                    .anchors
                    .get(&anchor)
                    .cloned()
                    .ok_or_else(|| error(line, "an alias inside its own anchor"))?;
                self.count(size)?;
                return Ok((value, size));
            }
            _ => return Err(error(line, "a value is missing")),
        };
        let size = self.values - before;
        if anchor != 0 {
            self.anchors.insert(anchor, (value.clone(), size));
        }
        Ok((value, size))
    }

    fn count(&mut self, more: usize) -> Result<(), Error> {
        self.values += more;
        if self.values > VALUES_MAX {
            return Err(error(
                self.line,
                format!("more than {VALUES_MAX} values, aliases expanded"),
            ));
        }
        Ok(())
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, Error> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(Value::Array(items)),
                event => items.push(self.value(event, depth + 1)?.0),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, Error> {
        let mut members = Map::new();
        let mut lines: HashMap<String, usize> = HashMap::new();
        loop {
            let event = self.next()?;
            let line = self.line;
            let key = match event {
                Event::MappingEnd => return Ok(Value::Object(members)),
                Event::Scalar(text, style, anchor, tag) => {
                    let is_plain = style == ScalarStyle::Plain && tag.is_none();
                    if text == "<<"
                        && (is_plain || tag.as_deref().is_some_and(|tag| short(tag) == "!!merge"))
                    {
                        let event = self.next()?;
                        let (value, _) = self.value(event, depth + 1)?;
                        merge(value, &mut members, line)?;
                        continue;
                    }
                    let scalar = scalar(&text, style, tag.as_deref(), line)?;
                    if anchor != 0 {
                        self.anchors
                            .insert(anchor, (to_json(scalar.clone(), line)?, 1));
                    }
                    key_text(scalar, line)?
                }
                Event::Alias(anchor) => match self.anchors.get(&anchor) {
                    Some((Value::String(text), _)) => text.clone(),
                    _ => return Err(error(line, "a key must be a string, a number or a boolean")),
                },
                _ => return Err(error(line, "a key must be a string, a number or a boolean")),
            };
            if let Some(first) = lines.insert(key.clone(), line)
                && !self.takes_duplicates
            {
                return Err(error(
                    line,
                    format!("key {key:?} is already defined in line {first}"),
                ));
            }
            let event = self.next()?;
            let (value, _) = self.value(event, depth + 1)?;
            members.insert(key, value);
        }
    }
}

/// `<<`: what is merged overrides what stands before it and is overridden by what stands after it, as in goyaml v2.
fn merge(value: Value, members: &mut Map<String, Value>, line: usize) -> Result<(), Error> {
    let wrong = || {
        error(
            line,
            "what is merged must be a mapping, or a list of mappings",
        )
    };
    match value {
        Value::Object(merged) => {
            members.extend(merged);
            Ok(())
        }
        Value::Array(list) => {
            for item in list.into_iter().rev() {
                match item {
                    Value::Object(merged) => members.extend(merged),
                    _ => return Err(wrong()),
                }
            }
            Ok(())
        }
        _ => Err(wrong()),
    }
}

fn short(tag: &Tag) -> String {
    let long = tag.to_string();
    match long.strip_prefix("tag:yaml.org,2002:") {
        Some(suffix) => format!("!!{suffix}"),
        None => long,
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, line: usize) -> Result<Scalar, Error> {
    let Some(tag) = tag.map(short) else {
        return Ok(if style == ScalarStyle::Plain {
            resolve(text)
        } else {
            Scalar::Text(text.to_owned())
        });
    };
    let cannot = || error(line, format!("cannot decode {text:?} as a {tag}"));
    match (tag.as_str(), resolve(text)) {
        ("!!binary", _) => {
            let packed: String = text
                .chars()
                .filter(|letter| !matches!(letter, '\n' | '\r'))
                .collect();
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(packed)
                .map_err(|_| error(line, "!!binary value contains invalid base64 data"))?;
            // Go writes bytes that are no UTF-8 as replacement characters.
            Ok(Scalar::Text(String::from_utf8_lossy(&bytes).into_owned()))
        }
        ("!!null", resolved @ Scalar::Null)
        | ("!!bool", resolved @ Scalar::Bool(_))
        | ("!!int", resolved @ (Scalar::Int(_) | Scalar::Unsigned(_)))
        | ("!!float", resolved @ Scalar::Float(_)) => Ok(resolved),
        #[allow(
            clippy::cast_precision_loss,
            reason = "as Go converts an integer that is tagged as a float"
        )]
        ("!!float", Scalar::Int(number)) => Ok(Scalar::Float(number as f64)),
        ("!!null" | "!!bool" | "!!int" | "!!float", _) => Err(cannot()),
        // !!str, !!timestamp, `!` and tags that nobody knows.
        _ => Ok(Scalar::Text(text.to_owned())),
    }
}

/// What a plain scalar says (goyaml v2, resolve.go).
fn resolve(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Scalar::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Scalar::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Scalar::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Scalar::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let number = match text.as_bytes().first() {
        Some(b'.') => go_float(text).map(Scalar::Float),
        Some(b'+' | b'-' | b'0'..=b'9') => {
            let plain = text.replace('_', "");
            go_int(&plain).or_else(|| {
                is_yaml_float(&plain)
                    .then(|| go_float(&plain).map(Scalar::Float))
                    .flatten()
            })
        }
        _ => None,
    };
    number.unwrap_or_else(|| Scalar::Text(text.to_owned()))
}

/// `strconv.ParseInt` and `ParseUint` with base 0: `0x`, `0o`, `0b`, and a leading 0 for octal.
fn go_int(text: &str) -> Option<Scalar> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => ("-", text.get(1..)?),
        b'+' => ("+", text.get(1..)?),
        _ => ("", text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, lower.get(1..)?)
    } else {
        (10, lower.as_str())
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    if let Ok(number) = i64::from_str_radix(&format!("{sign}{digits}"), radix) {
        return Some(Scalar::Int(number));
    }
    // ParseUint takes no sign.
    (sign.is_empty())
        .then(|| {
            u64::from_str_radix(digits, radix)
                .ok()
                .map(Scalar::Unsigned)
        })
        .flatten()
}

/// `^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`
fn is_yaml_float(text: &str) -> bool {
    let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(position) => (
            rest.get(..position).unwrap_or_default(),
            rest.get(position + 1..),
        ),
        None => (rest, None),
    };
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_mantissa = match mantissa.split_once('.') {
        Some((whole, fraction)) => {
            are_digits(whole) && are_digits(fraction) && !(whole.is_empty() && fraction.is_empty())
        }
        None => !mantissa.is_empty() && are_digits(mantissa),
    };
    is_mantissa
        && exponent.is_none_or(|exponent| {
            let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            !digits.is_empty() && are_digits(digits)
        })
}

/// `strconv.ParseFloat`: what is out of range is no number.
fn go_float(text: &str) -> Option<f64> {
    let has_digits_only = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    let number: f64 = text.parse().ok()?;
    (has_digits_only && number.is_finite()).then_some(number)
}

fn to_json(scalar: Scalar, line: usize) -> Result<Value, Error> {
    Ok(match scalar {
        Scalar::Null => Value::Null,
        Scalar::Bool(is_true) => Value::Bool(is_true),
        Scalar::Int(number) => number.into(),
        Scalar::Unsigned(number) => beyond_i64(number),
        Scalar::Text(text) => Value::String(text),
        Scalar::Float(number) => float_to_json(number)
            .ok_or_else(|| error(line, format!("{number} is no JSON number")))?,
    })
}

/// kubectl holds numbers as 64-bit integers, and what is larger as floats.
fn beyond_i64(number: u64) -> Value {
    #[allow(clippy::cast_precision_loss, reason = "as kubectl does")]
    let float = number as f64;
    Number::from_f64(float).map_or(Value::Null, Value::Number)
}

/// Go writes a float without a fraction as an integer, so an integer is what kubectl then reads.
fn float_to_json(number: f64) -> Option<Value> {
    /// From here on Go writes an exponent.
    const EXPONENT_FROM: f64 = 1e21;
    if number.fract() == 0.0 && number.abs() < EXPONENT_FROM {
        // Negative zero becomes an integer too, and loses its sign.
        if let Ok(integer) = number.to_string().parse::<i64>() {
            return Some(integer.into());
        }
    }
    Number::from_f64(number).map(Value::Number)
}

/// Keys are strings in JSON: what else may stand there, and how it is written (`sigs.k8s.io/yaml`).
fn key_text(scalar: Scalar, line: usize) -> Result<String, Error> {
    Ok(match scalar {
        Scalar::Text(text) => text,
        Scalar::Bool(is_true) => is_true.to_string(),
        Scalar::Int(number) => number.to_string(),
        Scalar::Float(number) => go_short_float(number),
        Scalar::Null | Scalar::Unsigned(_) => {
            return Err(error(line, "a key must be a string, a number or a boolean"));
        }
    })
}

/// `strconv.FormatFloat(number, 'g', -1, 32)`, with YAML's words for what is no number.
fn go_short_float(number: f64) -> String {
    if number.is_nan() {
        return ".nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    #[allow(
        clippy::cast_possible_truncation,
        reason = "Go formats the nearest 32-bit number"
    )]
    let single = number as f32;
    if single.is_infinite() {
        return if single > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let scientific = format!("{single:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if single != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    format!("{single}")
}

enum JsonError {
    NotJson,
    Duplicate(Error),
}

/// Marks an error of ours among those of the parser.
const DUPLICATE_MARK: &str = "duplicate key ";

fn json_documents(text: &str) -> Result<Vec<Document>, JsonError> {
    let mut documents = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Strict>();
    let mut end = 0;
    loop {
        let rest = text.get(end..).unwrap_or_default();
        let blank = rest.len() - rest.trim_start().len();
        let line = text
            .get(..end + blank)
            .unwrap_or_default()
            .matches('\n')
            .count()
            + 1;
        match stream.next() {
            None => return Ok(documents),
            Some(Ok(Strict(value))) => documents.push(Document { line, value }),
            Some(Err(failed)) => {
                let detail = failed.to_string();
                return Err(match detail.strip_prefix(DUPLICATE_MARK) {
                    Some(rest) => {
                        let key = rest.rsplit_once(" at line ").map_or(rest, |(key, _)| key);
                        JsonError::Duplicate(error(
                            failed.line(),
                            format!("key {key} is already defined"),
                        ))
                    }
                    None => JsonError::NotJson,
                });
            }
        }
        end = stream.byte_offset();
    }
}

/// A JSON value whose objects have no key twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        StrictSeed.deserialize(deserializer).map(Strict)
    }
}

struct StrictSeed;

impl<'de> DeserializeSeed<'de> for StrictSeed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictSeed {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, is_true: bool) -> Result<Value, E> {
        Ok(Value::Bool(is_true))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(i64::try_from(number).map_or_else(|_| beyond_i64(number), Value::from))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(float_to_json(number).unwrap_or(Value::Null))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(StrictSeed)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if members.contains_key(&key) {
                return Err(serde::de::Error::custom(format!("{DUPLICATE_MARK}{key:?}")));
            }
            let value = map.next_value_seed(StrictSeed)?;
            members.insert(key, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests;
