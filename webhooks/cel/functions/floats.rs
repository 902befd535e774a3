//! Floats as Go's `strconv` reads and writes them.

/// As `%g` writes it: the shortest text that gives it back, with an exponent from a million on and below a
/// ten-thousandth.
pub fn format(double: f64) -> String {
    match words(double) {
        Some(word) => word.to_owned(),
        None => {
            let (digits, exponent) = digits(double);
            if (-4..6).contains(&exponent) {
                return with_point(double, &digits, exponent);
            }
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
    }
}

/// The same without an exponent.
pub fn format_plain(double: f64) -> String {
    match words(double) {
        Some(word) => word.to_owned(),
        None => {
            let (digits, exponent) = digits(double);
            with_point(double, &digits, exponent)
        }
    }
}

fn words(double: f64) -> Option<&'static str> {
    if double.is_nan() {
        return Some("NaN");
    }
    double
        .is_infinite()
        .then_some(if double > 0.0 { "+Inf" } else { "-Inf" })
}

/// `d.ddd` and a power of ten: as few digits as give the number back. Where two texts are equally near, Go takes the one
/// with the even end, and Rust does so only where it is told how many digits there are.
fn digits(double: f64) -> (String, i32) {
    let shortest = format!("{double:e}");
    let count = shortest
        .bytes()
        .take_while(|byte| *byte != b'e')
        .filter(u8::is_ascii_digit)
        .count();
    let even = format!("{double:.*e}", count.saturating_sub(1));
    let text = if even.parse() == Ok(double) {
        even
    } else {
        shortest
    };
    match text.split_once('e') {
        Some((digits, exponent)) => (digits.to_owned(), exponent.parse().unwrap_or(0)),
        None => (text, 0),
    }
}

fn with_point(double: f64, digits: &str, exponent: i32) -> String {
    let fraction = digits
        .split_once('.')
        .map_or(0, |(_, fraction)| fraction.len());
    let exponent = usize::try_from(exponent).map_or_else(
        |_| fraction.saturating_add(exponent.unsigned_abs() as usize),
        |exponent| fraction.saturating_sub(exponent),
    );
    format!("{double:.exponent$}")
}

/// The nearest float, where the text is one and it is not too large.
pub fn parse(text: &str) -> Option<f64> {
    let (sign, unsigned) = match text.strip_prefix(['-', '+']) {
        Some(unsigned) => (if text.starts_with('-') { -1.0 } else { 1.0 }, unsigned),
        None => (1.0, text),
    };
    if unsigned.eq_ignore_ascii_case("inf") || unsigned.eq_ignore_ascii_case("infinity") {
        return Some(sign * f64::INFINITY);
    }
    if text.eq_ignore_ascii_case("nan") {
        return Some(f64::NAN);
    }
    if !unsigned.contains(|first: char| first.is_ascii_digit()) || !has_fine_underscores(unsigned) {
        return None;
    }
    let plain = unsigned.replace('_', "");
    let hex = plain
        .strip_prefix("0x")
        .or_else(|| plain.strip_prefix("0X"));
    let magnitude = match hex {
        Some(hex) => parse_hex(hex)?,
        // Rust knows no other words than those above, and no number without its digits.
        None => plain.parse().ok()?,
    };
    magnitude.is_finite().then_some(sign * magnitude)
}

/// Between digits, or between a base and a digit.
fn has_fine_underscores(unsigned: &str) -> bool {
    if !unsigned.contains('_') {
        return true;
    }
    let mut rest = unsigned;
    let mut before = '!';
    let is_hex = unsigned.starts_with("0x") || unsigned.starts_with("0X");
    if is_hex {
        rest = unsigned.get(2..).unwrap_or_default();
        before = '0';
    }
    for character in rest.chars() {
        let is_digit = character.is_ascii_digit() || (is_hex && character.is_ascii_hexdigit());
        match (is_digit, character) {
            (true, _) => before = '0',
            (false, '_') if before == '0' => before = '_',
            (false, _) if before == '_' || character == '_' => return false,
            (false, _) => before = '!',
        }
    }
    before != '_'
}

/// Bits of a number that are kept before it is rounded.
const KEPT_BITS: u32 = 64;

/// `1.8p3`: digits of base 16, and a power of two that must be there.
fn parse_hex(text: &str) -> Option<f64> {
    let (mantissa, power) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = power.strip_prefix(['-', '+']).unwrap_or(power);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // Beyond any float, whatever the digits say.
    let power = power.parse().unwrap_or(if power.starts_with('-') {
        i64::MIN / 2
    } else {
        i64::MAX / 2
    });
    let mut bits: u64 = 0;
    let mut exponent: i64 = 0;
    let mut is_inexact = false;
    for (digits, is_fraction) in [(whole, false), (fraction, true)] {
        for digit in digits.chars() {
            let digit = u64::from(digit.to_digit(16)?);
            if bits >> (KEPT_BITS - 4) == 0 {
                bits = bits << 4 | digit;
                exponent -= if is_fraction { 4 } else { 0 };
            } else {
                is_inexact |= digit != 0;
                exponent += if is_fraction { 0 } else { 4 };
            }
        }
    }
    Some(round(bits, exponent.saturating_add(power), is_inexact))
}

/// `bits * 2^exponent` and perhaps a little more, to the nearest float, to an even one between two.
#[allow(clippy::cast_precision_loss)]
fn round(bits: u64, exponent: i64, is_inexact: bool) -> f64 {
    if bits == 0 {
        return 0.0;
    }
    let length = i64::from(KEPT_BITS - bits.leading_zeros());
    let top = exponent.saturating_add(length - 1);
    if top > 1023 {
        return f64::INFINITY;
    }
    // Floats below 2^-1022 have fewer bits the smaller they are.
    let precision = (top + 1075).min(53);
    let dropped = length - precision;
    let (kept, exponent) = match dropped {
        ..=0 => (bits, exponent),
        // Less than half of the smallest one.
        _ if dropped > i64::from(KEPT_BITS) => return 0.0,
        _ => {
            let (bits, half) = (u128::from(bits), 1_u128 << (dropped - 1));
            let kept = bits >> dropped;
            let rest = bits & ((half << 1) - 1);
            let is_up = rest > half || (rest == half && (is_inexact || kept & 1 == 1));
            (
                u64::try_from(kept).unwrap_or(u64::MAX) + u64::from(is_up),
                exponent + dropped,
            )
        }
    };
    let mut double = kept as f64;
    let mut left = exponent;
    // Each step is exact: the result is.
    while left != 0 {
        let step = left.clamp(-1000, 1000);
        double *= 2_f64.powi(i32::try_from(step).unwrap_or(0));
        left -= step;
    }
    double
}

#[cfg(test)]
mod tests {
    use super::{format, format_plain, parse};

    #[test]
    fn writes_the_even_one_of_two_texts_that_are_equally_near() {
        assert_eq!(
            format(1_264_197_519_485_952.0 + 0.25),
            "1.2641975194859522e+15"
        );
        assert_eq!(
            format(1_264_197_519_485_952.0 + 0.75),
            "1.2641975194859528e+15"
        );
        assert_eq!(
            format_plain(8_589_934_592.0 + 0.007_812_5),
            "8589934592.007812"
        );
    }

    #[test]
    fn rounds_digits_of_base_16_to_floats() {
        let table = [
            ("0x1p0", Some(1.0)),
            ("-0x1.8P+1", Some(-3.0)),
            ("0x1.fffffffffffff8p0", Some(2.0)),
            ("0x1.fffffffffffff7p0", Some(2.0 - f64::EPSILON)),
            ("0x1.00000000000008p0", Some(1.0)),
            ("0x1.000000000000080000000001p0", Some(1.0 + f64::EPSILON)),
            ("0x1p-1074", Some(5e-324)),
            ("0x1p-1075", Some(0.0)),
            ("0x1.000001p-1075", Some(5e-324)),
            ("0x1.fffffffffffffp1023", Some(f64::MAX)),
            ("0x1.fffffffffffff8p1023", None),
            ("0x1p99999999999999999999", None),
            ("0x1p-99999999999999999999", Some(0.0)),
            ("0x_1p0", Some(1.0)),
            ("0x1_p0", None),
            ("0xp0", None),
            ("0x1", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
