//! What can be wrong with a cron expression, where, and how to put it right.

use std::fmt;

use super::dialect::EXPRESSION_MAX;

/// A field of a cron expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CronField {
    /// 0–59; only in expressions of six or seven fields.
    Second,
    /// 0–59.
    Minute,
    /// 0–23.
    Hour,
    /// 1–31, `L`, `LW`, `nW`.
    DayOfMonth,
    /// 1–12 or JAN–DEC.
    Month,
    /// 0–7 (both ends are Sunday) or SUN–SAT, `d#n`, `dL`.
    DayOfWeek,
    /// Only in expressions of seven fields.
    Year,
}

impl CronField {
    /// All fields, in the order of an expression of seven.
    pub const ALL: [CronField; 7] = [
        CronField::Second,
        CronField::Minute,
        CronField::Hour,
        CronField::DayOfMonth,
        CronField::Month,
        CronField::DayOfWeek,
        CronField::Year,
    ];

    /// The lowest and the highest number of the field.
    #[must_use]
    pub const fn bounds(self) -> (u32, u32) {
        match self {
            CronField::Second | CronField::Minute => (0, 59),
            CronField::Hour => (0, 23),
            CronField::DayOfMonth => (1, 31),
            CronField::Month => (1, 12),
            CronField::DayOfWeek => (0, 7),
            CronField::Year => (1970, 5000),
        }
    }

    /// The highest value that is not a second name of the lowest.
    pub(super) const fn wrap_end(self) -> u32 {
        match self {
            CronField::DayOfWeek => 6,
            _ => self.bounds().1,
        }
    }

    pub(super) const fn is_day(self) -> bool {
        matches!(self, CronField::DayOfMonth | CronField::DayOfWeek)
    }
}

impl fmt::Display for CronField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CronField::Second => "second",
            CronField::Minute => "minute",
            CronField::Hour => "hour",
            CronField::DayOfMonth => "day of month",
            CronField::Month => "month",
            CronField::DayOfWeek => "day of week",
            CronField::Year => "year",
        })
    }
}

/// Why a text is no cron expression. [`fmt::Display`] gives the problem and the cure in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronError {
    /// What is wrong.
    pub kind: CronErrorKind,
    /// In which field, where it is one field's fault.
    pub field: Option<CronField>,
    /// From which column to before which, in characters from 0.
    pub span: (usize, usize),
}

/// The kinds of [`CronError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CronErrorKind {
    /// Longer than [`EXPRESSION_MAX`].
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Nothing but blanks.
    Empty,
    /// Not five, six or seven fields.
    FieldCount {
        /// How many there are.
        found: usize,
    },
    /// An `@` word that is none of the known ones.
    UnknownWord {
        /// The word.
        word: String,
        /// A known one that looks like it.
        near: Option<String>,
    },
    /// Something follows an `@` word.
    AfterWord {
        /// The word.
        word: String,
    },
    /// `@every D` is another kind of schedule.
    EveryWord {
        /// What stands behind it.
        length: String,
    },
    /// `@reboot` is another kind of schedule.
    RebootWord,
    /// A character that has no meaning in any field.
    BadCharacter {
        /// The character.
        character: char,
    },
    /// Nothing before, between or behind commas.
    EmptyItem,
    /// Neither a number nor a name.
    NotAValue {
        /// What stands there.
        text: String,
        /// A name that looks like it.
        near: Option<String>,
    },
    /// A number outside the field's bounds.
    OutOfBounds {
        /// The number as typed.
        value: String,
    },
    /// The name of a month or weekday in another field.
    NameElsewhere {
        /// The name as typed.
        name: String,
        /// The field it belongs to.
        home: CronField,
    },
    /// A name in full.
    LongName {
        /// Its three letters.
        short: String,
    },
    /// A range whose end is before its start.
    Backwards {
        /// The same days or hours, written so that it is accepted.
        cure: String,
    },
    /// A range without a start or an end.
    OpenRange,
    /// `L`, `W` or `#` inside a range.
    SpecialInRange,
    /// A step behind a single number or behind nothing.
    StepWithoutRange {
        /// What was probably meant.
        cure: String,
    },
    /// A step that is no number.
    BadStep {
        /// What stands there.
        step: String,
    },
    /// A step of zero.
    ZeroStep,
    /// `?` outside the two day fields, or with something else.
    QuestionMark,
    /// `L-n`.
    LastMinus,
    /// `L` alone in the day-of-week field.
    BareLast,
    /// `L` or `LW` in a field that has no last day.
    LastElsewhere,
    /// `W` without a day.
    BareNearest,
    /// `#` outside the day-of-week field.
    NthElsewhere,
    /// `#` without a weekday before it or a number from 1 to 5 behind it.
    BadNth {
        /// What was probably meant.
        cure: Option<String>,
    },
    /// `H`, Jenkins' hashed value.
    Hashed,
    /// `+` anywhere but before the day of week.
    Plus,
    /// No day of any year matches.
    NeverFires {
        /// The first day asked for and the most days the months asked for have, if that is the reason.
        missing_day: Option<(u32, u32)>,
    },
    /// croner refuses what the dialect allows.
    Parser {
        /// croner's words.
        message: String,
    },
}

impl CronError {
    /// What is wrong, as a sentence without an end mark.
    #[must_use]
    pub fn problem(&self) -> String {
        let the = |what: &str| match self.field {
            Some(field) => format!("{what} in the {field} field"),
            None => what.to_owned(),
        };
        match &self.kind {
            CronErrorKind::TooLong { bytes } => {
                format!("the expression has {bytes} bytes, at most {EXPRESSION_MAX} are read")
            }
            CronErrorKind::Empty => "the expression is empty".to_owned(),
            CronErrorKind::FieldCount { found } => {
                let s = if *found == 1 { "" } else { "s" };
                format!("a cron expression has 5, 6 or 7 fields, this one has {found} field{s}")
            }
            CronErrorKind::UnknownWord { word, .. } => format!("{word} is not a known word"),
            CronErrorKind::AfterWord { word } => format!("nothing can follow {word}"),
            CronErrorKind::EveryWord { .. } => "@every is not a cron expression but a schedule of its own".to_owned(),
            CronErrorKind::RebootWord => "@reboot is no time of the clock".to_owned(),
            CronErrorKind::BadCharacter { character } => the(&format!("{character:?} has no meaning")),
            CronErrorKind::EmptyItem => the("an item is missing"),
            CronErrorKind::NotAValue { text, .. } => the(&format!("`{text}` is not a value")),
            CronErrorKind::OutOfBounds { value } => match self.field {
                Some(field) => {
                    let (low, high) = field.bounds();
                    format!("{value} is out of range: the {field} field goes from {low} to {high}")
                }
                None => format!("{value} is out of range"),
            },
            CronErrorKind::NameElsewhere { name, home } => {
                the(&format!("{name} is the name of a {}, it cannot stand", noun(*home)))
            }
            CronErrorKind::LongName { .. } => the("a name has three letters"),
            CronErrorKind::Backwards { .. } => the("a range goes backwards"),
            CronErrorKind::OpenRange => the("a range needs both a start and an end"),
            CronErrorKind::SpecialInRange => the("L, W and # cannot be part of a range"),
            CronErrorKind::StepWithoutRange { .. } => the("a step needs `*` or a range before it"),
            CronErrorKind::BadStep { step } if step.is_empty() => the("a step is missing after `/`"),
            CronErrorKind::BadStep { step } => the(&format!("`{step}` is not a step")),
            CronErrorKind::ZeroStep => the("a step of 0 leads nowhere"),
            CronErrorKind::QuestionMark => match self.field {
                Some(field) if field.is_day() => the("`?` stands beside something else"),
                _ => the("`?` cannot stand"),
            },
            CronErrorKind::LastMinus => the("a distance from the last day is not supported"),
            CronErrorKind::BareLast => the("L needs a weekday before it"),
            CronErrorKind::LastElsewhere => the("L has no meaning"),
            CronErrorKind::BareNearest => the("W needs a day before it"),
            CronErrorKind::NthElsewhere => the("`#` has no meaning"),
            CronErrorKind::BadNth { .. } => the("`#` stands between a weekday and a number from 1 to 5"),
            CronErrorKind::Hashed => the("H is not supported"),
            CronErrorKind::Plus => the("`+` cannot stand"),
            CronErrorKind::NeverFires {
                missing_day: Some((day, longest)),
            } => {
                format!(
                    "it would never fire: day {day} is asked for, and the months asked for have at most {longest} days"
                )
            }
            CronErrorKind::NeverFires { missing_day: None } => {
                "it would never fire: no day of any year matches".to_owned()
            }
            CronErrorKind::Parser { message } => format!("the parser refuses it: {message}"),
        }
    }

    /// How to put it right, where that can be known.
    #[must_use]
    pub fn cure(&self) -> Option<String> {
        match &self.kind {
            CronErrorKind::FieldCount { found: 1 } => {
                Some("write minute, hour, day of month, month and day of week, or a word such as @daily".to_owned())
            }
            CronErrorKind::FieldCount { found } if *found > 7 => {
                Some("end it after the day of week, or after the year if seconds come first".to_owned())
            }
            CronErrorKind::Empty | CronErrorKind::FieldCount { .. } => {
                Some("write minute, hour, day of month, month and day of week, as in `30 2 * * MON-FRI`".to_owned())
            }
            CronErrorKind::UnknownWord { near: Some(near), .. } => Some(format!("did you mean {near}?")),
            CronErrorKind::UnknownWord { near: None, .. } => {
                Some("known are @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly".to_owned())
            }
            CronErrorKind::AfterWord { word } => Some(format!("write {word} alone, or the fields without it")),
            CronErrorKind::EveryWord { length } if length.is_empty() => {
                Some("use --every with a length, as in --every 5m".to_owned())
            }
            CronErrorKind::EveryWord { length } => Some(format!("use --every '{length}'")),
            CronErrorKind::BadCharacter { character: ';' } => Some("separate the items of a list with `,`".to_owned()),
            CronErrorKind::BadCharacter { character } if character.is_whitespace() => {
                Some("separate fields with plain spaces".to_owned())
            }
            CronErrorKind::EmptyItem => Some("remove the comma, or write a value".to_owned()),
            CronErrorKind::NotAValue { near: Some(near), .. } => Some(format!("did you mean {near}?")),
            CronErrorKind::NotAValue { near: None, .. } => match self.field? {
                CronField::Month => Some("write 1 to 12 or JAN to DEC".to_owned()),
                CronField::DayOfWeek => Some("write 0 to 7 or SUN to SAT".to_owned()),
                field => Some(format!(
                    "write a number from {} to {}",
                    field.bounds().0,
                    field.bounds().1
                )),
            },
            CronErrorKind::NameElsewhere { home, .. } => Some(match home {
                CronField::Month => "the month is the field before the day of week".to_owned(),
                _ => "the day of week is the fifth of five fields, or the sixth if seconds come first".to_owned(),
            }),
            CronErrorKind::LongName { short } => Some(format!("write {short}")),
            CronErrorKind::Backwards { cure } | CronErrorKind::StepWithoutRange { cure } => {
                Some(format!("write {cure}"))
            }
            CronErrorKind::SpecialInRange => Some("list the days one by one, separated by commas".to_owned()),
            CronErrorKind::ZeroStep => Some("write a step of 1 or more".to_owned()),
            CronErrorKind::QuestionMark => Some(match self.field {
                Some(field) if field.is_day() => "write `?` or `*` alone".to_owned(),
                _ => "write `*`".to_owned(),
            }),
            CronErrorKind::LastMinus => Some("use L for the last day or LW for the last weekday".to_owned()),
            CronErrorKind::BareLast => Some(
                "write 5L for the last Friday of the month; the last day is L in the day of month field".to_owned(),
            ),
            CronErrorKind::LastElsewhere => Some("L and LW belong in the day of month field".to_owned()),
            CronErrorKind::BareNearest => Some("write 15W for the weekday nearest to the 15th".to_owned()),
            CronErrorKind::NthElsewhere => {
                Some("`#` belongs in the day of week field, as in MON#1 for the first Monday".to_owned())
            }
            CronErrorKind::BadNth { cure: Some(cure) } => Some(format!("write {cure}")),
            CronErrorKind::BadNth { cure: None } => Some("write MON#1 for the first Monday of the month".to_owned()),
            CronErrorKind::Hashed => Some("write a number, such as 17, and another for each task".to_owned()),
            CronErrorKind::Plus => Some("`+` stands before the day of week, to require both day fields".to_owned()),
            CronErrorKind::OutOfBounds { .. } => self.bounds_cure(),
            CronErrorKind::OpenRange => Some("write both, as in 1-5".to_owned()),
            CronErrorKind::BadStep { .. } => Some("write a number after `/`, as in */5".to_owned()),
            CronErrorKind::NeverFires { .. } => {
                Some("use L for the last day of the month, or other months or years".to_owned())
            }
            CronErrorKind::RebootWord => {
                Some("it stands alone in `taskctl add`, as `--boot` does, and has no time to show".to_owned())
            }
            CronErrorKind::BadCharacter { .. } | CronErrorKind::TooLong { .. } | CronErrorKind::Parser { .. } => None,
        }
    }

    fn bounds_cure(&self) -> Option<String> {
        let CronErrorKind::OutOfBounds { value } = &self.kind else {
            return None;
        };
        match (self.field?, value.trim_start_matches('0')) {
            (CronField::Second | CronField::Minute, "60") | (CronField::Hour, "24") => Some("write 0".to_owned()),
            (CronField::DayOfMonth, "") => Some("the first day is 1".to_owned()),
            (CronField::Month, "") => Some("the first month is 1".to_owned()),
            (field, _) => Some(format!(
                "write a number from {} to {}",
                field.bounds().0,
                field.bounds().1
            )),
        }
    }
}

fn noun(home: CronField) -> &'static str {
    match home {
        CronField::Month => "month",
        _ => "weekday",
    }
}

impl fmt::Display for CronError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem())?;
        match self.cure() {
            Some(cure) => write!(f, "; {cure}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CronError {}
