//! Zones of the tz database as lists of constant offsets, shared by every task that uses them.
//!
//! This is the one place of the crate that reads files, or may: jiff does, when the database handed to [`Zones::new`] is on disk.
//! Only [`Zones::get`] comes to that, for a name it does not know yet, and it waits for the disk. A [`Zone`] is in memory whole.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::civil::DAY;
use super::nearest::nearest;
use crate::time::Timestamp;

/// Offset changes before this instant (2100-01-01) are in a zone's table; the zone's rule is asked for later ones.
const TABLE_END: i64 = 4_102_444_800;
/// The table begins here (1800-01-01), before any zone had a rule.
pub(super) const TABLE_START: i64 = -5_364_662_400;
/// A zone whose offset still changes does so more often than this: the rule of a zone file repeats every year.
const RULE_SPAN: i64 = 4 * 366 * DAY;
/// No two offsets of one zone are further apart than this, whatever a zone file says: jiff's offsets end at ±26 hours.
pub(super) const REACH: i64 = 3 * DAY;
/// Longest name of a zone that is looked up.
const NAME_MAX: usize = 255;

/// A change of a zone's offset from UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    at: i64,
    offset: i32,
}

/// A stretch of time in which a zone's offset is constant: instants `start..end`, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    /// The first second, or `i64::MIN` where nothing came before.
    pub start: i64,
    /// The second after the last one, or `i64::MAX` where no change is known.
    pub end: i64,
    /// Local time minus UTC.
    pub offset: i64,
    /// The local time that clocks had reached before `start`: all before it has been shown already.
    pub reached: i64,
    /// The offset from `end` on.
    pub next_offset: i64,
}

impl Segment {
    /// The local time at `start`.
    pub fn opens(&self) -> i64 {
        self.start.saturating_add(self.offset)
    }

    /// The local time that `end` would have, had the offset not changed.
    pub fn closes(&self) -> i64 {
        self.end.saturating_add(self.offset)
    }
}

/// A zone of the tz database.
///
/// Handles stay as they are when the database on disk changes; [`Zones::reset`] makes the next [`Zones::get`] read it again.
pub struct Zone {
    name: Box<str>,
    tz: TimeZone,
    /// The offset before the first change.
    first: i32,
    /// The changes until [`TABLE_END`], and the first one after it if there is any.
    changes: Vec<Change>,
    /// Whether the last change in the table is the last of all.
    lasting: bool,
}

impl Zone {
    fn new(name: &str, tz: TimeZone) -> Self {
        let first = offset_of(&tz, TABLE_START);
        let mut changes: Vec<Change> = Vec::new();
        let mut offset = first;
        let mut lasting = true;
        for transition in tz.following(second(TABLE_START)) {
            let at = transition.timestamp().as_second();
            if at >= TABLE_END + RULE_SPAN {
                break;
            }
            if transition.offset().seconds() != offset {
                offset = transition.offset().seconds();
                changes.push(Change { at, offset });
                if at >= TABLE_END {
                    lasting = false;
                    break;
                }
            }
        }
        changes.shrink_to_fit();
        Zone {
            name: name.into(),
            tz,
            first,
            changes,
            lasting,
        }
    }

    /// A zone with these changes of offset: instant in seconds, offset from then on.
    #[cfg(test)]
    pub(super) fn with_changes(first: i32, changes: &[(i64, i32)]) -> Self {
        let changes = changes.iter().map(|&(at, offset)| Change { at, offset }).collect();
        Zone {
            name: "Test/Zone".into(),
            tz: TimeZone::UTC,
            first,
            changes,
            lasting: true,
        }
    }

    /// The zone's name as the database spells it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Local time minus UTC at an instant, in seconds.
    #[must_use]
    pub fn offset_at(&self, at: Timestamp) -> i32 {
        let at = at.as_second();
        let after = self.changes.partition_point(|change| change.at <= at);
        if after == self.changes.len() && !self.lasting {
            offset_of(&self.tz, at)
        } else {
            self.offset_before(after)
        }
    }

    /// The offset in force before the change with this index.
    fn offset_before(&self, index: usize) -> i32 {
        if index == 0 {
            self.first
        } else {
            self.changes[index - 1].offset
        }
    }

    /// The stretch of constant offset around an instant given in seconds.
    pub(crate) fn segment(&self, at: i64) -> Segment {
        let after = self.changes.partition_point(|change| change.at <= at);
        let next = self.changes.get(after).copied();
        if next.is_none() && !self.lasting {
            return self.late_segment(at);
        }
        let offset = self.offset_before(after);
        let next = next.unwrap_or(Change { at: i64::MAX, offset });
        Segment {
            start: if after == 0 {
                i64::MIN
            } else {
                self.changes[after - 1].at
            },
            end: next.at,
            offset: i64::from(offset),
            reached: self.reached(after),
            next_offset: i64::from(next.offset),
        }
    }

    /// The local time reached before the segment that ends with the change `after`. Changes can follow each other so
    /// closely that an earlier segment showed later local times than the one just before.
    fn reached(&self, after: usize) -> i64 {
        let Some(opening) = after.checked_sub(1) else {
            return i64::MIN;
        };
        let start = self.changes[opening].at;
        let mut reached = start + i64::from(self.offset_before(opening));
        for earlier in (0..opening).rev() {
            let at = self.changes[earlier].at;
            if start - at > REACH {
                break;
            }
            reached = reached.max(at + i64::from(self.offset_before(earlier)));
        }
        reached
    }

    /// A segment that begins after the table ends: the zone's rule is asked, which is slower and only needed for far years.
    fn late_segment(&self, at: i64) -> Segment {
        let offset = offset_of(&self.tz, at);
        let end = self
            .tz
            .following(second(at))
            .map(|transition| Change {
                at: transition.timestamp().as_second(),
                offset: transition.offset().seconds(),
            })
            .take_while(|change| change.at.saturating_sub(at) < RULE_SPAN)
            .find(|change| change.offset != offset)
            .unwrap_or(Change { at: i64::MAX, offset });
        let start = self
            .tz
            .preceding(second(at.saturating_add(1)))
            .map(|transition| transition.timestamp().as_second())
            .take_while(|start| at.saturating_sub(*start) < RULE_SPAN)
            .find(|start| offset_of(&self.tz, start - 1) != offset)
            .unwrap_or(i64::MIN);
        let before = offset_of(&self.tz, start.saturating_sub(1));
        Segment {
            start,
            end: end.at,
            offset: i64::from(offset),
            reached: start.saturating_add(i64::from(before)),
            next_offset: i64::from(end.offset),
        }
    }
}

/// Two zones are equal when they have the same name and the same rules, so that a re-read database shows what changed.
impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.first == other.first && self.changes == other.changes
    }
}

impl Eq for Zone {}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({}, {} changes)", self.name, self.changes.len())
    }
}

/// A second for jiff, kept inside its years.
fn second(at: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(at).unwrap_or(if at < 0 {
        jiff::Timestamp::MIN
    } else {
        jiff::Timestamp::MAX
    })
}

fn offset_of(tz: &TimeZone, at: i64) -> i32 {
    tz.to_offset(second(at)).seconds()
}

/// No zone has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no time zone {name:?}{}", .near.as_ref().map(|near| format!("; did you mean {near}?")).unwrap_or_default())]
pub struct UnknownZone {
    /// What was asked for.
    pub name: String,
    /// A name that looks like it, if there is one.
    pub near: Option<String>,
}

/// Reads zones from a tz database and keeps one handle for each.
pub struct Zones {
    db: TimeZoneDatabase,
    known: HashMap<Box<str>, Arc<Zone>>,
    /// Names that stand for none: a likely name is looked for among all that there are, and many tasks may be of one zone
    /// that has vanished.
    unknown: HashMap<Box<str>, UnknownZone>,
}

/// Most names remembered that stand for no zone.
const UNKNOWN_MAX: usize = 1024;

impl Zones {
    /// A registry over this database, and no other.
    #[must_use]
    pub fn new(db: TimeZoneDatabase) -> Self {
        Zones {
            db,
            known: HashMap::new(),
            unknown: HashMap::new(),
        }
    }

    /// The zone of that name; case does not matter. One not asked for before, or not since a reset, is read from the database.
    ///
    /// # Errors
    /// [`UnknownZone`], with a likely name where one exists.
    pub fn get(&mut self, name: &str) -> Result<Arc<Zone>, UnknownZone> {
        if let Some(zone) = self.known.get(name) {
            return Ok(Arc::clone(zone));
        }
        if let Some(unknown) = self.unknown.get(name) {
            return Err(unknown.clone());
        }
        let Some(tz) = self.read(name) else {
            let unknown = self.unknown(name);
            if self.unknown.len() >= UNKNOWN_MAX {
                self.unknown.clear();
            }
            if name.len() <= NAME_MAX {
                self.unknown.insert(name.into(), unknown.clone());
            }
            return Err(unknown);
        };
        let canonical = tz.iana_name().unwrap_or(name).to_owned();
        if let Some(zone) = self.known.get(canonical.as_str()) {
            return Ok(Arc::clone(zone));
        }
        let zone = Arc::new(Zone::new(&canonical, tz));
        self.known.insert(canonical.into(), Arc::clone(&zone));
        Ok(zone)
    }

    /// Forgets what was read, so that the next [`Zones::get`] sees a database that has changed. Handles already given out keep the
    /// rules they have.
    pub fn reset(&mut self) {
        self.db.reset();
        self.known.clear();
        self.unknown.clear();
    }

    fn read(&self, name: &str) -> Option<TimeZone> {
        // Files under right/ count leap seconds, and Etc/Unknown is jiff's word for no zone at all.
        let odd = name.is_empty()
            || name.len() > NAME_MAX
            || name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("right/"))
            || name.eq_ignore_ascii_case("Etc/Unknown");
        if odd { None } else { self.db.get(name).ok() }
    }

    fn unknown(&self, name: &str) -> UnknownZone {
        let shown: String = name.chars().take(64).collect();
        let near = (name.len() <= 64).then(|| self.near(name)).flatten();
        UnknownZone { name: shown, near }
    }

    /// A city without its continent, or a name with a letter or two wrong.
    fn near(&self, name: &str) -> Option<String> {
        let wanted = name.replace(' ', "_");
        let names: Vec<String> = self.db.available().map(|name| name.as_str().to_owned()).collect();
        let city = |full: &String| {
            full.rsplit('/')
                .next()
                .is_some_and(|city| city.eq_ignore_ascii_case(&wanted))
        };
        if let Some(full) = names.iter().find(|full| city(full)) {
            return Some(full.clone());
        }
        nearest(&wanted, names.iter().map(String::as_str)).map(str::to_owned)
    }
}

impl fmt::Debug for Zones {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zones")
            .field("known", &self.known.len())
            .finish_non_exhaustive()
    }
}
