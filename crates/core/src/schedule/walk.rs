//! From civil matches to instants: a walk over a zone's segments of constant offset.
//!
//! Inside a segment local time and instants differ by a constant, so a civil match there is an instant at once. Where two
//! segments meet, clocks jump. Forward: the local times from [`Segment::reached`] to [`Segment::opens`] are never shown, and a
//! rule that runs them does so once, at the start of the later segment. Back: the local times from [`Segment::opens`] to
//! [`Segment::reached`] are shown twice, and the rule says which time counts.

use super::cron::Cron;
use super::zone::{REACH, Segment, TABLE_START, Zone};

/// Most segments one search looks at. Each brings the search to the next civil match, so only an expression whose every match
/// falls into a gap comes here; it has none in thousands of tries.
const SEGMENTS_MAX: u32 = 2_000;
/// The first second of the year 10000.
const END: i64 = 253_402_300_800;

/// What happens to fire times that clocks skip or show twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DstRule {
    /// Local times that are skipped.
    pub gap: Gap,
    /// Local times that come twice.
    pub overlap: Overlap,
}

/// What happens to fire times in skipped local time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
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
        let from = match passes {
            Overlap::First => segment.reached.max(at + segment.offset),
            Overlap::Auto | Overlap::Second | Overlap::Both => at + segment.offset,
        };
        let until = match passes {
            Overlap::Second => segment.closes().min(segment.end.saturating_add(segment.next_offset)),
            Overlap::Auto | Overlap::First | Overlap::Both => segment.closes(),
        };
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

/// Whether a fire time lies in the local times skipped before this segment.
pub(super) fn fires_after_gap(cron: &Cron, segment: &Segment) -> bool {
    segment.reached < segment.opens()
        && cron
            .next_local(segment.reached)
            .is_some_and(|local| local < segment.opens())
}
