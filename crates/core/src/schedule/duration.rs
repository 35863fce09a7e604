//! Lengths of time as people write them: `90s`, `1h 30m`, `1.5h`, `2 weeks`, `PT1H30M`.

use std::fmt;
use std::time::Duration;

use super::nearest::nearest;

/// Most bytes of a length; a longer text is refused before it is looked at.
const TEXT_MAX: usize = 128;
/// The longest length: a thousand years.
pub const DURATION_MAX: Duration = Duration::from_millis(1_000 * 366 * 86_400_000);

/// Units by size: spellings, milliseconds. The first spelling is the one we write.
const UNITS: [(&[&str], u64); 6] = [
    (&["w", "week", "weeks"], 7 * 86_400_000),
    (&["d", "day", "days"], 86_400_000),
    (&["h", "hr", "hrs", "hour", "hours"], 3_600_000),
    (&["m", "min", "mins", "minute", "minutes"], 60_000),
    (&["s", "sec", "secs", "second", "seconds"], 1_000),
    (&["ms", "msec", "msecs", "millisecond", "milliseconds"], 1),
];

/// Why a text is no length of time. [`fmt::Display`] gives the problem and the cure in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurationError {
    /// What is wrong.
    pub kind: DurationErrorKind,
    /// From which column to before which, in characters from 0.
    pub span: (usize, usize),
}

/// The kinds of [`DurationError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DurationErrorKind {
    /// Nothing but blanks.
    Empty,
    /// A length before zero.
    Negative,
    /// No time at all, where there must be some.
    Zero,
    /// A number without a unit.
    NoUnit {
        /// The number.
        number: String,
    },
    /// A unit without a number, or something that is neither.
    NoNumber {
        /// What stands there.
        text: String,
    },
    /// A word that is no unit.
    UnknownUnit {
        /// The word.
        unit: String,
        /// A unit that looks like it.
        near: Option<String>,
    },
    /// Months and years have no fixed length.
    Calendar {
        /// The unit.
        unit: String,
    },
    /// A unit smaller than a millisecond.
    TooFine {
        /// The unit.
        unit: String,
    },
    /// The same unit twice, or a larger one after a smaller one.
    Order {
        /// The unit.
        unit: String,
    },
    /// Longer than a thousand years.
    TooLong,
}

impl DurationError {
    /// What is wrong, as a sentence without an end mark.
    #[must_use]
    pub fn problem(&self) -> String {
        match &self.kind {
            DurationErrorKind::Empty => "a length of time is missing".to_owned(),
            DurationErrorKind::Negative => "a length of time cannot be negative".to_owned(),
            DurationErrorKind::Zero => "a length of zero is too short".to_owned(),
            DurationErrorKind::NoUnit { number } => format!("{number} has no unit"),
            DurationErrorKind::NoNumber { text } => format!("`{text}` is not a number"),
            DurationErrorKind::UnknownUnit { unit, .. } => {
                format!("`{unit}` is not a unit of time")
            }
            DurationErrorKind::Calendar { unit } => format!("`{unit}` has no fixed length"),
            DurationErrorKind::TooFine { unit } => {
                format!("`{unit}` is shorter than a millisecond")
            }
            DurationErrorKind::Order { unit } => {
                format!("`{unit}` comes after a unit that is not larger")
            }
            DurationErrorKind::TooLong => "the length is more than a thousand years".to_owned(),
        }
    }

    /// How to put it right, where that can be known.
    #[must_use]
    pub fn cure(&self) -> Option<String> {
        match &self.kind {
            DurationErrorKind::Empty | DurationErrorKind::NoNumber { .. } => {
                Some("write a number and a unit, as in 1h30m".to_owned())
            }
            DurationErrorKind::Zero => Some("write at least 1ms".to_owned()),
            // Where a length of zero may be, it says so itself; elsewhere 0s would be refused next.
            DurationErrorKind::NoUnit { number } if number.chars().all(|digit| digit == '0') => {
                Some("write it with a unit, as in 30s".to_owned())
            }
            DurationErrorKind::NoUnit { number } => Some(format!("write {number}s for seconds")),
            DurationErrorKind::UnknownUnit { near: Some(near), .. } => Some(format!("did you mean {near}?")),
            DurationErrorKind::UnknownUnit { near: None, .. } => {
                Some("known units are w, d, h, m, s and ms".to_owned())
            }
            DurationErrorKind::Calendar { .. } => Some("write weeks or days, or use a cron expression".to_owned()),
            DurationErrorKind::Order { .. } => Some("write each unit once, the largest first".to_owned()),
            DurationErrorKind::Negative | DurationErrorKind::TooFine { .. } | DurationErrorKind::TooLong => None,
        }
    }
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem())?;
        match self.cure() {
            Some(cure) => write!(f, "; {cure}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for DurationError {}

/// Reads a length of time; what is finer than a millisecond is cut off.
///
/// # Errors
/// [`DurationError`] says what is wrong, where, and how to put it right.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    if text.len() > TEXT_MAX {
        return Err(DurationError {
            kind: DurationErrorKind::TooLong,
            span: (0, 0),
        });
    }
    let characters: Vec<char> = text.chars().collect();
    let mut reader = Reader {
        characters: &characters,
        at: 0,
    };
    reader.skip(|c| c.is_ascii_whitespace());
    let start = reader.at;
    if reader.peek().is_none() {
        return Err(reader.refuse(DurationErrorKind::Empty, 0, characters.len()));
    }
    if let Some('-' | '−') = reader.peek() {
        return Err(reader.refuse(DurationErrorKind::Negative, start, start + 1));
    }
    if let Some('+') = reader.peek() {
        reader.at += 1;
    }
    let millis = if let Some('P' | 'p') = reader.peek() {
        reader.iso()
    } else {
        reader.friendly()
    }?;
    let length = Duration::from_millis(millis);
    if length > DURATION_MAX {
        return Err(reader.refuse(DurationErrorKind::TooLong, start, characters.len()));
    }
    Ok(length)
}

/// Reads a length of time that is not zero.
///
/// # Errors
/// As [`parse_duration`], and [`DurationErrorKind::Zero`].
pub fn parse_interval(text: &str) -> Result<Duration, DurationError> {
    let length = parse_duration(text)?;
    if length.is_zero() {
        return Err(DurationError {
            kind: DurationErrorKind::Zero,
            span: (0, text.chars().count()),
        });
    }
    Ok(length)
}

/// The interval of `@every D`, as some cron programs spell a grid of elapsed time. `None` for any other text.
///
/// # Errors
/// As [`parse_interval`], in columns of the whole text.
#[must_use]
pub fn every_word(text: &str) -> Option<Result<Duration, DurationError>> {
    const WORD: &str = "@every";
    let trimmed = text.trim_start();
    let length = trimmed
        .get(..WORD.len())
        .filter(|word| word.eq_ignore_ascii_case(WORD))
        .map(|_| &trimmed[WORD.len()..])?;
    if length.starts_with(|next: char| !next.is_whitespace()) {
        return None;
    }
    let before = text.chars().count() - length.chars().count();
    Some(parse_interval(length).map_err(|error| DurationError {
        span: (error.span.0 + before, error.span.1 + before),
        ..error
    }))
}

/// Whether this is `@reboot`, as cron spells what is due once after each boot of the machine.
#[must_use]
pub fn is_reboot_word(text: &str) -> bool {
    text.trim().eq_ignore_ascii_case("@reboot")
}

/// Writes a length of time in the form [`parse_duration`] reads: `1h30m`. What is finer than a millisecond is cut off.
#[must_use]
pub fn format_duration(length: Duration) -> String {
    let mut left = length.as_millis();
    let mut text = String::new();
    for (spellings, size) in &UNITS[1..] {
        let count = left / u128::from(*size);
        left %= u128::from(*size);
        if count > 0 {
            text.push_str(&count.to_string());
            text.push_str(spellings[0]);
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

struct Reader<'a> {
    characters: &'a [char],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.at).copied()
    }

    fn skip(&mut self, mut which: impl FnMut(char) -> bool) -> String {
        let start = self.at;
        while self.peek().is_some_and(&mut which) {
            self.at += 1;
        }
        self.characters[start..self.at].iter().collect()
    }

    fn refuse(&self, kind: DurationErrorKind, from: usize, to: usize) -> DurationError {
        DurationError {
            kind,
            span: (from, to.max(from + 1)),
        }
    }

    /// Numbers with units: `1h 30m`, `1.5 hours`, `1d, 2h`.
    fn friendly(&mut self) -> Result<u64, DurationError> {
        let (mut millis, mut smallest) = (0_u64, u64::MAX);
        loop {
            let number = self.number()?;
            let number_end = self.at;
            self.skip(|c| c.is_ascii_whitespace());
            let start = self.at;
            let unit = self.skip(char::is_alphabetic);
            if unit.is_empty() && self.peek().is_none() {
                return Err(self.refuse(
                    DurationErrorKind::NoUnit { number: number.text() },
                    number.at,
                    number_end,
                ));
            }
            let size = self.unit(&unit, start)?;
            if size >= smallest {
                return Err(self.refuse(DurationErrorKind::Order { unit }, start, self.at));
            }
            smallest = size;
            millis = millis.saturating_add(number.times(size));
            self.skip(|c| c.is_ascii_whitespace());
            if self.peek() == Some(',') {
                self.at += 1;
                self.skip(|c| c.is_ascii_whitespace());
            } else if self.peek().is_none() {
                return Ok(millis);
            }
        }
    }

    /// ISO 8601: `P1DT2H`, `PT1H30M`, `P2W`.
    fn iso(&mut self) -> Result<u64, DurationError> {
        let start = self.at;
        self.at += 1;
        let (mut millis, mut smallest, mut clock) = (0_u64, u64::MAX, false);
        while self.peek().is_some_and(|c| !c.is_ascii_whitespace()) {
            if !clock && matches!(self.peek(), Some('T' | 't')) {
                clock = true;
                self.at += 1;
            }
            let number = self.number()?;
            let at = self.at;
            let Some(letter) = self.peek() else {
                return Err(self.refuse(DurationErrorKind::NoUnit { number: number.text() }, number.at, at));
            };
            self.at += 1;
            let size = match (letter.to_ascii_uppercase(), clock) {
                ('W', false) => UNITS[0].1,
                ('D', false) => UNITS[1].1,
                ('H', true) => UNITS[2].1,
                ('M', true) => UNITS[3].1,
                ('S', true) => UNITS[4].1,
                ('Y' | 'M', false) => {
                    return Err(self.refuse(
                        DurationErrorKind::Calendar {
                            unit: letter.to_string(),
                        },
                        at,
                        at + 1,
                    ));
                }
                _ => {
                    let near = "HMS"
                        .contains(letter.to_ascii_uppercase())
                        .then(|| format!("T{letter}"));
                    return Err(self.refuse(
                        DurationErrorKind::UnknownUnit {
                            unit: letter.to_string(),
                            near,
                        },
                        at,
                        at + 1,
                    ));
                }
            };
            if size >= smallest {
                return Err(self.refuse(
                    DurationErrorKind::Order {
                        unit: letter.to_string(),
                    },
                    at,
                    at + 1,
                ));
            }
            smallest = size;
            millis = millis.saturating_add(number.times(size));
        }
        self.skip(|c| c.is_ascii_whitespace());
        if smallest == u64::MAX || self.peek().is_some() {
            return Err(self.refuse(DurationErrorKind::Empty, start, self.characters.len()));
        }
        Ok(millis)
    }

    fn number(&mut self) -> Result<Number, DurationError> {
        let at = self.at;
        let whole = self.skip(|c| c.is_ascii_digit());
        let mut fraction = String::new();
        if self.peek() == Some('.') {
            self.at += 1;
            fraction = self.skip(|c| c.is_ascii_digit());
            if fraction.is_empty() {
                return Err(self.refuse(
                    DurationErrorKind::NoNumber {
                        text: format!("{whole}."),
                    },
                    at,
                    self.at,
                ));
            }
        }
        if whole.is_empty() {
            if self.peek() == Some('-') {
                return Err(self.refuse(DurationErrorKind::Negative, at, at + 1));
            }
            let text = self.skip(|c| !c.is_ascii_whitespace());
            let kind = if text.is_empty() {
                DurationErrorKind::Empty
            } else {
                DurationErrorKind::NoNumber { text }
            };
            return Err(self.refuse(kind, at, self.at));
        }
        Ok(Number { at, whole, fraction })
    }

    fn unit(&mut self, unit: &str, start: usize) -> Result<u64, DurationError> {
        // A capital M alone means months to some; in words case does not matter.
        let lower = if unit == "M" {
            unit.to_owned()
        } else {
            unit.to_lowercase()
        };
        if let Some((_, size)) = UNITS.iter().find(|(spellings, _)| spellings.contains(&lower.as_str())) {
            return Ok(*size);
        }
        let kind = match lower.as_str() {
            "M" | "mo" | "mon" | "month" | "months" | "y" | "yr" | "yrs" | "year" | "years" => {
                DurationErrorKind::Calendar { unit: unit.to_owned() }
            }
            "us" | "µs" | "μs" | "ns" | "usec" | "microsecond" | "microseconds" | "nanosecond" | "nanoseconds" => {
                DurationErrorKind::TooFine { unit: unit.to_owned() }
            }
            "" => {
                let text = self.skip(|c| !c.is_ascii_whitespace());
                DurationErrorKind::UnknownUnit { unit: text, near: None }
            }
            _ => {
                let words = UNITS
                    .iter()
                    .flat_map(|(spellings, _)| spellings.iter().copied())
                    .filter(|word| word.len() > 2);
                let near = nearest(&lower, words).map(str::to_owned);
                DurationErrorKind::UnknownUnit {
                    unit: unit.to_owned(),
                    near,
                }
            }
        };
        Err(self.refuse(kind, start, self.at))
    }
}

/// A decimal number as typed.
struct Number {
    at: usize,
    whole: String,
    fraction: String,
}

impl Number {
    fn text(&self) -> String {
        if self.fraction.is_empty() {
            self.whole.clone()
        } else {
            format!("{}.{}", self.whole, self.fraction)
        }
    }

    /// So many units of that size, in whole milliseconds; saturates.
    fn times(&self, size: u64) -> u64 {
        let digits = |text: &str| {
            text.bytes().fold(0_u64, |value, digit| {
                value.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
            })
        };
        // Twelve digits of a week are finer than a millisecond.
        let fraction = &self.fraction[..self.fraction.len().min(12)];
        let scale = 10_u128.pow(fraction.len() as u32);
        let part = u128::from(digits(fraction)) * u128::from(size) / scale;
        digits(&self.whole)
            .saturating_mul(size)
            .saturating_add(u64::try_from(part).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests;
