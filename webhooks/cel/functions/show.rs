//! Values as Go and cel-go print them, in results and in messages.

use crate::cel::run::{Fail, Run};
use crate::cel::value::{List, Map, Timestamp, Value};
use regex::Regex;
use std::sync::LazyLock;

/// How deep values are printed.
pub(super) const DEPTH_MAX: usize = 256;

const NANOSECONDS: i64 = 1_000_000_000;

/// What cel-go says where the function was declared for other arguments.
pub(super) fn no_such_overload(name: &str, arguments: &[Value<'_>]) -> Fail {
    let types: Vec<&str> = arguments.iter().map(Value::type_name).collect();
    Fail::error(format!("no such overload: {name}({})", types.join(", ")))
}

/// What is too deep.
pub(super) fn too_deep() -> Fail {
    Fail::error("the value is nested too deeply to be printed")
}

/// Text that is paid for as it grows.
#[derive(Default)]
pub(super) struct Printed {
    text: String,
}

impl Printed {
    /// Adds to it.
    pub(super) fn push(&mut self, text: &str, run: &mut Run<'_>) -> Result<(), Fail> {
        run.allocate(text.len())?;
        self.text.push_str(text);
        Ok(())
    }

    /// All of it.
    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// A value as Go's `%v` prints it, for messages.
pub(in crate::cel) fn text(value: &Value<'_>, run: &mut Run<'_>) -> Result<String, Fail> {
    let mut printed = Printed::default();
    print(value, false, 0, &mut printed, run)?;
    Ok(printed.into_text())
}

/// `is_native` where cel-go has not made a value of it yet but holds what was read from JSON.
fn print(
    value: &Value<'_>,
    is_native: bool,
    depth: usize,
    printed: &mut Printed,
    run: &mut Run<'_>,
) -> Result<(), Fail> {
    if depth > DEPTH_MAX {
        return Err(too_deep());
    }
    run.spend(1)?;
    let depth = depth + 1;
    match value {
        Value::Null => printed.push(if is_native { "<nil>" } else { "0" }, run),
        Value::Bool(is) => printed.push(if *is { "true" } else { "false" }, run),
        Value::Int(whole) => printed.push(&whole.to_string(), run),
        Value::Uint(whole) => printed.push(&whole.to_string(), run),
        Value::Double(number) => printed.push(&double(*number), run),
        Value::String(text) => printed.push(text, run),
        Value::Bytes(bytes) => {
            printed.push("[", run)?;
            for (at, byte) in bytes.iter().enumerate() {
                printed.push(if at == 0 { "" } else { " " }, run)?;
                printed.push(&byte.to_string(), run)?;
            }
            printed.push("]", run)
        }
        Value::List(list) => {
            let separator = if is_native { " " } else { ", " };
            let are_native = is_native || matches!(list, List::Node(_));
            printed.push("[", run)?;
            for (at, item) in list.iter().enumerate() {
                printed.push(if at == 0 { "" } else { separator }, run)?;
                print(&item, are_native, depth, printed, run)?;
            }
            printed.push("]", run)
        }
        Value::Map(map) => print_map(map, is_native, depth, printed, run),
        Value::Duration(span) => printed.push(&go_duration(*span), run),
        Value::Timestamp(moment) => {
            let text = timestamp(*moment)
                .replace('T', " ")
                .replace('Z', " +0000 UTC");
            printed.push(&text, run)
        }
        Value::Type(name) => printed.push(name, run),
        Value::Optional(None) => printed.push("optional.none()", run),
        Value::Optional(Some(inner)) => {
            printed.push("optional(", run)?;
            print(inner, false, depth, printed, run)?;
            printed.push(")", run)
        }
        Value::Ip(address) => printed.push(&address.to_string(), run),
        Value::Url(_)
        | Value::Cidr(_)
        | Value::Quantity(_)
        | Value::Semver(_)
        | Value::Format(_) => printed.push(value.type_name(), run),
    }
}

fn print_map(
    map: &Map<'_>,
    is_native: bool,
    depth: usize,
    printed: &mut Printed,
    run: &mut Run<'_>,
) -> Result<(), Fail> {
    let (open, separator, close) = if is_native {
        ("map[", " ", "]")
    } else {
        ("{", ", ", "}")
    };
    printed.push(open, run)?;
    for (at, (key, value)) in map.members().enumerate() {
        printed.push(if at == 0 { "" } else { separator }, run)?;
        print(&key, is_native, depth, printed, run)?;
        printed.push(if is_native { ":" } else { ": " }, run)?;
        print(&value, is_native, depth, printed, run)?;
    }
    printed.push(close, run)
}

/// A float as Go's `%g` prints it: with as few digits as tell it from others.
pub(super) fn double(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return number.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

/// A span of time as CEL prints it: in seconds.
pub(super) fn duration(span: i64) -> String {
    // As floats, for that is how cel-go gets at its digits.
    #[allow(clippy::cast_precision_loss)]
    let seconds = (span / NANOSECONDS) as f64 + (span % NANOSECONDS) as f64 / 1e9;
    format!("{seconds}s")
}

/// A span of time as Go prints it.
fn go_duration(span: i64) -> String {
    let nanoseconds = span.unsigned_abs();
    let sign = if span < 0 { "-" } else { "" };
    let second = NANOSECONDS.unsigned_abs();
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    if nanoseconds < second {
        let (unit, size, places) = match nanoseconds {
            0..1_000 => ("ns", 1, 0),
            1_000..1_000_000 => ("µs", 1_000, 3),
            _ => ("ms", 1_000_000, 6),
        };
        let fraction = fraction(nanoseconds % size, places);
        return format!("{sign}{}{fraction}{unit}", nanoseconds / size);
    }
    let seconds = nanoseconds / second;
    let fraction = fraction(nanoseconds % second, 9);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let seconds = seconds % 60;
    if hours > 0 {
        format!("{sign}{hours}h{minutes}m{seconds}{fraction}s")
    } else if minutes > 0 {
        format!("{sign}{minutes}m{seconds}{fraction}s")
    } else {
        format!("{sign}{seconds}{fraction}s")
    }
}

/// What stands behind a number of so many decimal places, without the zeros at its end.
fn fraction(part: u64, places: usize) -> String {
    if part == 0 {
        return String::new();
    }
    let digits = format!("{part:0places$}");
    format!(".{}", digits.trim_end_matches('0'))
}

/// A moment as RFC 3339 writes it.
pub(super) fn timestamp(moment: Timestamp) -> String {
    let (days, second) = (
        moment.seconds.div_euclid(86_400),
        moment.seconds.rem_euclid(86_400),
    );
    // Years that start in March and eras of 400 of them make leap days fall to the end.
    let days = days.saturating_add(719_468);
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = year + era * 400 + next;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let fraction = fraction(u64::from(moment.nanoseconds), 9);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// What Go takes for printable: letters, marks, numbers, punctuation and symbols of its version of Unicode.
static PRINTABLE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^[[\p{L}\p{M}\p{N}\p{P}\p{S}]&&\p{age:15.0}]$").ok());

/// A text in quotes as Go's `%q` prints it.
pub(super) fn quoted(text: &str, run: &mut Run<'_>) -> Result<String, Fail> {
    let mut printed = Printed::default();
    printed.push("\"", run)?;
    let mut buffer = [0; 4];
    for character in text.chars() {
        let is_plain = match character {
            '"' | '\\' => false,
            ' '..='~' => true,
            _ => {
                let text = character.encode_utf8(&mut buffer);
                !character.is_ascii()
                    && PRINTABLE.as_ref().is_some_and(|regex| regex.is_match(text))
            }
        };
        if is_plain {
            printed.push(character.encode_utf8(&mut buffer), run)?;
            continue;
        }
        let code = u32::from(character);
        let escaped = match character {
            '"' | '\\' => format!("\\{character}"),
            '\x07' => r"\a".to_owned(),
            '\x08' => r"\b".to_owned(),
            '\x0c' => r"\f".to_owned(),
            '\n' => r"\n".to_owned(),
            '\r' => r"\r".to_owned(),
            '\t' => r"\t".to_owned(),
            '\x0b' => r"\v".to_owned(),
            _ if code < 0x80 => format!(r"\x{code:02x}"),
            _ if code < 0x1_0000 => format!(r"\u{code:04x}"),
            _ => format!(r"\U{code:08x}"),
        };
        printed.push(&escaped, run)?;
    }
    printed.push("\"", run)?;
    Ok(printed.into_text())
}
