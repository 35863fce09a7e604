//! What can be wrong with a file, where, and how to put it right.

use std::fmt;

use taskd_core::calendar::{CalendarError, EntryErrorKind};

use super::FILE_MAX;

/// Most characters of a line that are shown.
const SHOWN: usize = 120;

/// Why a file is no calendar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub kind: FaultKind,
    /// Where, if it is somewhere.
    pub place: Option<Place>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// Column in characters from 0, and how many characters.
    pub at: (usize, usize),
    /// The text of the line, unfolded, or as much of it as can be shown.
    pub text: String,
}

/// The kinds of [`Fault`]. Their [`fmt::Display`] is the problem, as a sentence without an end mark.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// Longer than [`FILE_MAX`].
    #[error("the file is longer than {} MiB", FILE_MAX >> 20)]
    TooLong,
    /// In another encoding.
    #[error("the file is not UTF-8")]
    NotUtf8,
    /// HTML.
    #[error("this is a web page, not a calendar")]
    WebPage,
    /// The TOML reader's words.
    #[error("{message}")]
    Toml {
        /// What it says.
        message: String,
        /// What to do.
        cure: Option<String>,
    },
    /// A day, range or rule that is none.
    #[error("{0}")]
    Entry(EntryErrorKind),
    /// Nothing, or too much.
    #[error("{0}")]
    Calendar(CalendarError),
    /// Nothing that is not over.
    #[error("the file has no event that is not over")]
    NoEvents,
    /// Not a line of an iCalendar file.
    #[error("this is not a property: a line is NAME:VALUE")]
    NotAProperty,
    /// Something outside of any calendar.
    #[error("this stands outside of a calendar")]
    Outside,
    /// `END` of something that is not open.
    #[error("END:{found} stands where END:{wanted} should")]
    WrongEnd {
        /// What ends.
        found: String,
        /// What is open.
        wanted: String,
    },
    /// Components inside each other without end.
    #[error("too many components inside each other")]
    TooDeep,
    /// The file ends inside a component.
    #[error("the file ends inside of {component}, which begins here")]
    CutOff {
        /// The component.
        component: String,
    },
    /// A property that may stand once stands twice.
    #[error("{property} stands here for the second time in this event")]
    Twice {
        /// The property.
        property: &'static str,
    },
    /// An event without a start.
    #[error("this event has no DTSTART")]
    NoStart,
    /// An event that ends before it starts.
    #[error("the event ends before it starts")]
    EndsBefore,
    /// A start and an end of different kinds.
    #[error("start and end are not both days or both times")]
    MixedEnds,
    /// Both `DTEND` and `DURATION`.
    #[error("an event has DTEND or DURATION, not both")]
    TwoEnds,
    /// Not a date or a time of iCalendar.
    #[error("`{value}` is not a {wanted}")]
    BadValue {
        /// The value, cut short.
        value: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A day or time beyond the years that can be used.
    #[error("only the years until 9999 can be used")]
    OutOfRange,
    /// No zone has this name, and the file does not say what it is.
    #[error("there is no time zone `{name}`")]
    UnknownZone {
        /// The name, cut short.
        name: String,
    },
    /// The file says what the zone is in a way that is not read.
    #[error("the description of the time zone `{name}` is not understood")]
    OddZone {
        /// The name, cut short.
        name: String,
    },
    /// A part of a recurrence rule that is not read.
    #[error("`{part}` in a recurrence rule is not understood")]
    BadRule {
        /// The part, cut short.
        part: String,
    },
    /// A part of iCalendar that is not read.
    #[error("{what} cannot be read")]
    Unsupported {
        /// What it is.
        what: &'static str,
    },
    /// The file asks for more than is worth doing.
    #[error("the events of this file repeat too often to be looked for one by one")]
    TooMuch,
}

impl FaultKind {
    /// How to put it right, where that can be known.
    #[must_use]
    pub fn cure(&self) -> Option<String> {
        let fixed = |cure: &str| Some(cure.to_owned());
        match self {
            FaultKind::TooLong => fixed("split it, or leave past events out"),
            FaultKind::NotUtf8 => fixed("save it as UTF-8"),
            FaultKind::WebPage => fixed("download the .ics file that the page links to"),
            FaultKind::Toml { cure, .. } => cure.clone(),
            FaultKind::Entry(kind) => kind.cure(),
            FaultKind::Calendar(CalendarError::Empty) => {
                fixed("write `days`, `ranges` or `rules`, as in `days = [\"2026-12-24\"]`")
            }
            FaultKind::Calendar(CalendarError::TooMany { .. }) => {
                fixed("write days in a row as one entry, as in 2026-12-24..2026-12-26")
            }
            FaultKind::NoEvents => fixed("look for the calendar of this year"),
            FaultKind::NotAProperty => fixed("begin it with a blank if it continues the line before"),
            FaultKind::Outside => fixed("remove it, or put BEGIN:VCALENDAR before it"),
            FaultKind::WrongEnd { wanted, .. } => Some(format!("write END:{wanted}")),
            FaultKind::CutOff { .. } => fixed("the file was cut off: get it again"),
            FaultKind::Twice { .. } | FaultKind::TwoEnds => fixed("remove one of them"),
            FaultKind::NoStart => fixed("write the day, as in DTSTART;VALUE=DATE:20261224"),
            FaultKind::EndsBefore => fixed("put DTEND after DTSTART"),
            FaultKind::MixedEnds => fixed("write DTEND in the form of DTSTART"),
            FaultKind::BadValue { wanted, .. } => Some(format!("write it as {}", example(wanted))),
            FaultKind::UnknownZone { .. } => fixed("write a name of the tz database, such as Europe/Berlin"),
            FaultKind::OddZone { .. } => {
                fixed("add the line X-LIC-LOCATION with a name of the tz database to its VTIMEZONE")
            }
            FaultKind::BadRule { .. } => fixed("write the days one by one, as RDATE or as events"),
            FaultKind::Unsupported { .. } => fixed("write each of these events for itself"),
            FaultKind::TooMuch => fixed("end them with UNTIL, or split the file"),
            FaultKind::TooDeep | FaultKind::OutOfRange => None,
        }
    }

    /// A fault of the whole file.
    pub(super) fn nowhere(self) -> Fault {
        Fault {
            kind: self,
            place: None,
        }
    }

    /// A fault at these columns of a line.
    pub(super) fn at(self, line: usize, text: &str, at: (usize, usize)) -> Fault {
        let shown = text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c });
        let place = Place {
            line,
            at,
            text: shown.collect(),
        };
        Fault {
            kind: self,
            place: Some(place),
        }
    }
}

fn example(wanted: &str) -> &'static str {
    match wanted {
        "date" => "20261224",
        "length of time" => "PT8H or P1D",
        _ => "20261224T120000 or 20261224T110000Z",
    }
}

/// As much of a value as is repeated in a sentence.
pub(super) fn brief(value: &str) -> String {
    value.chars().filter(|c| !c.is_control()).take(40).collect()
}

/// Place, problem and cure in one line.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "line {}, column {}: ", place.line, place.at.0 + 1)?;
        }
        self.kind.fmt(f)?;
        match self.kind.cure() {
            Some(cure) => write!(f, "; {cure}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}
