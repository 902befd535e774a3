//! Moments and spans of time, as Go reads and writes them.

mod calendar;
mod duration;

pub use calendar::is_date;
pub use duration::{format_duration, parse_duration};

use super::quoted::quoted;
use crate::cel::library::{Function, Library};
use crate::cel::run::{Fail, Run};
use crate::cel::types::Type;
use crate::cel::value::{Timestamp, Value};
use calendar::{Civil, SECONDS_MAX, SECONDS_MIN};
use jiff::tz::TimeZoneDatabase;
use std::sync::LazyLock;

/// Nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;

/// Time zones by their names.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A getter's name, and it without and with a zone.
macro_rules! getter {
    ($name:literal, |$civil:ident| $part:expr) => {{
        fn part($civil: &Civil) -> i64 {
            $part
        }
        (
            $name,
            |_, arguments| utc(arguments, part),
            |run, arguments| zoned(run, arguments, part),
        )
    }};
}
/// Declares them.
pub fn declare(library: &mut Library) {
    let getters: [(&'static str, Function, Function); 10] = [
        getter!("getFullYear", |civil| civil.year),
        getter!("getMonth", |civil| civil.month - 1),
        getter!("getDayOfYear", |civil| civil.day_of_year()),
        getter!("getDayOfMonth", |civil| civil.day - 1),
        getter!("getDate", |civil| civil.day),
        getter!("getDayOfWeek", |civil| civil.day_of_week()),
        getter!("getHours", |civil| civil.second_of_day / 3600),
        getter!("getMinutes", |civil| civil.second_of_day / 60 % 60),
        getter!("getSeconds", |civil| civil.second_of_day % 60),
        getter!("getMilliseconds", |civil| civil.nanoseconds / 1_000_000),
    ];
    for (name, function, zoned) in getters {
        library.member(name, &[Type::Timestamp], Type::Int, function);
        library.member(name, &[Type::Timestamp, Type::String], Type::Int, zoned);
        library.growing(name);
    }
    let spans: [(&'static str, Function); 4] = [
        ("getHours", |_, arguments| {
            span(arguments, |span| duration::count(span, 3600 * SECOND))
        }),
        ("getMinutes", |_, arguments| {
            span(arguments, |span| duration::count(span, 60 * SECOND))
        }),
        ("getSeconds", |_, arguments| {
            span(arguments, |span| duration::count(span, SECOND))
        }),
        ("getMilliseconds", |_, arguments| {
            span(arguments, |span| span / 1_000_000)
        }),
    ];
    for (name, function) in spans {
        library.member(name, &[Type::Duration], Type::Int, function);
    }
}

fn utc<'a>(arguments: &[Value<'a>], part: fn(&Civil) -> i64) -> Result<Value<'a>, Fail> {
    match arguments {
        [Value::Timestamp(at)] => Ok(Value::Int(part(&Civil::of(*at, 0)))),
        _ => Err(Fail::no_such_overload()),
    }
}

fn zoned<'a>(
    run: &mut Run<'_>,
    arguments: &[Value<'a>],
    part: fn(&Civil) -> i64,
) -> Result<Value<'a>, Fail> {
    let [Value::Timestamp(at), Value::String(zone)] = arguments else {
        return Err(Fail::no_such_overload());
    };
    run.scan(zone.len())?;
    let offset = offset(*at, zone).map_err(Fail::error)?;
    Ok(Value::Int(part(&Civil::of(*at, offset))))
}

fn span<'a>(arguments: &[Value<'a>], count: fn(i64) -> i64) -> Result<Value<'a>, Fail> {
    match arguments {
        [Value::Duration(span)] => Ok(Value::Int(count(*span))),
        _ => Err(Fail::no_such_overload()),
    }
}

/// Seconds that clocks of a zone are ahead: `+02:00`, or a name.
fn offset(at: Timestamp, zone: &str) -> Result<i64, String> {
    let Some((hours, minutes)) = zone.split_once(':') else {
        return named(at, zone);
    };
    let hours = whole(hours)?;
    let minutes = whole(minutes)?;
    let minutes = if zone.starts_with('-') {
        minutes.wrapping_neg()
    } else {
        minutes
    };
    // Go wraps what nobody means.
    let offset = hours.wrapping_mul(60).wrapping_add(minutes);
    Ok(duration::count(offset.wrapping_mul(60 * SECOND), SECOND))
}

/// The zone of a place, by the data that is built in.
fn named(at: Timestamp, zone: &str) -> Result<i64, String> {
    match zone {
        // The API server's own clock goes by UTC in its image.
        "" | "UTC" | "Local" => Ok(0),
        _ if zone.contains("..") || zone.starts_with(['/', '\\']) => {
            Err("time: invalid location name".to_owned())
        }
        _ => {
            let unknown = || format!("unknown time zone {zone}");
            let found = ZONES.get(zone).map_err(|_| unknown())?;
            // Go takes names as they are written.
            if found.iana_name() != Some(zone) {
                return Err(unknown());
            }
            let at = jiff::Timestamp::from_second(at.seconds).map_err(|_| unknown())?;
            Ok(i64::from(found.to_offset(at).seconds()))
        }
    }
}

/// Go's `strconv.Atoi`.
fn whole(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let problem = if is_number {
            "value out of range"
        } else {
            "invalid syntax"
        };
        format!("strconv.Atoi: parsing {}: {problem}", quoted(text))
    })
}

/// A moment as RFC 3339 writes it.
pub fn parse_timestamp(text: &str) -> Result<Timestamp, Fail> {
    let Some((seconds, nanoseconds)) = calendar::parse(text) else {
        return Err(Fail::error(
            "type conversion error from 'string' to 'google.protobuf.Timestamp'",
        ));
    };
    timestamp(seconds, nanoseconds)
}

/// A moment of the years 1 to 9999.
pub fn timestamp(seconds: i64, nanoseconds: u32) -> Result<Timestamp, Fail> {
    if !(SECONDS_MIN..=SECONDS_MAX).contains(&seconds) {
        return Err(Fail::error("timestamp overflow"));
    }
    Ok(Timestamp {
        seconds,
        nanoseconds,
    })
}

/// A moment as RFC 3339 writes it, in UTC.
#[must_use]
pub fn format_timestamp(at: Timestamp) -> String {
    calendar::format(at)
}

/// That moment, so much later.
pub fn add(at: Timestamp, span: i64) -> Result<Timestamp, Fail> {
    let nanoseconds = i64::from(at.nanoseconds) + span.rem_euclid(SECOND);
    let seconds = span.div_euclid(SECOND) + nanoseconds.div_euclid(SECOND);
    let seconds = at.seconds.checked_add(seconds);
    let seconds = seconds.ok_or_else(|| Fail::error("integer overflow"))?;
    timestamp(
        seconds,
        u32::try_from(nanoseconds.rem_euclid(SECOND)).unwrap_or(0),
    )
}

/// That moment, so much earlier.
pub fn add_negated(at: Timestamp, span: i64) -> Result<Timestamp, Fail> {
    let span = span
        .checked_neg()
        .ok_or_else(|| Fail::error("integer overflow"))?;
    add(at, span)
}

/// How much later the first one is, in nanoseconds.
pub fn subtract(one: Timestamp, other: Timestamp) -> Result<i64, Fail> {
    let seconds = one.seconds.checked_sub(other.seconds);
    let nanoseconds = seconds.and_then(|seconds| seconds.checked_mul(SECOND));
    let rest = i64::from(one.nanoseconds) - i64::from(other.nanoseconds);
    let span = nanoseconds.and_then(|nanoseconds| nanoseconds.checked_add(rest));
    span.ok_or_else(|| Fail::error("integer overflow"))
}

#[cfg(test)]
mod tests;
