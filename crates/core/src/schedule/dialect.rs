//! The strict reading of a cron expression: every character has its place, and every error its field, column and cure.
//!
//! croner is laxer than the dialect: it replaces names anywhere, skips empty list items, takes `L` where it can never match.
//! So the text is read here first, and croner is given a rewritten one that has numbers only and nothing to guess.

use std::fmt::Write as _;

use super::civil::{MONTHS, WEEKDAYS};
use super::error::{CronError, CronErrorKind as Kind, CronField as Field};
use super::nearest::nearest;

/// Most bytes of a cron expression; a longer one is refused before it is looked at.
pub const EXPRESSION_MAX: usize = 1024;
/// Steps above this select the first value only, as this one does.
const STEP_MAX: u32 = 9_999;

const WORDS: [(&str, &str); 7] = [
    ("yearly", "0 0 1 1 *"),
    ("annually", "0 0 1 1 *"),
    ("monthly", "0 0 1 * *"),
    ("weekly", "0 0 * * 0"),
    ("daily", "0 0 * * *"),
    ("midnight", "0 0 * * *"),
    ("hourly", "0 * * * *"),
];

/// What the strict reading found out, for the compiled form.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The expression with seven fields, in numbers, as croner reads it without a doubt.
    pub plain: String,
    /// None of second, minute and hour begins with `*`.
    pub fixed: bool,
    /// `L` stands in the day-of-month field.
    pub last_day: bool,
    /// `LW` stands in the day-of-month field.
    pub last_weekday: bool,
    /// The year field is not `*`.
    pub years: bool,
    /// Where the day-of-month to day-of-week fields stand, for an error about all of them.
    pub days_span: (usize, usize),
}

/// A piece of the expression, with the byte at which it begins.
#[derive(Clone, Copy)]
struct Piece<'a> {
    at: usize,
    text: &'a str,
}

impl<'a> Piece<'a> {
    fn split(self, separator: char) -> impl Iterator<Item = Piece<'a>> {
        let mut at = self.at;
        self.text.split(separator).map(move |text| {
            let piece = Piece { at, text };
            at += text.len() + separator.len_utf8();
            piece
        })
    }

    fn refuse(self, field: impl Into<Option<Field>>, kind: Kind) -> CronError {
        // Everything before a refused character is ASCII, so bytes are characters; only the piece itself may hold others.
        CronError {
            kind,
            field: field.into(),
            span: (self.at, self.at + self.text.chars().count().max(1)),
        }
    }
}

/// Reads an expression of five, six or seven fields, or an `@` word.
pub(super) fn read(text: &str) -> Result<Reading, CronError> {
    if text.len() > EXPRESSION_MAX {
        return Err(CronError {
            kind: Kind::TooLong { bytes: text.len() },
            field: None,
            span: (0, 0),
        });
    }
    let fields = split_fields(text);
    let Some(first) = fields.first() else {
        return Err(CronError {
            kind: Kind::Empty,
            field: None,
            span: (0, text.chars().count()),
        });
    };
    if first.text.starts_with('@') {
        return read_word(&fields);
    }
    let Some(names) = field_names(fields.len()) else {
        return Err(wrong_count(text, &fields, fields.len()));
    };
    let mut reading = Reading {
        fixed: true,
        plain: String::with_capacity(text.len() + 8),
        ..Reading::default()
    };
    if fields.len() == 5 {
        reading.plain.push('0');
    }
    for (field, piece) in names.iter().zip(&fields) {
        if !reading.plain.is_empty() {
            reading.plain.push(' ');
        }
        read_field(*field, *piece, &mut reading)?;
    }
    if fields.len() < 7 {
        reading.plain.push_str(" *");
    }
    let (day, weekday) = (fields[fields.len().min(6) - 3], fields[fields.len().min(6) - 1]);
    reading.days_span = (day.at, weekday.at + weekday.text.len());
    Ok(reading)
}

/// Which fields an expression of so many has.
pub(super) fn field_names(count: usize) -> Option<&'static [Field]> {
    match count {
        5 => Some(&Field::ALL[1..6]),
        6 => Some(&Field::ALL[..6]),
        7 => Some(&Field::ALL),
        _ => None,
    }
}

/// The fields of an expression as text, of a word those of what it stands for.
pub(super) fn field_texts(text: &str) -> Vec<&str> {
    let texts = |text| split_fields(text).into_iter().map(|piece| piece.text).collect();
    match text.trim_ascii().strip_prefix('@') {
        Some(word) => meaning(word).map(texts).unwrap_or_default(),
        None => texts(text),
    }
}

/// A number or a name as the value of a field; nothing for what is neither.
pub(super) fn value(field: Field, text: &str) -> Option<u32> {
    read_value(field, Piece { at: 0, text }).ok()
}

/// The fields that a word stands for.
fn meaning(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_lowercase();
    WORDS.iter().find(|(known, _)| *known == word).map(|(_, plain)| *plain)
}

fn split_fields(text: &str) -> Vec<Piece<'_>> {
    let mut fields = Vec::new();
    let mut start = None;
    for (at, byte) in text.bytes().enumerate() {
        match (byte.is_ascii_whitespace(), start) {
            (false, None) => start = Some(at),
            (true, Some(begun)) => {
                fields.push(Piece {
                    at: begun,
                    text: &text[begun..at],
                });
                start = None;
            }
            _ => {}
        }
    }
    if let Some(begun) = start {
        fields.push(Piece {
            at: begun,
            text: &text[begun..],
        });
    }
    fields
}

/// The number of fields is wrong, unless a stray character explains it better.
fn wrong_count(text: &str, fields: &[Piece<'_>], found: usize) -> CronError {
    let stray = text.char_indices().find(|(_, character)| !character.is_ascii());
    if let Some((at, character)) = stray {
        return CronError {
            kind: Kind::BadCharacter { character },
            field: None,
            span: (at, at + 1),
        };
    }
    let span = match fields.get(7) {
        Some(eighth) => (eighth.at, text.trim_ascii_end().len()),
        None => (fields[0].at, text.trim_ascii_end().len()),
    };
    CronError {
        kind: Kind::FieldCount { found },
        field: None,
        span,
    }
}

fn read_word(fields: &[Piece<'_>]) -> Result<Reading, CronError> {
    let first = fields[0];
    let word = first.text[1..].to_ascii_lowercase();
    if word == "every" {
        let length = fields[1..].iter().map(|piece| piece.text).collect::<Vec<_>>().join(" ");
        return Err(first.refuse(None, Kind::EveryWord { length }));
    }
    if word == "reboot" {
        return Err(first.refuse(None, Kind::RebootWord));
    }
    let Some(plain) = meaning(&word) else {
        let near = nearest(&word, WORDS.iter().map(|(known, _)| *known)).map(|near| format!("@{near}"));
        return Err(first.refuse(
            None,
            Kind::UnknownWord {
                word: first.text.to_owned(),
                near,
            },
        ));
    };
    if let Some(more) = fields.get(1) {
        return Err(more.refuse(
            None,
            Kind::AfterWord {
                word: first.text.to_owned(),
            },
        ));
    }
    let mut reading = read(plain)?;
    reading.days_span = (first.at, first.at + first.text.len());
    Ok(reading)
}

fn read_field(field: Field, piece: Piece<'_>, reading: &mut Reading) -> Result<(), CronError> {
    let mut piece = piece;
    let starred = piece.text.starts_with('*');
    match field {
        Field::Second | Field::Minute | Field::Hour => reading.fixed &= !starred,
        Field::DayOfWeek => {
            if let Some(rest) = piece.text.strip_prefix('+') {
                if rest.is_empty() {
                    return Err(piece.refuse(field, Kind::EmptyItem));
                }
                reading.plain.push('+');
                piece = Piece {
                    at: piece.at + 1,
                    text: rest,
                };
            }
        }
        Field::Year => reading.years = piece.text != "*",
        Field::DayOfMonth | Field::Month => {}
    }
    if piece.text == "*" || (piece.text == "?" && field.is_day()) {
        reading.plain.push('*');
        return Ok(());
    }
    for (index, item) in piece.split(',').enumerate() {
        if index > 0 {
            reading.plain.push(',');
        }
        read_item(field, item, reading)?;
    }
    Ok(())
}

fn read_item(field: Field, item: Piece<'_>, reading: &mut Reading) -> Result<(), CronError> {
    if item.text.is_empty() {
        return Err(item.refuse(field, Kind::EmptyItem));
    }
    if let Some((offset, character)) = item.text.char_indices().find(|(_, character)| !is_known(*character)) {
        let at = item.at + offset;
        return Err(Piece {
            at,
            text: &item.text[offset..offset + character.len_utf8()],
        }
        .refuse(field, Kind::BadCharacter { character }));
    }
    if let Some((base, step)) = item.text.split_once('/') {
        let step = Piece {
            at: item.at + base.len() + 1,
            text: step,
        };
        return read_step(
            field,
            item,
            Piece {
                at: item.at,
                text: base,
            },
            step,
            reading,
        );
    }
    if item.text == "*" {
        // croner knows `*` only alone.
        write_plain(reading, format_args!("{}-{}", field.bounds().0, field.wrap_end()));
        return Ok(());
    }
    if let Some((low, high)) = item.text.split_once('-') {
        return read_range(field, item, low, high, reading).map(|_| ());
    }
    let upper = item.text.to_ascii_uppercase();
    match field {
        Field::DayOfMonth if upper == "L" => {
            reading.last_day = true;
            reading.plain.push('L');
            return Ok(());
        }
        Field::DayOfMonth if upper == "LW" => {
            reading.last_weekday = true;
            reading.plain.push_str("LW");
            return Ok(());
        }
        Field::DayOfMonth if upper.len() > 1 && upper.ends_with('W') => {
            let day = Piece {
                at: item.at,
                text: &item.text[..item.text.len() - 1],
            };
            let day = read_value(field, day)?;
            write_plain(reading, format_args!("{day}W"));
            return Ok(());
        }
        Field::DayOfWeek if item.text.contains('#') => return read_nth(item, reading),
        Field::DayOfWeek if upper.len() > 1 && upper.ends_with('L') => {
            let day = Piece {
                at: item.at,
                text: &item.text[..item.text.len() - 1],
            };
            let day = read_value(field, day)?;
            write_plain(reading, format_args!("{}L", day % 7));
            return Ok(());
        }
        _ => {}
    }
    let value = read_value(field, item)?;
    write_plain(reading, format_args!("{value}"));
    Ok(())
}

/// `*/n` or `a-b/n`.
fn read_step(
    field: Field,
    item: Piece<'_>,
    base: Piece<'_>,
    step: Piece<'_>,
    reading: &mut Reading,
) -> Result<(), CronError> {
    if step.text.is_empty() || !step.text.bytes().all(|byte| byte.is_ascii_digit()) {
        let shown = if step.text.is_empty() { item } else { step };
        return Err(shown.refuse(
            field,
            Kind::BadStep {
                step: step.text.to_owned(),
            },
        ));
    }
    let step_value = number(step.text).min(STEP_MAX);
    let (lowest, highest) = field.bounds();
    if base.text == "*" {
        if step_value == 0 {
            return Err(step.refuse(field, Kind::ZeroStep));
        }
        // croner counts years from 1 and would take the odd ones for `*/2`.
        match field {
            Field::Year => write_plain(reading, format_args!("{lowest}-{highest}/{step_value}")),
            _ => write_plain(reading, format_args!("*/{step_value}")),
        }
        return Ok(());
    }
    if let Some((low, high)) = base.text.split_once('-') {
        read_range(field, base, low, high, reading)?;
        if step_value == 0 {
            return Err(step.refuse(field, Kind::ZeroStep));
        }
        write_plain(reading, format_args!("/{step_value}"));
        return Ok(());
    }
    if base.text.is_empty() {
        return Err(item.refuse(
            field,
            Kind::StepWithoutRange {
                cure: format!("*/{}", step.text),
            },
        ));
    }
    let start = read_value(field, base)?;
    let cure = format!("{start}-{highest}/{}", step.text);
    Err(item.refuse(field, Kind::StepWithoutRange { cure }))
}

fn read_range(field: Field, item: Piece<'_>, low: &str, high: &str, reading: &mut Reading) -> Result<(), CronError> {
    let low = Piece { at: item.at, text: low };
    let high = Piece {
        at: item.at + low.text.len() + 1,
        text: high,
    };
    if low.text.eq_ignore_ascii_case("L") && field == Field::DayOfMonth {
        return Err(item.refuse(field, Kind::LastMinus));
    }
    for end in [low, high] {
        if end.text.is_empty() {
            return Err(item.refuse(field, Kind::OpenRange));
        }
        let special = end.text.contains('#') || end.text.len() > 1 && field.is_day() && is_special(end.text);
        if special {
            return Err(item.refuse(field, Kind::SpecialInRange));
        }
    }
    let (a, b) = (read_value(field, low)?, read_value(field, high)?);
    if a > b {
        let (lowest, highest) = field.bounds();
        let sunday_last = field == Field::DayOfWeek && b == 0;
        let cure = match (sunday_last, a == highest) {
            (true, _) => format!("{a}-7"),
            (false, true) => format!("{a},{}", range_text(lowest, b)),
            (false, false) => format!("{a}-{},{}", field.wrap_end(), range_text(lowest, b)),
        };
        return Err(item.refuse(field, Kind::Backwards { cure }));
    }
    write_plain(reading, format_args!("{a}-{b}"));
    Ok(())
}

fn range_text(low: u32, high: u32) -> String {
    if low == high {
        low.to_string()
    } else {
        format!("{low}-{high}")
    }
}

/// A number with a modifier letter behind it, such as `15W` or `5L`.
fn is_special(text: &str) -> bool {
    let (head, tail) = text.split_at(text.len() - 1);
    matches!(tail, "W" | "w" | "L" | "l") && head.bytes().all(|byte| byte.is_ascii_digit())
}

/// `d#n`: the n-th such weekday of the month.
fn read_nth(item: Piece<'_>, reading: &mut Reading) -> Result<(), CronError> {
    let field = Field::DayOfWeek;
    let (day, nth) = item.text.split_once('#').unwrap_or((item.text, ""));
    let nth = Piece {
        at: item.at + day.len() + 1,
        text: nth,
    };
    if day.is_empty() {
        return Err(item.refuse(field, Kind::BadNth { cure: None }));
    }
    let value = read_value(field, Piece { at: item.at, text: day })? % 7;
    let cure = nth.text.eq_ignore_ascii_case("L").then(|| format!("{day}L"));
    match nth.text.as_bytes() {
        [n @ b'1'..=b'5'] => {
            write_plain(reading, format_args!("{value}#{}", char::from(*n)));
            Ok(())
        }
        _ => Err(item.refuse(field, Kind::BadNth { cure })),
    }
}

/// A number inside the field's bounds, or one of its names.
fn read_value(field: Field, piece: Piece<'_>) -> Result<u32, CronError> {
    let text = piece.text;
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let value = number(text);
        let (lowest, highest) = field.bounds();
        if value < lowest || value > highest {
            return Err(piece.refuse(field, Kind::OutOfBounds { value: text.to_owned() }));
        }
        return Ok(value);
    }
    let lower = text.to_ascii_lowercase();
    let name_in = |names: &[&str]| {
        names
            .iter()
            .position(|name| lower.len() >= 3 && *name == lower || name[..3] == lower)
    };
    let found = [
        (Field::Month, name_in(&MONTHS), 1),
        (Field::DayOfWeek, name_in(&WEEKDAYS), 0),
    ]
    .into_iter()
    .find_map(|(home, index, base)| index.map(|index| (home, index as u32 + base)));
    match found {
        Some((home, _)) if home != field => Err(piece.refuse(
            field,
            Kind::NameElsewhere {
                name: text.to_owned(),
                home,
            },
        )),
        Some((_, value)) if lower.len() == 3 => Ok(value),
        Some(_) => Err(piece.refuse(
            field,
            Kind::LongName {
                short: text[..3].to_ascii_uppercase(),
            },
        )),
        None => Err(not_a_value(field, piece, &lower)),
    }
}

fn not_a_value(field: Field, piece: Piece<'_>, lower: &str) -> CronError {
    let kind = match lower {
        "l" if field == Field::DayOfWeek => Kind::BareLast,
        "l" | "lw" if field == Field::DayOfMonth => Kind::SpecialInRange,
        "l" | "lw" => Kind::LastElsewhere,
        "w" if field == Field::DayOfMonth => Kind::BareNearest,
        "?" => Kind::QuestionMark,
        _ if lower.starts_with('h') && !lower[1..].starts_with(|c: char| c.is_ascii_alphabetic()) => Kind::Hashed,
        _ if lower.starts_with('+') => Kind::Plus,
        _ if lower.contains('#') => Kind::NthElsewhere,
        _ => {
            let names: &[&str] = match field {
                Field::Month => &MONTHS,
                Field::DayOfWeek => &WEEKDAYS,
                _ => &[],
            };
            let near = nearest(lower, names.iter().map(|name| &name[..3])).map(str::to_ascii_uppercase);
            Kind::NotAValue {
                text: piece.text.to_owned(),
                near,
            }
        }
    };
    piece.refuse(field, kind)
}

/// Digits as a number; as many as there are, a very large one is as good as any other.
fn number(digits: &str) -> u32 {
    digits.bytes().fold(0, |value: u32, digit| {
        value.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
    })
}

fn is_known(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '*' | '/' | '-' | '#' | '?' | '+' | '(' | ')')
}

fn write_plain(reading: &mut Reading, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = reading.plain.write_fmt(text);
}
