//! From civil matches to instants: a walk over a zone's segments of constant offset.
//!
//! Inside a segment local time and instants differ by a constant, so a civil match there is an instant at once. Where two
//! segments meet, clocks jump. Forward: the local times from [`Segment::reached`] to [`Segment::opens`] are never shown, and a
//! rule that runs them does so once, at the start of the later segment. Back: the local times from [`Segment::opens`] to
//! [`Segment::reached`] are shown twice, and the rule says which time counts.

use serde::{Deserialize, Serialize};

use super::cron::Cron;
use super::zone::{REACH, Segment, TABLE_START, Zone};

/// Most segments one search looks at. Each brings the search to the next civil match, so only an expression whose every match
/// falls into a gap comes here; it has none in thousands of tries.
const SEGMENTS_MAX: u32 = 2_000;
/// The second after 9999-12-30T22:00:00Z. From there on some zone would be in the year 10000, so jiff knows no such instant.
pub(super) const END: i64 = 253_402_207_201;

/// What happens to fire times that clocks skip or show twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DstRule {
    /// Local times that are skipped.
    #[serde(default)]
    pub gap: Gap,
    /// Local times that come twice.
    #[serde(default)]
    pub overlap: Overlap,
}

/// What happens to fire times in skipped local time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gap {
    /// As [`Gap::Run`] when the expression names times of day, else as [`Gap::Skip`].
    #[default]
    Auto,
    /// They fire once, at the first instant after the gap.
    Run,
    /// They do not fire.
    Skip,
}

/// What happens to fire times in local time that comes twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overlap {
    /// As [`Overlap::First`] when the expression names times of day, else as [`Overlap::Both`].
    #[default]
    Auto,
    /// They fire on the first pass.
    First,
    /// They fire on the second pass.
    Second,
    /// They fire on both passes.
    Both,
}

impl DstRule {
    /// Whether skipped times run.
    pub(super) fn runs_gap(self, cron: &Cron) -> bool {
        match self.gap {
            Gap::Auto => cron.is_fixed(),
            Gap::Run => true,
            Gap::Skip => false,
        }
    }

    /// Which passes count: never [`Overlap::Auto`].
    pub(super) fn passes(self, cron: &Cron) -> Overlap {
        match self.overlap {
            Overlap::Auto if cron.is_fixed() => Overlap::First,
            Overlap::Auto => Overlap::Both,
            Overlap::First | Overlap::Second | Overlap::Both => self.overlap,
        }
    }
}

/// The first fire time strictly later than `after`, in seconds.
pub(super) fn next_after(cron: &Cron, zone: &Zone, rule: DstRule, after: i64) -> Option<i64> {
    let (runs_gap, passes) = (rule.runs_gap(cron), rule.passes(cron));
    let mut at = after.saturating_add(1).max(TABLE_START);
    for _ in 0..SEGMENTS_MAX {
        if at >= END {
            return None;
        }
        let segment = zone.segment(at);
        if runs_gap && at == segment.start && fires_after_gap(cron, &segment) {
            return Some(at);
        }
        let (from, until) = meant(passes, &segment, at);
        let found = cron.next_local(from);
        if let Some(local) = found
            && local < until
        {
            return Some(local - segment.offset).filter(|at| *at < END);
        }
        if segment.end == i64::MAX {
            return None;
        }
        // Clocks may be set back soon after this segment, and then show times before the match once more.
        at = if segment.end - at < REACH {
            segment.end
        } else {
            // The match lies in another segment, near the instant it would have with this offset.
            segment.end.max(found? - segment.offset - REACH)
        };
    }
    None
}

/// The fire times from `first`, which is one of them, to `until`, in seconds: how many, and the last.
pub(super) fn count(cron: &Cron, zone: &Zone, rule: DstRule, first: i64, until: i64) -> (u64, i64) {
    let (runs_gap, passes) = (rule.runs_gap(cron), rule.passes(cron));
    let until = until.min(END - 1);
    let (mut count, mut last, mut at) = (0, first, first);
    while at <= until {
        let segment = zone.segment(at);
        if runs_gap && at == segment.start && fires_after_gap(cron, &segment) {
            // The local time at `at` may match as well: that is the same fire time.
            (count, last, at) = (count + 1, at, at + 1);
        }
        let (from, to) = meant(passes, &segment, at);
        if let Some(matches) = cron.matches_between(from, to.min(until + 1 + segment.offset)) {
            (count, last) = (count + matches.count, matches.last - segment.offset);
        }
        at = segment.end;
    }
    (count, last)
}

/// The local times of a segment that count, from the instant `at` on: from the first to before the second.
fn meant(passes: Overlap, segment: &Segment, at: i64) -> (i64, i64) {
    let from = match passes {
        Overlap::First => segment.reached.max(at + segment.offset),
        Overlap::Auto | Overlap::Second | Overlap::Both => at + segment.offset,
    };
    let until = match passes {
        Overlap::Second => segment.closes().min(segment.end.saturating_add(segment.next_offset)),
        Overlap::Auto | Overlap::First | Overlap::Both => segment.closes(),
    };
    (from, until)
}

/// Whether a fire time lies in the local times skipped before this segment.
pub(super) fn fires_after_gap(cron: &Cron, segment: &Segment) -> bool {
    cron.matches_between(segment.reached, segment.opens()).is_some()
}
