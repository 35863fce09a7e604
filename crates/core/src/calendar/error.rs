//! What can be wrong with a calendar, where, and how to put it right.

use std::fmt;

use super::{ENTRIES_MAX, Rule};

/// Why entries are no calendar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// There are none.
    #[error("a calendar needs at least one day, range or rule")]
    Empty,
    /// There are more than [`ENTRIES_MAX`].
    #[error("a calendar has at most {ENTRIES_MAX} entries, this one has {entries}")]
    TooMany {
        /// How many there are.
        entries: usize,
    },
}

/// Why a text is no entry of a calendar. [`fmt::Display`] gives the problem and the cure in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryError {
    /// What is wrong.
    pub kind: EntryErrorKind,
    /// From which column to before which, in characters from 0.
    pub span: (usize, usize),
}

/// The kinds of [`EntryError`]. Their [`fmt::Display`] is the problem, as a sentence without an end mark.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryErrorKind {
    /// Nothing but blanks.
    #[error("nothing is written here")]
    Empty,
    /// Not a date in a form that is read.
    #[error("this is not a day")]
    NotADay,
    /// A time where a day is wanted.
    #[error("this is a time, not a day")]
    TimeInDays,
    /// A date that the calendar does not have.
    #[error("the calendar has no such day")]
    NoSuchDate,
    /// Not between the years 1970 and 9999.
    #[error("only the years from 1970 to 9999 can be used")]
    OutOfRange,
    /// The end comes before the start, or with it.
    #[error("the end does not come after the start")]
    Backwards,
    /// Not a local time or an instant in a form that is read.
    #[error("this is not a time")]
    NotATime,
    /// A date without a time of day.
    #[error("the time of day is missing")]
    NoTime,
    /// An hour, minute or second that no day has.
    #[error("no day has this time")]
    NoSuchTime,
    /// A part of a second.
    #[error("times are of whole seconds")]
    Fraction,
    /// A zone in brackets.
    #[error("the name of a zone cannot stand here")]
    NamedZone,
    /// An offset from UTC that is none.
    #[error("this is not an offset from UTC")]
    BadOffset,
    /// One end of a range has an offset from UTC, and the other has none.
    #[error("one end of the range has an offset from UTC, the other has none")]
    OneOffset,
    /// A text that is no rule.
    #[error("`{text}` is not a rule")]
    NotARule {
        /// What stands there, cut short.
        text: String,
    },
    /// A word that is none of those that can stand there.
    #[error("`{word}` is not {wanted}")]
    UnknownWord {
        /// The word, cut short.
        word: String,
        /// What can stand there.
        wanted: &'static str,
        /// A word that looks like it.
        near: Option<String>,
    },
    /// A day of one year among rules.
    #[error("this is a day of one year, not a rule")]
    DateInRules {
        /// The same day of every year.
        yearly: String,
    },
    /// A day that no month of that name has.
    #[error("no year has this day")]
    NoSuchMonthDay,
    /// A distance from Easter that is no number.
    #[error("this is not a number of days from Easter")]
    BadOffsetFromEaster,
    /// A distance from Easter beyond [`Rule::EASTER_OFFSETS`].
    #[error("this is too far from Easter")]
    TooFarFromEaster,
}

impl EntryErrorKind {
    /// How to put it right, where that can be known.
    #[must_use]
    pub fn cure(&self) -> Option<String> {
        let fixed = |cure: &str| Some(cure.to_owned());
        match self {
            EntryErrorKind::Empty => fixed("remove it, or write an entry"),
            EntryErrorKind::NotADay => fixed("write 2026-12-24, or 2026-12-24..2026-12-26 for days in a row"),
            EntryErrorKind::TimeInDays => fixed("write it as one end of a range, under `ranges`"),
            EntryErrorKind::Backwards => fixed("write the earlier one first"),
            EntryErrorKind::NotATime => fixed("write 2026-12-24T12:00, or 2026-12-24T12:00+01:00 for an instant"),
            EntryErrorKind::NoTime => fixed("add one, as in 2026-12-24T00:00, or write whole days under `days`"),
            EntryErrorKind::NoSuchTime => fixed("write 00:00 to 23:59; a day ends with 00:00 of the next one"),
            EntryErrorKind::Fraction => fixed("leave the fraction out"),
            EntryErrorKind::NamedZone => {
                fixed("write an offset such as +01:00, or leave it out: local times are read in the zone of the task")
            }
            EntryErrorKind::BadOffset => fixed("write Z, or an offset such as +01:00"),
            EntryErrorKind::OneOffset => fixed("write it at both ends, or at none"),
            EntryErrorKind::NotARule { .. } => {
                fixed("write weekends, mon, `1st mon`, `last mon may`, easter, easter+1 or 12-25")
            }
            EntryErrorKind::UnknownWord { near: Some(near), .. } => Some(format!("did you mean {near}?")),
            EntryErrorKind::UnknownWord { near: None, .. } => None,
            EntryErrorKind::DateInRules { yearly } => {
                Some(format!("write it under `days`, or {yearly} for every year"))
            }
            EntryErrorKind::NoSuchMonthDay => fixed("write month and day, as in 12-25"),
            EntryErrorKind::BadOffsetFromEaster => fixed("write easter+1 or easter-2"),
            EntryErrorKind::TooFarFromEaster => Some(format!(
                "write a number from {} to +{}",
                Rule::EASTER_OFFSETS.start(),
                Rule::EASTER_OFFSETS.end()
            )),
            EntryErrorKind::NoSuchDate | EntryErrorKind::OutOfRange => None,
        }
    }
}

impl EntryError {
    pub(super) fn whole(kind: EntryErrorKind, text: &str) -> Self {
        EntryError {
            kind,
            span: (0, text.chars().count()),
        }
    }

    /// An error in `part`, which is a slice of `text`, as an error in `text`.
    pub(super) fn inside(mut self, text: &str, part: &str) -> Self {
        // OK because a slice does not begin before what it was taken from.
        let before = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        let columns = text.get(..before).map_or(0, |before| before.chars().count());
        self.span = (self.span.0 + columns, self.span.1 + columns);
        self
    }

    /// The same for a text that should have been a time.
    pub(super) fn of_a_time(mut self) -> Self {
        if matches!(self.kind, EntryErrorKind::NotADay | EntryErrorKind::TimeInDays) {
            self.kind = EntryErrorKind::NotATime;
        }
        self
    }

    /// How to put it right, where that can be known.
    #[must_use]
    pub fn cure(&self) -> Option<String> {
        self.kind.cure()
    }
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)?;
        match self.cure() {
            Some(cure) => write!(f, "; {cure}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for EntryError {}

/// Which end of a range is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RangeEnd {
    /// `from`
    From,
    /// `to`
    To,
}

/// Why two texts are no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}`: {error}", match end { RangeEnd::From => "from", RangeEnd::To => "to" })]
pub struct RangeError {
    /// Which of them is wrong.
    pub end: RangeEnd,
    /// What is wrong with it.
    pub error: EntryError,
}
