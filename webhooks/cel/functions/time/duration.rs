//! Spans of time: `1h30m`, `1.5s`.

use super::SECOND;
use crate::cel::functions::floats::format_plain;
use crate::cel::run::Fail;

/// One more than the nanoseconds of the longest span: as many as those of the shortest one.
const SPAN_END: u64 = 1 << 63;

/// A span as Go's `time.ParseDuration` takes it, in nanoseconds.
pub fn parse_duration(text: &str) -> Result<i64, Fail> {
    parse(text).ok_or_else(|| {
        Fail::error("type conversion error from 'string' to 'google.protobuf.Duration'")
    })
}

fn parse(text: &str) -> Option<i64> {
    let is_negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut span: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = split_digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => split_digits(after),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = after.find(|character: char| character == '.' || character.is_ascii_digit());
        let (unit, after) = after.split_at(end.unwrap_or(after.len()));
        let unit = unit_nanoseconds(unit)?;
        let whole: u64 = if whole.is_empty() {
            0
        } else {
            whole.parse().ok()?
        };
        let whole = whole.checked_mul(unit)?;
        let part = whole.checked_add(fraction_nanoseconds(fraction, unit))?;
        span = span
            .checked_add(part)
            .filter(|span| part <= SPAN_END && *span <= SPAN_END)?;
        rest = after;
    }
    if is_negative {
        0_i64.checked_sub_unsigned(span)
    } else {
        i64::try_from(span).ok()
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.find(|character: char| !character.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

fn unit_nanoseconds(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        // The micro sign and the Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// By floats, as in Go, whose rounding shows. Digits that no longer fit do not count.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]
fn fraction_nanoseconds(digits: &str, unit: u64) -> u64 {
    let mut number: u64 = 0;
    let mut scale: f64 = 1.0;
    for digit in digits.bytes() {
        if number > (SPAN_END - 1) / 10 {
            break;
        }
        let next = number * 10 + u64::from(digit - b'0');
        if next > SPAN_END {
            break;
        }
        number = next;
        scale *= 10.0;
    }
    (number as f64 * (unit as f64 / scale)) as u64
}

/// How many whole units there are, by floats as in Go.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
pub fn count(span: i64, unit: i64) -> i64 {
    in_units(span, unit) as i64
}

#[allow(clippy::cast_precision_loss)]
fn in_units(span: i64, unit: i64) -> f64 {
    (span / unit) as f64 + (span % unit) as f64 / unit as f64
}

/// A span in seconds, as cel-go writes it.
#[must_use]
pub fn format_duration(span: i64) -> String {
    format!("{}s", format_plain(in_units(span, SECOND)))
}
