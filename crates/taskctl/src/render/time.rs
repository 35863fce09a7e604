//! Instants and lengths of time for people: in the reader's zone, with the task's zone beside it where they differ.

use std::cell::RefCell;
use std::collections::HashMap;

use jiff::Timestamp as Instant;
use jiff::tz::TimeZone;
use taskd_core::Timestamp;

use crate::zones;

/// More than there are names of zones.
const ZONES_KEPT: usize = 1_000;

/// Shows instants to one reader.
#[derive(Clone)]
pub struct Times {
    now: Timestamp,
    zone: TimeZone,
    /// Zones that were asked for: there are few, and many tasks to a zone.
    known: RefCell<HashMap<String, Option<TimeZone>>>,
}

impl Times {
    /// For a reader in that zone, at that instant.
    pub fn new(now: Timestamp, zone: TimeZone) -> Self {
        Times {
            now,
            zone,
            known: RefCell::default(),
        }
    }

    /// `2026-11-24 03:00:00 +01:00`
    pub fn full(&self, ms: i64) -> String {
        self.instant(ms)
            .to_zoned(self.zone.clone())
            .strftime("%Y-%m-%d %H:%M:%S %:z")
            .to_string()
    }

    /// `2026-11-24 03:00:00`, for tables.
    pub fn short(&self, ms: i64) -> String {
        self.instant(ms)
            .to_zoned(self.zone.clone())
            .strftime("%Y-%m-%d %H:%M:%S")
            .to_string()
    }

    /// `11:00:00 Asia/Tokyo` where clocks in the task's zone show something else than the reader's; the day too where it
    /// is another.
    pub fn there(&self, ms: i64, zone: Option<&str>) -> Option<String> {
        let name = zone?;
        let theirs = self.named(name)?;
        let instant = self.instant(ms);
        if theirs.to_offset(instant) == self.zone.to_offset(instant) {
            return None;
        }
        let there = instant.to_zoned(theirs);
        let here = instant.to_zoned(self.zone.clone());
        let format = if there.date() == here.date() {
            "%H:%M:%S"
        } else {
            "%Y-%m-%d %H:%M:%S"
        };
        Some(format!("{} {name}", there.strftime(format)))
    }

    /// The same, to be written behind the reader's own time.
    pub fn beside(&self, ms: i64, zone: Option<&str>) -> String {
        self.there(ms, zone)
            .map(|there| format!(" ({there})"))
            .unwrap_or_default()
    }

    /// `in 5 m`, `3 h ago`, `now`.
    pub fn relative(&self, ms: i64) -> String {
        let away = ms.saturating_sub(self.now.as_millis());
        match away {
            -999..=999 => "now".to_owned(),
            1000.. => format!("in {}", length(away.unsigned_abs())),
            _ => format!("{} ago", length(away.unsigned_abs())),
        }
    }

    fn named(&self, name: &str) -> Option<TimeZone> {
        let mut known = self.known.borrow_mut();
        if let Some(zone) = known.get(name) {
            return zone.clone();
        }
        let zone = zones::named(name);
        if known.len() == ZONES_KEPT {
            known.clear();
        }
        known.insert(name.to_owned(), zone.clone());
        zone
    }

    fn instant(&self, ms: i64) -> Instant {
        Timestamp::from_millis(ms).to_jiff()
    }
}

/// A length in its largest unit or two: `250 ms`, `42 s`, `3 m 20 s`, `5 h`, `12 d`.
pub fn length(ms: u64) -> String {
    let s = ms / 1000;
    let two = |big: u64, big_unit: &str, small: u64, small_unit: &str| {
        if small == 0 {
            format!("{big} {big_unit}")
        } else {
            format!("{big} {big_unit} {small} {small_unit}")
        }
    };
    match s {
        0 => format!("{ms} ms"),
        1..60 => format!("{s} s"),
        60..3600 => two(s / 60, "m", s % 60, "s"),
        3600..86_400 => two(s / 3600, "h", s % 3600 / 60, "m"),
        _ => two(s / 86_400, "d", s % 86_400 / 3600, "h"),
    }
}

/// How long a run took: with tenths below a minute.
pub fn took(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => length(ms),
    }
}

/// RFC 3339 in UTC, for scripts.
pub fn rfc3339(ms: i64) -> String {
    Timestamp::from_millis(ms).to_string()
}

/// RFC 3339 with the offset of a zone.
pub fn rfc3339_in(ms: i64, zone: &TimeZone) -> String {
    let instant = Timestamp::from_millis(ms).to_jiff();
    instant.display_with_offset(zone.to_offset(instant)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(zone: &str) -> Times {
        let now = "2026-11-23T10:00:00Z".parse::<Instant>().expect("an instant");
        Times::new(
            Timestamp::from_jiff(now),
            TimeZone::get(zone).expect("a zone of every system"),
        )
    }

    fn ms(text: &str) -> i64 {
        text.parse::<Instant>().expect("an instant").as_millisecond()
    }

    #[test]
    fn instants_are_in_the_readers_zone() {
        assert_eq!(
            times("Europe/Berlin").full(ms("2026-11-24T02:00:00Z")),
            "2026-11-24 03:00:00 +01:00"
        );
        assert_eq!(
            times("UTC").full(ms("2026-11-24T02:00:00Z")),
            "2026-11-24 02:00:00 +00:00"
        );
    }

    #[test]
    fn the_tasks_zone_stands_beside_it_where_clocks_differ() {
        let berlin = times("Europe/Berlin");
        let at = ms("2026-11-24T02:00:00Z");
        assert_eq!(berlin.beside(at, Some("Asia/Tokyo")), " (11:00:00 Asia/Tokyo)");
        assert_eq!(
            berlin.beside(at, Some("America/New_York")),
            " (2026-11-23 21:00:00 America/New_York)"
        );
        assert_eq!(berlin.beside(at, Some("Europe/Paris")), "");
        assert_eq!(berlin.beside(at, Some("No/Where")), "");
        assert_eq!(berlin.beside(at, None), "");
        assert_eq!(berlin.known.borrow().len(), 4, "a zone is read once");
        berlin.beside(at, Some("Asia/Tokyo"));
        assert_eq!(berlin.known.borrow().len(), 4, "a zone is read once");
    }

    #[test]
    fn distances_are_relative() {
        let times = times("UTC");
        let shown = |text| times.relative(ms(text));
        assert_eq!(shown("2026-11-23T10:05:00Z"), "in 5 m");
        assert_eq!(shown("2026-11-23T10:00:00.4Z"), "now");
        assert_eq!(shown("2026-11-23T07:00:00Z"), "3 h ago");
        assert_eq!(shown("2026-11-22T09:30:00Z"), "1 d ago");
        assert_eq!(shown("2026-12-05T11:00:00Z"), "in 12 d 1 h");
        assert!(
            times.relative(i64::MIN).ends_with(" ago"),
            "{}",
            times.relative(i64::MIN)
        );
        assert!(
            times.relative(i64::MAX).starts_with("in "),
            "{}",
            times.relative(i64::MAX)
        );
    }

    #[test]
    fn scripts_get_rfc3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_500), "1970-01-01T00:00:01.5Z");
        let tokyo = TimeZone::get("Asia/Tokyo").expect("a zone of every system");
        assert_eq!(rfc3339_in(0, &tokyo), "1970-01-01T09:00:00+09:00");
    }

    #[test]
    fn lengths_are_round() {
        let shown = [0, 999, 1000, 59_999, 60_000, 61_000, 3_600_000, 90_000_000].map(length);
        assert_eq!(
            shown,
            ["0 ms", "999 ms", "1 s", "59 s", "1 m", "1 m 1 s", "1 h", "1 d 1 h"]
        );
        assert_eq!(took(1_250), "1.2 s");
    }
}
