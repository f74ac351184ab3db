//! Dates as the logs and the `Date` header write them, from seconds since 1970.
//!
//! For: local time with its offset (both logs) and the IMF-fixdate. Not for: measuring durations,
//! and not for telling the time, save for [`unix_now`] which stamps the error log's lines.
//!
//! Invariant: one conversion a second at most for each [`LocalTime`]. The time zone is the
//! system's (`TZ`, then `/etc/localtime`, then UTC), read once in the life of the process: an
//! application that changes its own zone does not change the server's log.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Seconds since 1970 now, for lines of the error log.
#[must_use]
pub(crate) fn unix_now() -> i64 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}

fn zone() -> &'static TimeZone {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    ZONE.get_or_init(|| TimeZone::try_system().unwrap_or(TimeZone::UTC))
}

/// Formats the local time and remembers the last second's text.
#[derive(Clone, Debug)]
pub struct LocalTime {
    zone: TimeZone,
    format: &'static str,
    second: Option<i64>,
    text: String,
}

impl LocalTime {
    /// As access lines write it: `[02/Jan/2026:03:04:05 +0000]`.
    #[must_use]
    pub fn access() -> Self {
        Self::new(zone().clone(), "[%d/%b/%Y:%H:%M:%S %z]")
    }

    /// As error lines write it: `[2026-01-02 03:04:05 +0000]`.
    #[must_use]
    pub fn error() -> Self {
        Self::new(zone().clone(), "[%Y-%m-%d %H:%M:%S %z]")
    }

    /// As lines of named fields have it: `2026-01-02T03:04:05+00:00` (RFC 3339 §5.6).
    #[must_use]
    pub fn rfc3339() -> Self {
        Self::new(zone().clone(), "%Y-%m-%dT%H:%M:%S%:z")
    }

    pub(crate) fn new(zone: TimeZone, format: &'static str) -> Self {
        Self {
            zone,
            format,
            second: None,
            text: String::with_capacity(32),
        }
    }

    /// The text for `unix`, in seconds since 1970. A second outside the years -9999 to 9999 is
    /// written as 1970.
    pub fn at(&mut self, unix: i64) -> &str {
        if self.second != Some(unix) {
            self.convert(unix);
            self.second = Some(unix);
        }
        &self.text
    }

    fn convert(&mut self, unix: i64) {
        let moment = Timestamp::from_second(unix).unwrap_or(Timestamp::UNIX_EPOCH);
        let local = moment.to_zoned(self.zone.clone());
        self.text.clear();
        if write!(self.text, "{}", local.strftime(self.format)).is_err() {
            self.text.clear();
            self.text.push_str("[-]");
        }
    }
}

/// The last second that a four-digit year can name.
const LAST_SECOND: i64 = 253_402_300_799;

/// The IMF-fixdate of RFC 9110 §5.6.7 for `unix` seconds since 1970, such as
/// `Sun, 06 Nov 1994 08:49:37 GMT`. Seconds before 1970 or after 9999 give the nearest date within.
#[must_use]
pub fn http_date(unix: i64) -> [u8; 29] {
    const DAYS: &[u8; 21] = b"ThuFriSatSunMonTueWed";
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let unix = unix.clamp(0, LAST_SECOND).unsigned_abs();
    let (days, second) = (unix / 86_400, unix % 86_400);
    let (year, month, day) = civil(days);
    let mut date = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    date[..3].copy_from_slice(three(DAYS, days % 7));
    date[5..7].copy_from_slice(&two(day));
    date[8..11].copy_from_slice(three(MONTHS, month - 1));
    date[12..14].copy_from_slice(&two(year / 100));
    date[14..16].copy_from_slice(&two(year % 100));
    date[17..19].copy_from_slice(&two(second / 3600));
    date[20..22].copy_from_slice(&two(second / 60 % 60));
    date[23..25].copy_from_slice(&two(second % 60));
    date
}

fn three(names: &[u8], index: u64) -> &[u8] {
    names
        .chunks_exact(3)
        .nth(usize::try_from(index).unwrap_or(0))
        .unwrap_or(b"---")
}

/// Two decimal digits of a number below 100.
fn two(number: u64) -> [u8; 2] {
    let digit = |value: u64| b"0123456789"[usize::try_from(value % 10).unwrap_or(0)];
    [digit(number / 10), digit(number)]
}

/// Year, month and day (both from 1) of a day counted from 1970-01-01.
///
/// The year is taken to begin in March, so that a leap day is its last, and days are counted
/// in the calendar's cycle of 400 years or 146,097 days.
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // 0000-03-01 to 1970-01-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + (month <= 2) as u64;
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(unix: i64) -> String {
        String::from_utf8_lossy(&http_date(unix)).into_owned()
    }

    #[test]
    fn the_example_of_the_standard_is_met() {
        assert_eq!(date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn dates_outside_four_digit_years_are_the_nearest_within() {
        assert_eq!(date(-1), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(date(i64::MIN), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(date(i64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn every_day_of_the_calendars_cycle_and_some_of_each_later_year_agree_with_jiff() {
        const CYCLE: i64 = 146_097;
        let last = LAST_SECOND / 86_400 - 1;
        for day in (0..CYCLE).chain((CYCLE..last).step_by(97)) {
            let unix = day * 86_400 + day * 7_919 % 86_400;
            let moment = Timestamp::from_second(unix).unwrap();
            let expected = moment.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            assert_eq!(date(unix), expected);
        }
    }

    #[test]
    fn both_logs_write_their_own_shape_of_the_local_time() {
        let utc = |format| {
            LocalTime::new(TimeZone::UTC, format)
                .at(1_767_323_045)
                .to_owned()
        };
        assert_eq!(
            utc(LocalTime::access().format),
            "[02/Jan/2026:03:04:05 +0000]"
        );
        assert_eq!(
            utc(LocalTime::error().format),
            "[2026-01-02 03:04:05 +0000]"
        );
        assert_eq!(
            utc(LocalTime::rfc3339().format),
            "2026-01-02T03:04:05+00:00"
        );
    }

    #[test]
    fn the_offset_follows_summer_time() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let mut clock = LocalTime::new(berlin, LocalTime::access().format);
        assert_eq!(clock.at(1_774_745_999), "[29/Mar/2026:01:59:59 +0100]");
        assert_eq!(clock.at(1_774_746_000), "[29/Mar/2026:03:00:00 +0200]");
    }

    #[test]
    fn an_offset_west_of_greenwich_has_minutes_too() {
        let newfoundland = TimeZone::posix("NST3:30").unwrap();
        let mut clock = LocalTime::new(newfoundland, LocalTime::error().format);
        assert_eq!(clock.at(0), "[1969-12-31 20:30:00 -0330]");
        let mut clock = LocalTime::new(clock.zone, LocalTime::rfc3339().format);
        assert_eq!(clock.at(0), "1969-12-31T20:30:00-03:30");
    }

    #[test]
    fn a_second_is_converted_once_and_then_remembered() {
        let mut clock = LocalTime::new(TimeZone::UTC, "%S");
        assert_eq!(clock.at(7), "07");
        clock.text.push('!');
        assert_eq!(clock.at(7), "07!");
        assert_eq!(clock.at(8), "08");
    }

    #[test]
    fn a_second_beyond_the_calendar_is_written_as_1970() {
        let mut clock = LocalTime::new(TimeZone::UTC, "%Y");
        assert_eq!(clock.at(i64::MAX), "1970");
    }
}
