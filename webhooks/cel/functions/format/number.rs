//! Numbers of `%f` and `%e` as the Go package that knows languages prints them in American English.

/// More than any number takes but for its width: the digits, their separators and the decimal places.
const BYTES_MAX: usize = 1 << 10;
/// No float has more decimal places than this that are not zero.
const PLACES_MAX: usize = 1100;
/// A number in a format may grow to this before another digit is too much.
const NUMBER_MAX: i64 = 1_000_000;
/// What Go prints where the number in the format is too large to be read.
const UNREADABLE: &str = "%!(NOVERB)";
const INFINITY: &str = "∞";
const NOT_A_NUMBER: &str = "NaN";
const SUPERSCRIPTS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];

/// Whether Go reads the number in its own format: it looks at its size only before it reads another digit.
fn is_readable(number: i64) -> bool {
    number / 10 <= NUMBER_MAX
}

/// What a number may take in memory.
pub(super) fn bytes(precision: Option<i64>) -> usize {
    let width = precision.unwrap_or_default() % 0x1_0000;
    usize::try_from(width)
        .unwrap_or_default()
        .saturating_add(BYTES_MAX)
}

fn special(double: f64) -> Option<String> {
    if double.is_nan() {
        return Some(NOT_A_NUMBER.to_owned());
    }
    let sign = if double < 0.0 { "-" } else { "" };
    double.is_infinite().then(|| format!("{sign}{INFINITY}"))
}

/// The number with so many decimal places, in groups of three digits.
pub(super) fn fixed(double: f64, precision: Option<i64>) -> String {
    let precision = precision.unwrap_or(6);
    if !is_readable(precision) {
        return UNREADABLE.to_owned();
    }
    if let Some(special) = special(double) {
        return special;
    }
    // The package holds the least number of places in eight bits and the greatest in sixteen with a sign: beyond them
    // the one starts over, and the other stops counting.
    let least = usize::try_from(precision % 0x100).unwrap_or_default();
    let most = usize::try_from(precision % 0x1_0000).unwrap_or_default();
    let digits = if most < 0x8000 {
        format!("{:.*}", most.min(PLACES_MAX), double.abs())
    } else {
        double.abs().to_string()
    };
    let (whole, places) = digits.split_once('.').unwrap_or((&digits, ""));
    let mut text = String::new();
    if double < 0.0 {
        text.push('-');
    }
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    let places = places.trim_end_matches('0');
    if !places.is_empty() || least > 0 {
        text.push_str(&format!(".{places:0<least$}"));
    }
    text
}

/// The number with six decimal places and a power of ten, at least so wide.
pub(super) fn scientific(double: f64, width: Option<i64>) -> String {
    let width = width.unwrap_or(6);
    if !is_readable(width) {
        return UNREADABLE.to_owned();
    }
    let text = special(double).unwrap_or_else(|| {
        let digits = format!("{:.6e}", double.abs());
        let (digits, exponent) = digits.split_once('e').unwrap_or((&digits, "0"));
        let sign = if double < 0.0 { "-" } else { "" };
        let mut text = format!("{sign}{digits}×10");
        let exponent = match exponent.strip_prefix('-') {
            Some(exponent) => {
                text.push('⁻');
                exponent
            }
            None => exponent,
        };
        for digit in format!("{exponent:0>2}").bytes() {
            let digit = usize::from(digit.saturating_sub(b'0'));
            text.extend(SUPERSCRIPTS.get(digit));
        }
        text
    });
    // Held in sixteen bits.
    let width = usize::try_from(width % 0x1_0000).unwrap_or_default();
    format!("{text:>width$}")
}
