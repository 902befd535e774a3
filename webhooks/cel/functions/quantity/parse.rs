//! Reads quantities as the API server does.

use super::Quantity;
use super::decimal::Decimal;
use crate::cel::run::{Fail, Run};
use std::cmp::Ordering;

const WRONG_FORMAT: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const WRONG_NUMBER: &str = "unable to parse numeric part of quantity";
const WRONG_SUFFIX: &str = "unable to parse quantity's suffix";

/// Nothing finer is held.
const NANO: i32 = -9;
/// Digits that a small number holds whatever they are.
const SMALL_DIGITS: usize = 18;

struct Parts<'t> {
    is_negative: bool,
    /// Without leading zeros, and `0` where nothing is left.
    whole: &'t str,
    fraction: &'t str,
    has_digits: bool,
    suffix: &'t str,
}

enum Suffix {
    /// A power of ten.
    Ten(i32),
    /// A power of two.
    Two(u32),
}

/// A quantity, or what is wrong with it.
pub fn parse(text: &str, run: &mut Run<'_>) -> Result<Result<Quantity, &'static str>, Fail> {
    let (parts, suffix) = match split(text).and_then(|parts| {
        let suffix = read_suffix(parts.suffix).ok_or(WRONG_SUFFIX)?;
        Ok((parts, suffix))
    }) {
        Ok(read) => read,
        Err(message) => return Ok(Err(message)),
    };
    if let Some(small) = read_small(&parts, &suffix) {
        return Ok(Ok(small));
    }
    if !parts.has_digits {
        return Ok(Err(WRONG_NUMBER));
    }
    read_large(&parts, &suffix, run).map(|large| Ok(Quantity::Large(large.into())))
}

fn split(text: &str) -> Result<Parts<'_>, &'static str> {
    if text.is_empty() {
        return Err(WRONG_FORMAT);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let significant = unsigned.trim_start_matches('0');
    let (whole, rest) = split_digits(significant);
    let (fraction, suffix) = match rest.strip_prefix('.') {
        Some(rest) => split_digits(rest),
        None => ("", rest),
    };
    let unit_end = suffix.trim_start_matches(|unit| "eEinumkKMGTP".contains(unit));
    let exponent = unit_end.strip_prefix(['-', '+']).unwrap_or(unit_end);
    if !split_digits(exponent).1.is_empty() {
        return Err(WRONG_FORMAT);
    }
    Ok(Parts {
        is_negative: text.starts_with('-'),
        whole: if whole.is_empty() { "0" } else { whole },
        fraction,
        has_digits: significant.len() < unsigned.len() || !whole.is_empty() || !fraction.is_empty(),
        suffix,
    })
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.find(|character: char| !character.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

fn read_suffix(suffix: &str) -> Option<Suffix> {
    Some(match suffix {
        "n" => Suffix::Ten(-9),
        "u" => Suffix::Ten(-6),
        "m" => Suffix::Ten(-3),
        "" => Suffix::Ten(0),
        "k" => Suffix::Ten(3),
        "M" => Suffix::Ten(6),
        "G" => Suffix::Ten(9),
        "T" => Suffix::Ten(12),
        "P" => Suffix::Ten(15),
        "E" => Suffix::Ten(18),
        "Ki" => Suffix::Two(10),
        "Mi" => Suffix::Two(20),
        "Gi" => Suffix::Two(30),
        "Ti" => Suffix::Two(40),
        "Pi" => Suffix::Two(50),
        "Ei" => Suffix::Two(60),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let exponent: i64 = exponent.parse().ok()?;
            Suffix::Ten(wrapped(exponent))
        }
    })
}

/// As Go converts it: what does not fit is cut off.
#[allow(clippy::cast_possible_truncation)]
fn wrapped(exponent: i64) -> i32 {
    exponent as i32
}

/// How the API server reads what is short enough.
fn read_small(parts: &Parts<'_>, suffix: &Suffix) -> Option<Quantity> {
    let digits = parts.whole.len() + parts.fraction.len();
    let (exponent, factor) = match *suffix {
        Suffix::Ten(exponent) if digits <= SMALL_DIGITS => (exponent, 1),
        Suffix::Two(power) if parts.fraction.is_empty() => {
            // Its estimate of the digits of the factor.
            let taken = parts.whole.len() + (power * 3 / 10) as usize + 1;
            if taken > 15 {
                return None;
            }
            (0, 1_i64 << power)
        }
        _ => return None,
    };
    let exponent = exponent.wrapping_sub(i32::try_from(parts.fraction.len()).ok()?);
    if exponent < NANO {
        return None;
    }
    let value: i64 = format!("{}{}", parts.whole, parts.fraction).parse().ok()?;
    let value = value.checked_mul(factor)?;
    Some(Quantity::Small {
        value: if parts.is_negative { -value } else { value },
        exponent,
    })
}

/// How it reads all others: exactly, to the nano and away from zero, binary ones no further than small numbers go.
fn read_large(parts: &Parts<'_>, suffix: &Suffix, run: &mut Run<'_>) -> Result<Decimal, Fail> {
    let length = parts.whole.len() + parts.fraction.len();
    run.allocate(length.saturating_mul(2))?;
    let scale = i32::try_from(parts.fraction.len()).unwrap_or(i32::MAX);
    let exponent = match *suffix {
        Suffix::Ten(exponent) => exponent.wrapping_sub(scale),
        Suffix::Two(_) => scale.wrapping_neg(),
    };
    let digits = [parts.whole.as_bytes(), parts.fraction.as_bytes()].concat();
    let mut decimal = Decimal::of_digits(&digits, exponent);
    if let Suffix::Two(power) = suffix {
        decimal.multiply(1 << power);
    }
    if !decimal.is_zero() {
        decimal.rescale(NANO, run)?;
    }
    let most = Decimal::new(i64::MAX, 0);
    if matches!(suffix, Suffix::Two(_)) && decimal.compare(&most) == Ordering::Greater {
        decimal = most;
    }
    decimal.is_negative = parts.is_negative && !decimal.is_zero();
    Ok(decimal)
}
