//! The formats that Kubernetes checks, no stricter than it does (k8s.io/kube-openapi, `pkg/validation/strfmt`). What
//! it does not know, or knows for credit cards and the like, is not checked.

use base64::Engine as _;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use jsonschema::ValidationOptions;

/// A format of strings: its name, its check, and what would be right.
struct Format {
    name: &'static str,
    is_right: fn(&str) -> bool,
    expected: &'static str,
}

const fn format(name: &'static str, is_right: fn(&str) -> bool, expected: &'static str) -> Format {
    Format {
        name,
        is_right,
        expected,
    }
}

const DATE_TIME: &str = "a date and time, such as 2030-12-31T23:59:59Z";
const UUID: &str = "a UUID, such as 123e4567-e89b-12d3-a456-426614174000";

static FORMATS: [Format; 17] = [
    format("byte", is_base64, "base64"),
    format("cidr", is_cidr, "a network, such as 10.0.0.0/24"),
    format("date", is_date, "a date, such as 2030-12-31"),
    format("date-time", is_date_time, DATE_TIME),
    format("datetime", is_date_time, DATE_TIME),
    format("duration", is_duration, "a duration, such as 90s or 1h30m"),
    format("email", is_email, "an e-mail address"),
    format("hostname", is_hostname, "a host name"),
    format("ipv4", is_ipv4, "an IPv4 address"),
    format("ipv6", is_ipv6, "an IPv6 address"),
    format("mac", is_mac, "a MAC address, such as 00:00:5e:00:53:01"),
    format("uri", is_uri, "a URI, such as https://example.org/path"),
    format("uuid", is_uuid, UUID),
    format("uuid3", is_uuid, UUID),
    format("uuid4", is_uuid, UUID),
    format("uuid5", is_uuid, UUID),
    // Neither is shown nor checked: it says how to treat the text, not what it looks like.
    format("password", |_| true, "a password"),
];

fn known(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}

/// Whether strings of that format are checked.
pub fn is_known(name: &str) -> bool {
    known(name).is_some()
}

/// What a string of that format is, with its article.
pub fn expected(name: &str) -> Option<&'static str> {
    known(name).map(|format| format.expected)
}

/// The options with these checks in place of the library's own.
pub fn register(options: ValidationOptions<'static>) -> ValidationOptions<'static> {
    FORMATS
        .iter()
        .fold(options.should_validate_formats(true), |options, format| {
            options.with_format(format.name, format.is_right)
        })
}

fn is_base64(text: &str) -> bool {
    base64::engine::general_purpose::STANDARD
        .decode(text.replace(['\r', '\n'], ""))
        .is_ok()
}

fn is_ipv4(text: &str) -> bool {
    text.parse::<Ipv4Addr>().is_ok()
}

fn is_ipv6(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok()
}

fn is_cidr(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, bits)| {
        let max = match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        is_number(bits) && bits.parse::<u8>().is_ok_and(|bits| bits <= max)
    })
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else {
        return false;
    };
    let number = |text: &str, digits: usize| {
        (text.len() == digits && is_number(text))
            .then(|| text.parse::<u32>().ok())
            .flatten()
    };
    let (Some(year), Some(month), Some(day)) = (number(year, 4), number(month, 2), number(day, 2))
    else {
        return false;
    };
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        _ => 0,
    };
    (1..=days).contains(&day)
}

/// A date, a time and a zone, as in RFC 3339; seconds' fractions of any length, and a zone without a colon, as
/// Kubernetes takes them.
fn is_date_time(text: &str) -> bool {
    let (Some(date), Some(rest)) = (text.get(..10), text.get(11..)) else {
        return false;
    };
    let separator = text.as_bytes().get(10).map(u8::to_ascii_uppercase);
    let (clock, zone) = match rest.find(['Z', 'z', '+', '-']) {
        Some(at) => rest.split_at(at),
        None => return false,
    };
    let (clock, fraction) = match clock.split_once('.') {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (clock, None),
    };
    let is_zone = zone.eq_ignore_ascii_case("z")
        || zone
            .get(1..)
            .is_some_and(|offset| is_clock(&offset.replace(':', ""), &[23, 59]));
    separator == Some(b'T')
        && is_date(date)
        && clock.len() == 8
        && is_clock(&clock.replace(':', ""), &[23, 59, 60])
        && fraction.is_none_or(is_number)
        && is_zone
}

/// Two digits for each limit, none above it.
fn is_clock(digits: &str, limits: &[u8]) -> bool {
    digits.len() == 2 * limits.len()
        && limits.iter().enumerate().all(|(index, limit)| {
            digits
                .get(2 * index..2 * index + 2)
                .filter(|pair| is_number(pair))
                .and_then(|pair| pair.parse::<u8>().ok())
                .is_some_and(|number| number <= *limit)
        })
}

/// Numbers with units, as Go writes them; Kubernetes also takes the units' names, and blanks.
fn is_duration(text: &str) -> bool {
    const UNITS: [&str; 27] = [
        "nanoseconds",
        "nanosecond",
        "microseconds",
        "microsecond",
        "milliseconds",
        "millisecond",
        "seconds",
        "second",
        "minutes",
        "minute",
        "hours",
        "hour",
        "weeks",
        "week",
        "days",
        "day",
        "hr",
        "wk",
        "min",
        "ns",
        "us",
        "µs",
        "ms",
        "s",
        "m",
        "h",
        "d",
    ];
    let mut rest = text.trim_start_matches(['-', '+']);
    if rest == "0" {
        return true;
    }
    let mut is_empty = true;
    while !rest.is_empty() {
        let after =
            rest.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
        let has_digit = rest
            .strip_suffix(after)
            .is_some_and(|number| number.contains(|letter: char| letter.is_ascii_digit()));
        let after = after.trim_start();
        let unit = UNITS.iter().find_map(|unit| after.strip_prefix(unit));
        match unit {
            Some(left) if has_digit => rest = left.trim_start(),
            _ => return false,
        }
        is_empty = false;
    }
    !is_empty
}

/// Something, an at sign, something: what an address may be exactly is a matter of taste.
fn is_email(text: &str) -> bool {
    text.rsplit_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
}

fn is_hostname(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    !text.is_empty()
        && text.len() <= 255
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .chars()
                    .all(|letter| letter.is_alphanumeric() || matches!(letter, '-' | '_'))
        })
}

fn is_mac(text: &str) -> bool {
    [":", "-"].iter().any(|separator| {
        let pairs: Vec<&str> = text.split(separator).collect();
        matches!(pairs.len(), 6 | 8 | 20) && pairs.iter().all(|pair| is_hex(pair, 2))
    }) || {
        let quads: Vec<&str> = text.split('.').collect();
        matches!(quads.len(), 3 | 4 | 10) && quads.iter().all(|quad| is_hex(quad, 4))
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A scheme and something, or a path from the root.
fn is_uri(text: &str) -> bool {
    if text.contains(|letter: char| letter.is_control() || letter == ' ') {
        return false;
    }
    text.starts_with('/')
        || text.split_once(':').is_some_and(|(scheme, rest)| {
            scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
                && scheme
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
                && !rest.is_empty()
        })
}

fn is_uuid(text: &str) -> bool {
    let plain = text.replace('-', "");
    is_hex(&plain, 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_and_wrong() {
        for (name, right, wrong) in [
            ("byte", vec!["", "YWI="], vec!["a", "%%%%"]),
            (
                "cidr",
                vec!["10.0.0.0/24", "fd00::/8", "10.0.0.1/32"],
                vec!["10.0.0.0", "10.0.0.0/33", "10.0.0.0/+1", "x/8", ""],
            ),
            (
                "date",
                vec!["2024-02-29", "2000-02-29"],
                vec![
                    "2023-02-29",
                    "1900-02-29",
                    "2024-13-01",
                    "2024-1-1",
                    "",
                    "é",
                ],
            ),
            (
                "date-time",
                vec![
                    "2024-02-29T12:00:00Z",
                    "2024-02-29t12:00:00.123456789z",
                    "2024-02-29T12:00:00+02:00",
                    "2024-02-29T12:00:00-0200",
                ],
                vec![
                    "2024-02-29",
                    "2024-02-29T25:00:00Z",
                    "2024-02-29T12:00:00",
                    "2024-02-29T12:00:00.Z",
                    "2024-02-29T12:00Z",
                    "2024-02-29T12:00:00+",
                    "2024-02-29é12:00:00Z",
                ],
            ),
            (
                "duration",
                vec!["1h30m", "0", "1.5s", "5 minutes", "-3ms", "2d"],
                vec!["", "5", "m", "1x", ".s", "1h 3"],
            ),
            ("email", vec!["a@b.org"], vec!["a", "@b", "a@"]),
            (
                "hostname",
                vec!["a", "a.b-c", "a.b."],
                vec!["", ".", "a..b", "-a", "a b"],
            ),
            ("ipv4", vec!["1.2.3.4"], vec!["1.2.3", "::1", "01.2.3.4"]),
            ("ipv6", vec!["::1"], vec!["1.2.3.4", ":::"]),
            (
                "mac",
                vec!["00:00:5e:00:53:01", "00-00-5E-00-53-01", "0000.5e00.5301"],
                vec!["00:00", "00:00:5e:00:53:0g", ""],
            ),
            (
                "uri",
                vec!["https://a/b", "s3:x", "/a"],
                vec!["a", "", "1:x", "http:// a"],
            ),
            (
                "uuid4",
                vec!["123e4567-e89b-12d3-a456-426614174000"],
                vec!["123", "g23e4567-e89b-12d3-a456-426614174000"],
            ),
            ("password", vec!["", "x"], vec![]),
        ] {
            let check = known(name).unwrap().is_right;
            for text in right {
                assert!(check(text), "{name} {text:?}");
            }
            for text in wrong {
                assert!(!check(text), "{name} {text:?}");
            }
        }
    }
}
