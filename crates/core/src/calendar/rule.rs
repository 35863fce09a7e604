//! Days that come again.
//!
//! ```text
//! rule    = "weekends" | weekday | nth weekday [["of"] month] | "easter" [("+" | "-") days] | MM-DD
//! nth     = "1st" | "2nd" | "3rd" | "4th" | "5th" | "last", or in words
//! weekday = "mon" | "monday" | "mondays" | …
//! month   = "jan" | "january" | …
//! ```
//!
//! Case does not matter. Without a month, the nth weekday of every month is meant.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::day::{digits, parse_date};
use super::error::{EntryError, EntryErrorKind};
use crate::schedule::civil::{MONTHS, WEEKDAYS, date_from_days, days_in_month};
use crate::schedule::nearest::nearest;

const ORDINALS: [&str; 6] = ["1st", "2nd", "3rd", "4th", "5th", "last"];
const ORDINAL_WORDS: [&str; 6] = ["first", "second", "third", "fourth", "fifth", "last"];
/// Most characters of a text that are repeated in an error.
const SHOWN: usize = 40;

/// Days that come again: `weekends`, `mon`, `1st mon`, `last mon may`, `easter+1`, `12-25`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rule(pub(super) Kind);

/// The kinds of rules. Months are 1 to 12, and days are those a month has in some year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// Saturdays and Sundays.
    Weekends,
    /// A day of every week.
    Weekday(Weekday),
    /// A weekday of a month, or of every month. A fifth one is in some months only.
    Nth {
        nth: Nth,
        weekday: Weekday,
        /// `None` for every month.
        month: Option<u8>,
    },
    /// Easter Sunday of the Gregorian calendar, or a day before or after it.
    Easter {
        /// Days after it, in [`Rule::EASTER_OFFSETS`]; -2 is Good Friday.
        offset: i16,
    },
    /// The same day every year, or every leap year.
    Yearly { month: u8, day: u8 },
}

/// A day of the week, 0 = Sunday.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Weekday(u8);

impl Weekday {
    pub fn bit(self) -> u8 {
        1 << self.0
    }
}

/// Which of the days of one weekday in a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Nth {
    First,
    Second,
    Third,
    Fourth,
    Fifth,
    Last,
}

impl Nth {
    const ALL: [Nth; 6] = [Nth::First, Nth::Second, Nth::Third, Nth::Fourth, Nth::Fifth, Nth::Last];

    pub fn index(self) -> usize {
        self as usize
    }
}

impl Rule {
    /// The distances from Easter that can be written. With these, the day is in the year of that Easter.
    pub const EASTER_OFFSETS: RangeInclusive<i16> = -80..=250;

    /// Reads a rule.
    ///
    /// # Errors
    /// [`EntryError`] says what is wrong, where, and how to put it right.
    pub fn parse(text: &str) -> Result<Self, EntryError> {
        let trimmed = text.trim();
        let whole = |kind| Err(EntryError::whole(kind, trimmed).inside(text, trimmed));
        if let Some(offset) = strip_word(trimmed, "easter") {
            return match easter_offset(offset) {
                Ok(offset) => Ok(Rule(Kind::Easter { offset })),
                Err(kind) => whole(kind),
            };
        }
        let word = |part: &str, wanted, known: &[&'static str]| {
            EntryError::whole(unknown(part, wanted, known), part).inside(text, part)
        };
        let mut words = trimmed.split_whitespace();
        let parts = (words.next(), words.next(), words.next(), words.next(), words.next());
        let (nth, weekday, month) = match parts {
            (None, ..) => return Err(EntryError::whole(EntryErrorKind::Empty, text)),
            (Some(one), None, ..) => {
                return single(one)
                    .map(Rule)
                    .map_err(|kind| EntryError::whole(kind, one).inside(text, one));
            }
            (Some(nth), Some(day), None, ..) => (nth, day, None),
            (Some(nth), Some(day), Some(of), Some(month), None) if of.eq_ignore_ascii_case("of") => {
                (nth, day, Some(month))
            }
            (Some(nth), Some(day), Some(month), None, _) => (nth, day, Some(month)),
            _ => return whole(EntryErrorKind::NotARule { text: shown(trimmed) }),
        };
        let nth = parse_nth(nth).ok_or_else(|| word(nth, "1st, 2nd, 3rd, 4th, 5th or last", &ORDINALS))?;
        let weekday = parse_weekday(weekday).ok_or_else(|| word(weekday, "a weekday", &WEEKDAYS))?;
        let month = match month {
            Some(month) => Some(parse_name(month, &MONTHS).ok_or_else(|| word(month, "a month", &MONTHS))? + 1),
            None => None,
        };
        Ok(Rule(Kind::Nth { nth, weekday, month }))
    }
}

/// A rule of one word.
fn single(word: &str) -> Result<Kind, EntryErrorKind> {
    if word.eq_ignore_ascii_case("weekends") || word.eq_ignore_ascii_case("weekend") {
        return Ok(Kind::Weekends);
    }
    if let Some(weekday) = parse_weekday(word) {
        return Ok(Kind::Weekday(weekday));
    }
    if let Ok(day) = parse_date(word) {
        let (_, month, day) = date_from_days(day);
        let yearly = format!("{month:02}-{day:02}");
        return Err(EntryErrorKind::DateInRules { yearly });
    }
    if let Some((month, day)) = word.split_once('-')
        && let (Some((2, month)), Some((2, day))) = (digits(month), digits(day))
    {
        // 2000 is a leap year.
        if !(1..=12).contains(&month) || day == 0 || day > days_in_month(2000, month) {
            return Err(EntryErrorKind::NoSuchMonthDay);
        }
        // The casts are of a month and a day.
        let (month, day) = (month as u8, day as u8);
        return Ok(Kind::Yearly { month, day });
    }
    let known = ["weekends", "easter"].into_iter().chain(WEEKDAYS);
    match nearest(word, known).filter(|_| word.len() > 3) {
        Some(near) => Err(EntryErrorKind::UnknownWord {
            word: shown(word),
            wanted: "a rule",
            near: Some(near.to_owned()),
        }),
        None => Err(EntryErrorKind::NotARule { text: shown(word) }),
    }
}

fn easter_offset(text: &str) -> Result<i16, EntryErrorKind> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(0);
    }
    let (sign, number) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(number), _) => (1, number),
        (_, Some(number)) => (-1, number),
        (None, None) => return Err(EntryErrorKind::BadOffsetFromEaster),
    };
    let number = number.trim();
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(EntryErrorKind::BadOffsetFromEaster);
    }
    // What is no such number is too large for one.
    let offset = number.parse::<i16>().map_or(i16::MAX, |number| number) * sign;
    let near = Rule::EASTER_OFFSETS.contains(&offset);
    near.then_some(offset).ok_or(EntryErrorKind::TooFarFromEaster)
}

/// What follows a word, where it is the first and no other begins with it.
fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(word.len())?;
    (start.eq_ignore_ascii_case(word) && !rest.starts_with(|next: char| next.is_alphanumeric())).then_some(rest)
}

fn parse_nth(word: &str) -> Option<Nth> {
    let at = |names: &[&str]| names.iter().position(|name| name.eq_ignore_ascii_case(word));
    at(&ORDINALS)
        .or_else(|| at(&ORDINAL_WORDS))
        .map(|index| Nth::ALL[index])
}

fn parse_weekday(word: &str) -> Option<Weekday> {
    let plural = word.strip_suffix(['s', 'S']).filter(|name| name.len() > 3);
    plural
        .and_then(|name| parse_name(name, &WEEKDAYS))
        .or_else(|| parse_name(word, &WEEKDAYS))
        .map(Weekday)
}

/// The index of a name, in full or by its first three letters.
fn parse_name(word: &str, names: &[&str]) -> Option<u8> {
    let index = names
        .iter()
        .position(|name| name.eq_ignore_ascii_case(word) || name[..3].eq_ignore_ascii_case(word))?;
    u8::try_from(index).ok()
}

fn unknown(word: &str, wanted: &'static str, known: &[&'static str]) -> EntryErrorKind {
    let number = word.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let ordinal = known
        .iter()
        .find(|name| digits(number).is_some() && name.starts_with(number));
    // Among names of three letters any other would be near.
    let near = ordinal
        .copied()
        .or_else(|| nearest(word, known.iter().copied()).filter(|_| word.len() > 3));
    EntryErrorKind::UnknownWord {
        word: shown(word),
        wanted,
        near: near.map(str::to_owned),
    }
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

impl fmt::Display for Weekday {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&WEEKDAYS[usize::from(self.0)][..3])
    }
}

impl fmt::Display for Nth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ORDINALS[self.index()])
    }
}

/// The rule in the shortest form that is read.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Weekends => f.write_str("weekends"),
            Kind::Weekday(weekday) => weekday.fmt(f),
            Kind::Nth { nth, weekday, month } => {
                write!(f, "{nth} {weekday}")?;
                match month.and_then(|month| MONTHS.get(usize::from(month) - 1)) {
                    Some(month) => write!(f, " {}", &month[..3]),
                    None => Ok(()),
                }
            }
            Kind::Easter { offset: 0 } => f.write_str("easter"),
            Kind::Easter { offset } => write!(f, "easter{offset:+}"),
            Kind::Yearly { month, day } => write!(f, "{month:02}-{day:02}"),
        }
    }
}

impl FromStr for Rule {
    type Err = EntryError;
    fn from_str(text: &str) -> Result<Self, EntryError> {
        Rule::parse(text)
    }
}

impl TryFrom<String> for Rule {
    type Error = EntryError;
    fn try_from(text: String) -> Result<Self, EntryError> {
        Rule::parse(&text)
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> String {
        rule.to_string()
    }
}
