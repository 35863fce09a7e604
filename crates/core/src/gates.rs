//! Gates: what must hold before the first attempt of a run starts. The runner looks at them right before; what is decided
//! by a closed one is in the scheduler.

use std::num::NonZeroU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::size::parse_size;
use crate::time::Timestamp;

/// The greatest load average that may be chosen, in hundredths.
pub const LOAD_MAX: u32 = 1_000_000;

/// How long a run may wait for its gate at most.
pub const GATE_WAIT_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long the command of a gate may take; then it is killed, and its gate is closed.
pub const ONLY_IF_WITHIN: Duration = Duration::from_secs(30);

/// How soon a closed gate is looked at again for the first time. It takes twice as long from one look to the next.
pub const LOOK_FIRST: Duration = Duration::from_secs(1);

/// How long it takes from one look to the next at most.
pub const LOOK_LAST: Duration = Duration::from_secs(30);

/// The gates of a task. All must be open; none is for a task without any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gates {
    /// A line for `sh -c` that must exit with 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_if: Option<String>,
    /// What the load average of one minute may be, in hundredths, at most [`LOAD_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_load: Option<u32>,
    /// Bytes of memory that must be available, without pressure on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_memory: Option<NonZeroU64>,
    /// Whether the machine must not run on battery.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_ac_power: bool,
}

/// A gate of a run that was found closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// How often one was.
    pub looks: u32,
    /// Which it is, and what was read last: a sentence.
    pub reading: String,
    /// Until when it is looked at.
    pub gives_up: Timestamp,
}

impl Gates {
    /// Whether there are any.
    #[must_use]
    pub fn any(&self) -> bool {
        *self != Gates::default()
    }

    /// Whether there are none, for what is written.
    #[must_use]
    pub fn none(&self) -> bool {
        !self.any()
    }
}

/// Reads a load average such as `4` or `2.5`, as hundredths. `None` for what is none, or is above [`LOAD_MAX`].
#[must_use]
pub fn parse_load(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    if !is_number(whole) || !is_number(part) || part.len() > 2 {
        return None;
    }
    let hundredths = part.parse::<u32>().ok()? * if part.len() == 1 { 10 } else { 1 };
    let load = whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(hundredths)?;
    (load <= LOAD_MAX).then_some(load)
}

/// A load average in hundredths as it may be typed.
#[must_use]
pub fn format_load(load: u32) -> String {
    match load % 100 {
        0 => (load / 100).to_string(),
        part if part % 10 == 0 => format!("{}.{}", load / 100, part / 10),
        part => format!("{}.{part:02}", load / 100),
    }
}

/// Reads an amount of memory as [`parse_size`] does. `None` for what is none, or is 0.
#[must_use]
pub fn parse_memory(text: &str) -> Option<NonZeroU64> {
    parse_size(text).ok().and_then(NonZeroU64::new)
}

/// A number of bytes as it may be typed.
#[must_use]
pub fn format_size(bytes: NonZeroU64) -> String {
    let bytes = bytes.get();
    let units = [(40, 'T'), (30, 'G'), (20, 'M'), (10, 'K')];
    let fits = units.into_iter().find(|(bits, _)| bytes.trailing_zeros() >= *bits);
    fits.map_or_else(|| bytes.to_string(), |(bits, unit)| format!("{}{unit}", bytes >> bits))
}

/// How long until a gate is looked at again that was found closed so often.
#[must_use]
pub fn until_next_look(looks: u32) -> Duration {
    let doubled = 1_u32.checked_shl(looks.saturating_sub(1)).unwrap_or(u32::MAX);
    LOOK_FIRST.saturating_mul(doubled).min(LOOK_LAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_and_sizes_are_written_as_they_are_read() {
        for (text, load) in [
            ("0", 0),
            ("4", 400),
            ("2.5", 250),
            ("0.75", 75),
            ("1.05", 105),
            ("10000", LOAD_MAX),
        ] {
            assert_eq!((parse_load(text), format_load(load).as_str()), (Some(load), text));
        }
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1e3",
            "2.555",
            "10000.01",
            "99999999999",
            "4 ",
        ] {
            assert_eq!(parse_load(text), None, "{text}");
        }
        for (text, bytes) in [
            ("1", 1),
            ("1000", 1000),
            ("4K", 4096),
            ("512M", 512 << 20),
            ("2G", 2 << 30),
            ("3T", 3 << 40),
        ] {
            let size = NonZeroU64::new(bytes).expect("it is not 0");
            assert_eq!((parse_memory(text), format_size(size).as_str()), (Some(size), text));
        }
        assert_eq!(parse_memory("512MiB"), parse_memory("512M"));
        for text in ["", "0", "0G", "G", "1GB", "-1", "1.5G", "99999999999T", "é"] {
            assert_eq!(parse_memory(text), None, "{text}");
        }
    }

    #[test]
    fn looks_come_ever_later_up_to_a_bound() {
        let seconds: Vec<u64> = [1, 2, 3, 5, 6, 7, 40, u32::MAX]
            .map(|n| until_next_look(n).as_secs())
            .into();
        assert_eq!(seconds, [1, 2, 4, 16, 30, 30, 30, 30]);
    }
}
