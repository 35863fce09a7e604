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
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
pub(crate) fn monotonic() -> std::time::Instant {
    std::time::Instant::now()
}
