//! The one place that asks for the time.

use std::time::Instant;

use jiff::Timestamp;

/// The time of day, for what is written down.
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
pub(crate) fn wall() -> Timestamp {
    Timestamp::now()
}

/// The time of day in milliseconds since the epoch.
pub(crate) fn wall_ms() -> i64 {
    wall().as_millisecond()
}

/// The time that only goes forward, for deadlines.
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
pub(crate) fn steady() -> Instant {
    Instant::now()
}

/// The same in microseconds, so that somebody else can tell how far two of them are apart.
pub(crate) fn steady_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let part = |part: i64| u64::try_from(part).unwrap_or(0);
    part(now.tv_sec) * 1_000_000 + part(now.tv_nsec) / 1000
}

/// The boot of the machine, as random(4) names it: a UUID. Nothing where it cannot be read.
#[must_use]
pub fn boot_id() -> Option<u128> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    u128::from_str_radix(&text.trim().replace('-', ""), 16).ok()
}
