//! An accepted expression as it stands: its fields as text, and the same expression with another text in one of them. What a
//! compiled expression does not tell, such as `0` from `*/90`, is read here.

use super::dialect;
use super::error::CronField as Field;

/// An expression by its fields. A word such as `@daily` has the fields that it stands for.
pub(super) struct Written<'a> {
    names: &'static [Field],
    texts: Vec<&'a str>,
}

/// A field that is one item with a step, and nothing beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The first value.
    pub low: u32,
    /// The last value that may be meant.
    pub high: u32,
    /// At least 1.
    pub by: u32,
    /// Whether it is written `*/n`.
    pub starred: bool,
}

impl Step {
    /// How many values lie between the first and the last, both included.
    pub fn span(self) -> u32 {
        self.high - self.low + 1
    }

    /// The values that are meant.
    pub fn values(self) -> impl Iterator<Item = u32> {
        (self.low..=self.high).step_by(self.by.max(1) as usize)
    }
}

impl<'a> Written<'a> {
    /// Of an expression that is accepted; nothing for any other text.
    pub fn read(expr: &'a str) -> Option<Self> {
        let texts = dialect::field_texts(expr);
        let names = dialect::field_names(texts.len())?;
        Some(Written { names, texts })
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// The text of a field, without the `+` of a day of week; empty where there is no such field.
    pub fn text(&self, field: Field) -> &'a str {
        let text = self.place(field).map_or("", |place| self.texts[place]);
        match field {
            Field::DayOfWeek => text.strip_prefix('+').unwrap_or(text),
            _ => text,
        }
    }

    /// Whether a field is `*`, or `?` where that is the same, or is not there and means the same.
    pub fn is_any(&self, field: Field) -> bool {
        match self.text(field) {
            "" => field == Field::Year,
            text => text == "*" || text == "?" && field.is_day(),
        }
    }

    /// Whether a field is 0, or a second that is not there.
    pub fn is_zero(&self, field: Field) -> bool {
        match self.text(field) {
            "" => field == Field::Second,
            text => text.bytes().all(|byte| byte == b'0'),
        }
    }

    /// The value of a field that is a single number.
    pub fn number(&self, field: Field) -> Option<u32> {
        let text = self.text(field);
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits)
    }

    /// The step of a field that is nothing else.
    pub fn step(&self, field: Field) -> Option<Step> {
        let (base, by) = self.text(field).split_once('/')?;
        let starred = base == "*";
        let (low, high) = if starred {
            (field.bounds().0, field.wrap_end())
        } else {
            let (low, high) = base.split_once('-')?;
            (dialect::value(field, low)?, dialect::value(field, high)?)
        };
        // A list has a comma in its step, or begins with a number that no range is made of.
        let digits = !by.is_empty() && by.bytes().all(|byte| byte.is_ascii_digit());
        let by = by.parse().unwrap_or(u32::MAX);
        (digits && by > 0 && low <= high).then_some(Step { low, high, by, starred })
    }

    /// The expression with these fields written otherwise. A `+` stays.
    pub fn with(&self, changes: &[(Field, &str)]) -> String {
        let mut texts: Vec<String> = self.texts.iter().map(|text| (*text).to_owned()).collect();
        for (field, text) in changes {
            if let Some(place) = self.place(*field) {
                let plus = if *field == Field::DayOfWeek && texts[place].starts_with('+') {
                    "+"
                } else {
                    ""
                };
                texts[place] = format!("{plus}{text}");
            }
        }
        texts.join(" ")
    }

    fn place(&self, field: Field) -> Option<usize> {
        self.names.iter().position(|name| *name == field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(expr: &str) -> Written<'_> {
        Written::read(expr).expect("it is in the dialect")
    }

    #[test]
    fn fields_are_told_by_their_number() {
        let five = read(" 5  4 * * +MON ");
        assert_eq!((five.text(Field::Minute), five.text(Field::DayOfWeek)), ("5", "MON"));
        assert!(five.is_zero(Field::Second) && five.is_any(Field::Year) && five.is_any(Field::Month));
        assert_eq!(
            five.with(&[(Field::Minute, "6"), (Field::DayOfWeek, "2")]),
            "6 4 * * +2"
        );
        let seven = read("1 2 3 ? * * 2030");
        assert_eq!((seven.len(), seven.number(Field::Hour)), (7, Some(3)));
        assert!(seven.is_any(Field::DayOfMonth) && !seven.is_any(Field::Year) && !seven.is_zero(Field::Second));
        assert_eq!(read("@monthly").with(&[(Field::Hour, "7")]), "0 7 1 * *");
        assert!(Written::read("* * *").is_none());
    }

    #[test]
    fn a_step_is_one_item_and_no_list() {
        let step = |expr: &'static str, field| read(expr).step(field);
        let minutes = |low, high, by, starred| Some(Step { low, high, by, starred });
        assert_eq!(step("*/7 * * * *", Field::Minute), minutes(0, 59, 7, true));
        assert_eq!(step("10-20/15 * * * *", Field::Minute), minutes(10, 20, 15, false));
        assert_eq!(
            step("*/99999999999 * * * *", Field::Minute),
            minutes(0, 59, u32::MAX, true)
        );
        assert_eq!(step("0 0 * * MON-fri/2", Field::DayOfWeek), minutes(1, 5, 2, false));
        assert_eq!(step("0 0 * * */2", Field::DayOfWeek), minutes(0, 6, 2, true));
        for list in ["*/7,5 * * * *", "5,*/7 * * * *", "1-5,6-9/2 * * * *", "1-5/2,9 * * * *"] {
            assert_eq!(step(list, Field::Minute), None, "{list}");
        }
    }
}
