//! Expressions with the values that they stand for, made and matched without the code under test.

use jiff::civil::{Date, DateTime, Weekday};
use proptest::prelude::*;

/// A field as text and as the values it stands for.
#[derive(Clone, Debug)]
pub struct Field {
    pub text: String,
    pub values: Vec<bool>,
}

/// A day field: plain values and modifiers.
#[derive(Clone, Debug)]
pub enum Item {
    Plain(Field),
    LastDay,
    LastWeekday,
    Nearest(i8),
    Nth(i8, i8),
    LastOf(i8),
}

impl Item {
    fn text(&self) -> String {
        match self {
            Item::Plain(field) => field.text.clone(),
            Item::LastDay => "L".to_owned(),
            Item::LastWeekday => "LW".to_owned(),
            Item::Nearest(day) => format!("{day}W"),
            Item::Nth(day, n) => format!("{day}#{n}"),
            Item::LastOf(day) => format!("{day}L"),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Expression {
    pub second: Option<Field>,
    pub minute: Field,
    pub hour: Field,
    pub days: Option<Vec<Item>>,
    pub month: Field,
    pub weekdays: Option<Vec<Item>>,
    pub both: bool,
}

impl Expression {
    pub fn text(&self) -> String {
        let items = |items: &Option<Vec<Item>>| match items {
            Some(items) => items.iter().map(Item::text).collect::<Vec<_>>().join(","),
            None => "*".to_owned(),
        };
        let plus = if self.both { "+" } else { "" };
        let second = self
            .second
            .as_ref()
            .map(|field| format!("{} ", field.text))
            .unwrap_or_default();
        format!(
            "{second}{} {} {} {} {plus}{}",
            self.minute.text,
            self.hour.text,
            items(&self.days),
            self.month.text,
            items(&self.weekdays)
        )
    }

    pub fn is_fixed(&self) -> bool {
        let starred = |field: &Field| field.text.starts_with('*');
        !(self.second.as_ref().is_some_and(starred) || starred(&self.minute) || starred(&self.hour))
    }

    pub fn date_matches(&self, date: Date) -> bool {
        if !self.month.values[date.month() as usize] {
            return false;
        }
        let any = |items: &[Item]| items.iter().any(|item| item_matches(item, date));
        match (&self.days, &self.weekdays) {
            (None, None) => true,
            (Some(days), None) => any(days),
            (None, Some(weekdays)) => weekdays.iter().any(|item| weekday_matches(item, date)),
            (Some(days), Some(weekdays)) => {
                let (day, weekday) = (any(days), weekdays.iter().any(|item| weekday_matches(item, date)));
                if self.both { day && weekday } else { day || weekday }
            }
        }
    }

    pub fn matches(&self, at: DateTime) -> bool {
        self.minute.values[at.minute() as usize]
            && self.hour.values[at.hour() as usize]
            && self
                .second
                .as_ref()
                .map_or(at.second() == 0, |field| field.values[at.second() as usize])
            && self.date_matches(at.date())
    }
}

fn is_workday(date: Date) -> bool {
    !matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday)
}

fn item_matches(item: &Item, date: Date) -> bool {
    let month = || (1..=date.days_in_month()).map(|day| date.with().day(day).build().unwrap());
    match item {
        Item::Plain(field) => field.values[date.day() as usize],
        Item::LastDay => date == date.last_of_month(),
        Item::LastWeekday => month().rfind(|date| is_workday(*date)) == Some(date),
        Item::Nearest(day) if *day > date.days_in_month() => false,
        Item::Nearest(day) => {
            month()
                .filter(|date| is_workday(*date))
                .min_by_key(|date| (date.day() - day).abs())
                == Some(date)
        }
        Item::Nth(..) | Item::LastOf(_) => unreachable!("not in a day of month"),
    }
}

fn weekday_matches(item: &Item, date: Date) -> bool {
    let number = date.weekday().to_sunday_zero_offset();
    match item {
        Item::Plain(field) => field.values[number as usize] || number == 0 && field.values[7],
        Item::Nth(day, n) => number == day % 7 && (date.day() - 1) / 7 + 1 == *n,
        Item::LastOf(day) => number == day % 7 && date.day() + 7 > date.days_in_month(),
        _ => unreachable!("not in a day of week"),
    }
}

fn single(low: usize, high: usize) -> impl Strategy<Value = Field> {
    (low..=high).prop_map(move |value| Field {
        text: value.to_string(),
        values: (0..=high).map(|v| v == value).collect(),
    })
}

fn range(low: usize, high: usize) -> impl Strategy<Value = Field> {
    (low..=high, low..=high, prop_oneof![Just(0_usize), 1..=high + 2]).prop_map(move |(a, b, step)| {
        let (a, b) = (a.min(b), a.max(b));
        let text = if step == 0 {
            format!("{a}-{b}")
        } else {
            format!("{a}-{b}/{step}")
        };
        let values = (0..=high)
            .map(|v| v >= a && v <= b && (v - a).is_multiple_of(step.max(1)))
            .collect();
        Field { text, values }
    })
}

fn stars(low: usize, high: usize) -> impl Strategy<Value = Field> {
    prop_oneof![Just(0_usize), 1..=high + 2].prop_map(move |step| {
        let text = if step == 0 { "*".to_owned() } else { format!("*/{step}") };
        Field {
            text,
            values: (0..=high)
                .map(|v| v >= low && (v - low).is_multiple_of(step.max(1)))
                .collect(),
        }
    })
}

fn list(low: usize, high: usize) -> impl Strategy<Value = Field> {
    let item = prop_oneof![3 => single(low, high), 1 => range(low, high)];
    prop::collection::vec(item, 2..4).prop_map(|fields| {
        let text = fields
            .iter()
            .map(|field| field.text.as_str())
            .collect::<Vec<_>>()
            .join(",");
        let values = (0..fields[0].values.len())
            .map(|v| fields.iter().any(|field| field.values[v]))
            .collect();
        Field { text, values }
    })
}

pub fn field(low: usize, high: usize) -> impl Strategy<Value = Field> {
    prop_oneof![3 => single(low, high), 2 => stars(low, high), 2 => range(low, high), 2 => list(low, high)]
}

pub fn month() -> impl Strategy<Value = Field> {
    prop_oneof![4 => Just(Field { text: "*".to_owned(), values: vec![true; 13] }), 1 => field(1, 12)]
}

pub fn days() -> impl Strategy<Value = Option<Vec<Item>>> {
    let item = prop_oneof![
        3 => single(1, 31).prop_map(Item::Plain),
        3 => range(1, 31).prop_map(Item::Plain),
        1 => (1_usize..=40).prop_map(|step| Item::Plain(Field {
            text: format!("*/{step}"),
            values: (0..=31_usize).map(|day| day >= 1 && (day - 1).is_multiple_of(step)).collect(),
        })),
        1 => Just(Item::LastDay),
        1 => Just(Item::LastWeekday),
        2 => (1_i8..=31).prop_map(Item::Nearest),
    ];
    prop_oneof![2 => Just(None), 1 => prop::collection::vec(item, 1..3).prop_map(Some)]
}

pub fn weekdays() -> impl Strategy<Value = Option<Vec<Item>>> {
    let item = prop_oneof![
        3 => single(0, 7).prop_map(Item::Plain),
        2 => range(0, 7).prop_map(Item::Plain),
        1 => (0_i8..=7, 1_i8..=5).prop_map(|(day, n)| Item::Nth(day, n)),
        1 => (0_i8..=7).prop_map(Item::LastOf),
    ];
    prop_oneof![2 => Just(None), 1 => prop::collection::vec(item, 1..3).prop_map(Some)]
}

pub fn expression(seconds: bool) -> impl Strategy<Value = Expression> {
    let second = if seconds {
        field(0, 59).prop_map(Some).boxed()
    } else {
        Just(None).boxed()
    };
    (
        second,
        field(0, 59),
        field(0, 23),
        days(),
        month(),
        weekdays(),
        any::<bool>(),
    )
        .prop_map(|(second, minute, hour, days, month, weekdays, both)| Expression {
            second,
            minute,
            hour,
            days,
            month,
            weekdays,
            both,
        })
}
