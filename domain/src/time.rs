//! Moments, days and the shop's calendar. Nothing here reads a clock.

use std::fmt;

use jiff::{civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};

/// A moment in UTC, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Microseconds in a second.
    pub const SECOND: i64 = 1_000_000;
    /// Microseconds in 24 hours.
    pub const DAY: i64 = 86_400 * Self::SECOND;

    /// The moment `seconds` after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(Self::SECOND))
    }

    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(Self::SECOND)
    }

    /// This moment and `seconds` more.
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(Self::SECOND)))
    }

    /// Microseconds from `earlier` to this; negative where `earlier` is later.
    #[must_use]
    pub const fn micros_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads RFC 3339 (any offset); what is finer than a microsecond is cut.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|t| Self(t.as_microsecond()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(t) => write!(f, "{t}"),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

/// A calendar day of the shop: days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Day(pub i32);

impl Day {
    /// This day and `days` more (or fewer, where negative).
    #[must_use]
    pub const fn plus(self, days: i32) -> Self {
        Self(self.0.saturating_add(days))
    }
}

impl Day {
    /// 0 for Monday to 6 for Sunday.
    #[must_use]
    pub fn weekday(self) -> u8 {
        // 1970-01-01 was a Thursday.
        u8::try_from((i64::from(self.0) + 3).rem_euclid(7)).unwrap_or(0)
    }
}

impl Day {
    /// The first day of its month.
    #[must_use]
    pub fn first_of_month(self) -> Self {
        let date = epoch().checked_add(jiff::Span::new().days(self.0));
        self.plus(date.map_or(0, |date| 1 - i32::from(date.day())))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match epoch().checked_add(jiff::Span::new().days(self.0)) {
            Ok(date) => write!(f, "{date}"),
            Err(_) => write!(f, "day {}", self.0),
        }
    }
}

const fn epoch() -> Date {
    jiff::civil::date(1970, 1, 1)
}

/// The shop's time zone: what "day" and "00:00" mean. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Calendar {
    zone: TimeZone,
    /// (from, offset), in seconds: the zone's offset since its last change, where no rule changes it any more. A read of
    /// a card asks for the day of every order of a year; this makes it an addition.
    fixed: Option<(i64, i64)>,
}

/// Calendars are of one database, so that their names tell them apart.
impl PartialEq for Calendar {
    fn eq(&self, other: &Self) -> bool {
        self.zone.iana_name() == other.zone.iana_name()
    }
}

impl Eq for Calendar {}

impl Calendar {
    /// The calendar of an IANA time zone, from the database bundled with the program.
    #[must_use]
    pub fn new(zone: &str) -> Option<Self> {
        let zone = TimeZone::get(zone).ok()?;
        let has_rule = zone.following(jiff::Timestamp::from_second(LONG_AFTER).ok()?).next().is_some();
        let fixed = (!has_rule).then(|| {
            let last = zone.preceding(jiff::Timestamp::MAX).next().map_or(jiff::Timestamp::MIN, |t| t.timestamp());
            (last.as_second(), i64::from(zone.to_offset(jiff::Timestamp::MAX).seconds()))
        });
        Some(Self { zone, fixed })
    }

    /// The day on which `at` falls.
    #[must_use]
    pub fn day(&self, at: Timestamp) -> Day {
        self.clock(at).0
    }

    /// Seconds since 1970-01-01 00:00 by the shop's clock.
    fn local_seconds(&self, at: Timestamp) -> i64 {
        let utc = at.seconds();
        let offset = match self.fixed {
            Some((from, offset)) if utc >= from => offset,
            // Out of jiff's range (year -9999 to 9999) there is no calendar; the edges refuse such times.
            _ => jiff::Timestamp::from_second(utc).map_or(0, |utc| i64::from(self.zone.to_offset(utc).seconds())),
        };
        utc.saturating_add(offset)
    }

    /// The day on which `at` falls, and the minute of it that the shop's clock shows (0 to 1439).
    #[must_use]
    pub fn clock(&self, at: Timestamp) -> (Day, u16) {
        let local = self.local_seconds(at);
        let day = Day(i32::try_from(local.div_euclid(86_400)).unwrap_or(0));
        (day, u16::try_from(local.rem_euclid(86_400) / 60).unwrap_or(0))
    }

    /// 00:00 of `day` (the first moment of it, where the clocks skip midnight).
    #[must_use]
    pub fn start(&self, day: Day) -> Timestamp {
        if let Some((from, offset)) = self.fixed {
            let utc = i64::from(day.0) * 86_400 - offset;
            if utc > from {
                return Timestamp::from_seconds(utc);
            }
        }
        epoch()
            .checked_add(jiff::Span::new().days(day.0))
            .ok()
            .and_then(|date| date.to_zoned(self.zone.clone()).ok())
            .map_or(Timestamp(0), |zoned| Timestamp(zoned.timestamp().as_microsecond()))
    }
}

/// A moment after every change of a zone that the database lists by date, and not by rule: the year 2200.
const LONG_AFTER: i64 = 7_258_118_400;

/// Moments on the wire: RFC 3339 UTC. In the journal they are numbers.
pub mod rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::Timestamp;

    /// As RFC 3339 text.
    ///
    /// # Errors
    /// The serializer's own.
    pub fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(at)
    }

    /// From RFC 3339 text.
    ///
    /// # Errors
    /// Where the text is not RFC 3339 with an offset.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Timestamp::parse(&text).ok_or_else(|| D::Error::custom("not a time in RFC 3339, like 2026-11-23T09:00:00Z"))
    }

    /// The same for times that may be absent.
    pub mod option {
        use serde::{Deserialize, Deserializer, Serializer};

        use super::Timestamp;

        /// As RFC 3339 text or null.
        ///
        /// # Errors
        /// The serializer's own.
        pub fn serialize<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
            match at {
                Some(at) => serializer.collect_str(at),
                None => serializer.serialize_none(),
            }
        }

        /// From RFC 3339 text or null.
        ///
        /// # Errors
        /// Where the text is not RFC 3339 with an offset.
        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
            #[derive(Deserialize)]
            #[serde(transparent)]
            struct At(#[serde(with = "super")] Timestamp);
            Ok(Option::<At>::deserialize(deserializer)?.map(|at| at.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_starts_at_the_shops_midnight() {
        let almaty = Calendar::new("Asia/Almaty").unwrap();
        let noon = Timestamp::parse("2026-11-23T18:59:59.5Z").unwrap();
        let next = Timestamp::parse("2026-11-23T19:00:00Z").unwrap();
        assert_eq!(almaty.day(noon).to_string(), "2026-11-23");
        assert_eq!(almaty.day(next).to_string(), "2026-11-24");
        assert_eq!(almaty.start(almaty.day(next)), next);
        assert_eq!((almaty.clock(noon), almaty.clock(next).1), ((almaty.day(noon), 23 * 60 + 59), 0));
        assert_eq!((almaty.day(noon).weekday(), almaty.day(next).weekday()), (0, 1), "a Monday, a Tuesday");
    }

    #[test]
    fn days_follow_each_other_in_every_kind_of_zone() {
        for name in ["Asia/Almaty", "Europe/Berlin", "America/New_York", "UTC", "Asia/Kathmandu"] {
            let calendar = Calendar::new(name).unwrap();
            let by_rule = Calendar { fixed: None, ..calendar.clone() };
            for day in (19_000..22_000).map(Day) {
                let start = calendar.start(day);
                assert_eq!(start, by_rule.start(day), "{name} {day}");
                assert_eq!((calendar.day(start), calendar.day(Timestamp(start.0 - 1))), (day, day.plus(-1)), "{name}");
                assert_eq!(calendar.day(start), by_rule.day(start));
            }
        }
    }

    #[test]
    fn kazakhstan_moved_to_one_zone_in_2024() {
        let almaty = Calendar::new("Asia/Almaty").unwrap();
        let before = Timestamp::parse("2024-01-15T18:00:00Z").unwrap();
        assert_eq!(almaty.day(before).to_string(), "2024-01-16", "UTC+6 then");
    }
}
