//! The calendar: days, months and years of moments.

use crate::cel::value::Timestamp;

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z.
pub const SECONDS_MIN: i64 = -62_135_596_800;
pub const SECONDS_MAX: i64 = 253_402_300_799;
const DAY_SECONDS: i64 = 86_400;
/// Days of 400 years, after which the calendar repeats.
const ERA_DAYS: i64 = 146_097;
/// Days from 0000-03-01, with which eras begin, to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// A moment by the calendar.
pub struct Civil {
    pub year: i64,
    /// From 1.
    pub month: i64,
    /// From 1.
    pub day: i64,
    pub second_of_day: i64,
    pub nanoseconds: i64,
    days: i64,
}

impl Civil {
    /// Where clocks are so many seconds ahead.
    pub fn of(at: Timestamp, offset: i64) -> Civil {
        let seconds = at.seconds.saturating_add(offset);
        let days = seconds.div_euclid(DAY_SECONDS);
        let shifted = days + EPOCH_DAYS;
        let day_of_era = shifted.rem_euclid(ERA_DAYS);
        // Leap days come at the ends of years that begin in March.
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = (month_from_march + 2) % 12 + 1;
        let year = year_of_era + shifted.div_euclid(ERA_DAYS) * 400 + i64::from(month <= 2);
        Civil {
            year,
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            second_of_day: seconds.rem_euclid(DAY_SECONDS),
            nanoseconds: i64::from(at.nanoseconds),
            days,
        }
    }

    /// From 0.
    pub fn day_of_year(&self) -> i64 {
        self.days - days_from_epoch(self.year, 1, 1)
    }

    /// From 0, Sunday.
    pub fn day_of_week(&self) -> i64 {
        (self.days + 4).rem_euclid(7)
    }
}

fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    year.div_euclid(400) * ERA_DAYS + day_of_era - EPOCH_DAYS
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// What of a text is not read yet.
struct Rest<'t>(&'t str);

impl Rest<'_> {
    fn take(&mut self, character: char) -> Option<()> {
        self.0 = self.0.strip_prefix(character)?;
        Some(())
    }

    /// So many digits.
    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        self.0 = rest;
        digits.parse().ok()
    }

    fn date(&mut self) -> Option<i64> {
        let year = self.digits(4)?;
        self.take('-')?;
        let month = self.digits(2).filter(|month| (1..=12).contains(month))?;
        self.take('-')?;
        let day = self.digits(2)?;
        let is_day = (1..=days_of_month(year, month)).contains(&day);
        is_day.then(|| days_from_epoch(year, month, day))
    }

    fn clock(&mut self) -> Option<i64> {
        // Go takes one digit for an hour too.
        let hours = self
            .digits(2)
            .or_else(|| self.digits(1))
            .filter(|hours| *hours < 24)?;
        self.take(':')?;
        let minutes = self.digits(2).filter(|minutes| *minutes < 60)?;
        self.take(':')?;
        let seconds = self.digits(2).filter(|seconds| *seconds < 60)?;
        Some((hours * 60 + minutes) * 60 + seconds)
    }

    /// Nanoseconds. What is finer is cut off.
    fn fraction(&mut self) -> Option<u32> {
        let Some(after) = self.0.strip_prefix(['.', ',']) else {
            return Some(0);
        };
        let end = after.find(|character: char| !character.is_ascii_digit());
        let (digits, rest) = after.split_at(end.unwrap_or(after.len()));
        if digits.is_empty() {
            return None;
        }
        self.0 = rest;
        let mut digits = digits.bytes().chain(std::iter::repeat(b'0')).take(9);
        digits.try_fold(0_u32, |number, digit| {
            number.checked_mul(10)?.checked_add(u32::from(digit - b'0'))
        })
    }

    fn offset(&mut self) -> Option<i64> {
        if self.take('Z').is_some() {
            return Some(0);
        }
        let is_behind = self.0.starts_with('-');
        self.0 = self.0.strip_prefix(['-', '+'])?;
        // The ends are Go's.
        let hours = self.digits(2).filter(|hours| *hours <= 24)?;
        self.take(':')?;
        let minutes = self.digits(2).filter(|minutes| *minutes <= 60)?;
        let offset = (hours * 60 + minutes) * 60;
        Some(if is_behind { -offset } else { offset })
    }
}

/// Seconds since 1970 and nanoseconds of what RFC 3339 writes, as Go's `time.Parse` takes it.
pub fn parse(text: &str) -> Option<(i64, u32)> {
    let mut rest = Rest(text);
    let days = rest.date()?;
    rest.take('T')?;
    let second_of_day = rest.clock()?;
    let nanoseconds = rest.fraction()?;
    let offset = rest.offset()?;
    rest.0
        .is_empty()
        .then_some((days * DAY_SECONDS + second_of_day - offset, nanoseconds))
}

/// Whether it is a date: `2006-01-02`.
#[must_use]
pub fn is_date(text: &str) -> bool {
    let mut rest = Rest(text);
    rest.date().is_some() && rest.0.is_empty()
}

/// RFC 3339 with as many digits as there are.
pub fn format(at: Timestamp) -> String {
    let civil = Civil::of(at, 0);
    let Civil {
        year, month, day, ..
    } = civil;
    let (minutes, seconds) = (civil.second_of_day / 60, civil.second_of_day % 60);
    let (hours, minutes) = (minutes / 60, minutes % 60);
    let fraction = format!(".{:09}", civil.nanoseconds);
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}{fraction}Z")
}
