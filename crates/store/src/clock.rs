//! The one place that asks for the time: to bound a wait, never to say when something was.

use std::time::Instant;

/// An instant of a clock that is never set.
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
pub(crate) fn steady() -> Instant {
    Instant::now()
}
