//! The one place that asks what time it is.

use std::time::Instant;

use taskd_core::Timestamp;

/// The present instant of real time.
#[expect(clippy::disallowed_methods, reason = "this is the clock module of taskctl")]
pub fn now() -> Timestamp {
    Timestamp::from_jiff(jiff::Timestamp::now())
}

/// The present instant of the monotonic clock, for deadlines.
#[expect(clippy::disallowed_methods, reason = "this is the clock module of taskctl")]
pub fn monotonic() -> Instant {
    Instant::now()
}
