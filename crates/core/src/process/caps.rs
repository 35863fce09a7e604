//! What the processes of an attempt may use together. Unlike a limit of the system, which holds for each process, a cap
//! holds for the whole tree: the runner sets it on the control group of the attempt, and starts nothing where it cannot.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Unreadable, amount};

/// The least memory that may be chosen, in bytes: hardly any program can be executed with less.
pub const MEMORY_MIN: u64 = 1 << 20;

/// The least and the most processor time that may be chosen, in hundredths of a core. The system takes no less.
pub const CPU_PERCENT: (u32, u32) = (1, 1_000_000);

/// The most processes that may be chosen: the system has no more.
pub const PIDS_MAX: u32 = 1 << 22;

/// Caps of an attempt; `None` for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caps {
    /// Memory at once, that of cached files included, in bytes; [`MEMORY_MIN`] at least. What needs more is killed whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Processor time, in hundredths of a core, within [`CPU_PERCENT`]. What would use more waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    /// Processes and threads at once, from 1 to [`PIDS_MAX`]. What would make more cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
}

impl Caps {
    /// Whether there are none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Caps::default()
    }
}

/// Reads an amount of memory, as [`parse_size`](crate::size::parse_size) does.
///
/// # Errors
/// [`Unreadable`] says what is wrong, and where.
pub fn parse_memory(text: &str) -> Result<u64, Unreadable> {
    let cure = "write bytes, or a number with K, M, G or T behind it, such as 512M";
    let bytes = amount(text, text).ok().flatten();
    let bytes = bytes.ok_or_else(|| Unreadable::new(text, text, "this is no amount of memory", cure))?;
    if bytes < MEMORY_MIN {
        let problem = "no command can be executed in so little memory";
        return Err(Unreadable::new(text, text, problem, "write 1M or more"));
    }
    Ok(bytes)
}

/// Reads a share of the processors: `50%` of one, or `2-cores`.
///
/// # Errors
/// [`Unreadable`] says what is wrong, and where.
pub fn parse_cpu(text: &str) -> Result<u32, Unreadable> {
    let (least, most) = CPU_PERCENT;
    let (digits, scale) = match text.strip_suffix('%') {
        Some(digits) => (digits, 1),
        None => (text.trim_end_matches("-cores").trim_end_matches("-core"), 100),
    };
    if digits == text {
        let cure = match whole(text).filter(|number| (1..=1000).contains(number)) {
            Some(number) => format!("write {number}% of one core, or {number}-cores"),
            None => "write 50% of one core, or 2-cores".to_owned(),
        };
        return Err(Unreadable::new(text, text, "this is no share of the processors", cure));
    }
    let percent = match digits.split_once('.') {
        None => whole(digits).and_then(|number| number.checked_mul(scale)),
        // Hundredths of a core are whole percents.
        Some((cores, part)) if scale == 100 && (1..=2).contains(&part.len()) => {
            let part = whole(part).map(|number| if part.len() == 1 { number * 10 } else { number });
            let cores = whole(cores).and_then(|number| number.checked_mul(scale));
            cores.zip(part).and_then(|(cores, part)| cores.checked_add(part))
        }
        Some(_) => None,
    };
    let Some(percent) = percent else {
        let cure = "write whole percents such as 50%, or cores such as 2-cores or 1.5-cores";
        return Err(Unreadable::new(text, digits, "this is no number of them", cure));
    };
    if !(least..=most).contains(&percent) {
        let cure = format!("write {least}% to {most}%");
        return Err(Unreadable::new(text, text, "there is no such share", cure));
    }
    Ok(percent)
}

fn whole(digits: &str) -> Option<u32> {
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

/// An amount of memory as it may be typed, as short as it goes without loss.
#[must_use]
pub fn memory_text(bytes: u64) -> String {
    let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
    let unit = units
        .into_iter()
        .find(|(shift, _)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    match unit {
        Some((shift, name)) => format!("{}{name}", bytes >> shift),
        None => bytes.to_string(),
    }
}

/// A share of the processors as it may be typed.
#[must_use]
pub fn cpu_text(percent: u32) -> String {
    format!("{percent}%")
}

impl fmt::Display for Caps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Caps { memory, cpu, pids } = self;
        let said = [
            memory.map(|bytes| format!("memory {}", memory_text(bytes))),
            cpu.map(|percent| format!("cpu {}", cpu_text(percent))),
            pids.map(|pids| format!("pids {pids}")),
        ];
        f.write_str(&said.into_iter().flatten().collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_and_written() {
        for (text, bytes, written) in [
            ("512M", 512 << 20, "512M"),
            ("512MiB", 512 << 20, "512M"),
            ("1024M", 1 << 30, "1G"),
            ("1048577", (1 << 20) + 1, "1048577"),
            ("1536K", 1536 << 10, "1536K"),
            ("2T", 2 << 40, "2T"),
        ] {
            assert_eq!(parse_memory(text), Ok(bytes), "{text}");
            assert_eq!(memory_text(bytes), written);
            assert_eq!(parse_memory(written), Ok(bytes));
        }
        assert_eq!(memory_text(0), "0");
        for (wrong, cure) in [
            ("", "512M"),
            ("512MB", "512M"),
            ("-1", "512M"),
            ("unlimited", "512M"),
            ("99999999T", "512M"),
            ("0", "1M or more"),
            ("1023K", "1M or more"),
        ] {
            let error = parse_memory(wrong).expect_err(wrong);
            assert!(error.cure.contains(cure), "{wrong}: {error:?}");
        }
    }

    #[test]
    fn shares_of_the_processors_are_read_and_written() {
        for (text, percent) in [
            ("1%", 1),
            ("50%", 50),
            ("150%", 150),
            ("1-core", 100),
            ("2-cores", 200),
            ("1.5-cores", 150),
            ("0.25-cores", 25),
        ] {
            assert_eq!(parse_cpu(text), Ok(percent), "{text}");
            assert_eq!(parse_cpu(&cpu_text(percent)), Ok(percent));
        }
        for (wrong, cure) in [
            ("50", "write 50% of one core, or 50-cores"),
            ("", "write 50% of one core"),
            ("two", "2-cores"),
            ("0%", "1% to"),
            ("12.5%", "whole percents"),
            ("1.255-cores", "1.5-cores"),
            ("-5%", "whole percents"),
            ("+5%", "whole percents"),
            ("10001-cores", "1000000%"),
            ("99999999999%", "whole percents"),
        ] {
            let error = parse_cpu(wrong).expect_err(wrong);
            assert!(error.cure.contains(cure), "{wrong}: {error:?}");
        }
    }
}
