//! The one place that asks for the time.

use taskd_core::Timestamp;

/// The instant it is, by the system's real-time clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
pub fn now() -> Timestamp {
    Timestamp::from_jiff(jiff::Timestamp::now())
}

/// An instant for deadlines, which no clock step moves.
#[must_use]
pub(crate) fn monotonic() -> std::time::Instant {
    // That of the timers, which a test may stop.
    tokio::time::Instant::now().into_std()
}
