//! The one place that asks for the time.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use taskd_core::Timestamp;

/// The instant it is, by the system's real-time clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
pub fn now() -> Timestamp {
    Timestamp::from_jiff(jiff::Timestamp::now())
}

/// When the machine was booted, by the real-time clock as it stands. To set that moves it; to sleep does not.
#[must_use]
pub(crate) fn booted_at() -> Timestamp {
    let since_boot = || Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default();
    // Two clocks cannot be read at once: of a few readings the one counts that took least.
    let readings = (0..5).map(|_| {
        let (before, now, after) = (since_boot(), now(), since_boot());
        (after.saturating_sub(before), now.minus(before))
    });
    readings.min().map_or(Timestamp::MIN, |(_, at)| at)
}

/// An instant for deadlines, which no clock step moves.
#[must_use]
pub(crate) fn monotonic() -> std::time::Instant {
    // That of the timers, which a test may stop.
    tokio::time::Instant::now().into_std()
}
