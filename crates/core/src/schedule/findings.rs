//! What a person should know about a schedule that is accepted: surprises, not errors. Each has a word for scripts, a
//! sentence, and where there is one, a better expression.

use std::fmt;

use super::Schedule;
use super::civil::display_time;
use super::cron::Cron;
use super::duration::every_word;
use super::error::{CronError, CronErrorKind, CronField as Field};
use super::written::{Step, Written};
use crate::time::Timestamp;

/// Something about a schedule that may surprise. [`fmt::Display`] gives sentence and suggestion in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of surprise it is.
    pub code: FindingCode,
    /// A sentence, or two.
    pub message: String,
    /// A better expression, where there is one.
    pub suggestion: Option<String>,
}

/// The kinds of [`Finding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FindingCode {
    /// There is no fire time any more.
    NeverFires,
    /// The schedule cannot be read, so that the task is never due.
    Held,
    /// Both day fields are restricted, and one that matches is enough.
    EitherDay,
    /// A day field is `*/n`.
    DayStep,
    /// It fires on the 29th of February only.
    LeapYearsOnly,
    /// It names a day that some months do not have.
    ShortMonths,
    /// A step begins anew before it is whole.
    UnevenStep,
    /// A step is larger than what it steps through.
    LargeStep,
    /// The second is `*`.
    EverySecond,
    /// An hour is named, and the minute is `*`.
    EveryMinute,
    /// Clocks will skip a fire time.
    DstGap,
    /// Clocks will show a fire time twice.
    DstOverlap,
    /// Many other tasks are due in the same minute.
    SameMinute,
}

impl FindingCode {
    /// The word for it. Words stay as they are.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            FindingCode::NeverFires => "never-fires",
            FindingCode::Held => "held",
            FindingCode::EitherDay => "either-day",
            FindingCode::DayStep => "day-step",
            FindingCode::LeapYearsOnly => "leap-years-only",
            FindingCode::ShortMonths => "short-months",
            FindingCode::UnevenStep => "uneven-step",
            FindingCode::LargeStep => "large-step",
            FindingCode::EverySecond => "every-second",
            FindingCode::EveryMinute => "every-minute",
            FindingCode::DstGap => "dst-gap",
            FindingCode::DstOverlap => "dst-overlap",
            FindingCode::SameMinute => "same-minute",
        }
    }
}

impl Finding {
    /// One without a suggestion.
    #[must_use]
    pub fn new(code: FindingCode, message: impl Into<String>) -> Self {
        Finding {
            code,
            message: message.into(),
            suggestion: None,
        }
    }

    /// The same with a better expression.
    #[must_use]
    pub fn suggesting(self, expression: impl Into<Option<String>>) -> Self {
        Finding {
            suggestion: expression.into(),
            ..self
        }
    }

    /// A schedule that has no fire time any more.
    #[must_use]
    pub fn of_over(schedule: &Schedule, now: Timestamp) -> Option<Self> {
        let why = match schedule {
            // It never has one by itself.
            Schedule::Manual => return None,
            Schedule::Cron { .. } => "It never fires again: the years it names are over.",
            Schedule::At(_) => "It never fires again: its instant has passed.",
            Schedule::Every { .. } | Schedule::Termed(_) => "It never fires again.",
        };
        let is_over = schedule.next_after(now).is_none();
        is_over.then(|| Finding::new(FindingCode::NeverFires, why))
    }

    /// An expression that is refused only because it never fires; nothing for other errors.
    #[must_use]
    pub fn of_refused(error: &CronError) -> Option<Self> {
        matches!(error.kind, CronErrorKind::NeverFires { .. }).then(|| {
            let problem = error.problem();
            let mut first = problem.chars();
            let head = first.next().map(|c| c.to_ascii_uppercase());
            let message = head.into_iter().chain(first).collect::<String>() + ".";
            Finding::new(FindingCode::NeverFires, message)
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.suggestion {
            Some(expression) => write!(f, " Try `{expression}`."),
            None => Ok(()),
        }
    }
}

/// All there is to say about a schedule at an instant. `expr` is what a cron schedule was written as, and not looked at for
/// others. The work is bounded.
#[must_use]
pub fn findings(schedule: &Schedule, expr: &str, now: Timestamp) -> Vec<Finding> {
    if let Some(over) = Finding::of_over(schedule, now) {
        return vec![over];
    }
    let Schedule::Cron { cron, zone, rule } = schedule else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    if let Some(written) = Written::read(expr) {
        days(cron, &written, &mut findings);
        steps(cron, &written, &mut findings);
        stars(cron, &written, &mut findings);
    }
    let fires = |expr: &String| match every_word(expr) {
        Some(interval) => interval.is_ok(),
        None => Cron::parse(expr).is_ok_and(|cron| cron.next_after_by(zone, *rule, now).is_some()),
    };
    for finding in &mut findings {
        // What is restricted further may have no fire time left.
        finding.suggestion = finding.suggestion.take().filter(fires);
    }
    clock::changes(cron, zone, *rule, now, &mut findings);
    findings
}

fn days(cron: &Cron, written: &Written<'_>, findings: &mut Vec<Finding>) {
    if cron.either_day() {
        let weekdays = written.text(Field::DayOfWeek);
        let message = "It fires on days that match either the day of month or the day of week; `+` before the day of week \
                       requires both.";
        let both = written.with(&[(Field::DayOfWeek, &format!("+{weekdays}"))]);
        findings.push(Finding::new(FindingCode::EitherDay, message).suggesting(both));
    }
    for field in [Field::DayOfMonth, Field::DayOfWeek] {
        let step = written
            .step(field)
            .filter(|step| step.starred && step.by <= step.span());
        findings.extend(step.and_then(|step| day_step(cron, written, field, step)));
    }
    let Some(first) = cron.first_plain_day() else {
        return;
    };
    let last_day = || {
        let alone = written.number(Field::DayOfMonth).is_some();
        alone.then(|| written.with(&[(Field::DayOfMonth, "L")]))
    };
    if first == 29 && cron.only_february() {
        let message = "It fires in leap years only; L means the last day of every February.";
        findings.push(Finding::new(FindingCode::LeapYearsOnly, message).suggesting(last_day()));
    } else if first > 28 && cron.skips_months(first) {
        let message = format!("It does not fire in months without a day {first}; L means the last day of every month.");
        findings.push(Finding::new(FindingCode::ShortMonths, message).suggesting(last_day()));
    }
}

/// `*/n` in a day field: it begins anew with each month or week, and counts as a restriction.
fn day_step(cron: &Cron, written: &Written<'_>, field: Field, step: Step) -> Option<Finding> {
    let restricts = if cron.either_day() {
        format!(" In the {field} field it is a restriction too, which cron programs take differently.")
    } else {
        String::new()
    };
    let finding = |message: String| Finding::new(FindingCode::DayStep, message + &restricts);
    if step.by == 1 {
        // Alone it is what it seems to be.
        let plain = written.with(&[(field, "*")]);
        return (!restricts.is_empty()).then(|| finding("`*/1` stands for every day.".to_owned()).suggesting(plain));
    }
    if field == Field::DayOfMonth {
        let what = match step.values().last()? {
            1 => "it stands for day 1".to_owned(),
            last => format!("day {last} is followed by day 1"),
        };
        let message = format!("The step of {} days begins anew with each month: {what}.", step.by);
        return Some(finding(message));
    }
    const NAMES: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
    let names: Vec<&str> = step.values().map(|day| NAMES[day as usize % 7]).collect();
    let list = names.join(",");
    let message = format!(
        "The step of {} days begins anew with each week: it stands for {list}.",
        step.by
    );
    Some(finding(message).suggesting(written.with(&[(field, &list)])))
}

fn steps(cron: &Cron, written: &Written<'_>, findings: &mut Vec<Finding>) {
    for field in Field::ALL {
        let Some(step) = written.step(field) else { continue };
        if step.by > step.span() {
            findings.push(large_step(written, field, step));
        } else if let Some((unit, next)) = unit(field)
            && begins_anew(cron, field)
            && (step.low, step.high) == (field.bounds().0, field.wrap_end())
            && !step.span().is_multiple_of(step.by)
        {
            let rest = step.span() % step.by;
            let s = if rest == 1 { "" } else { "s" };
            let message = format!(
                "The step of {} {unit}s does not divide the {next}: it begins anew with each {next}, after {rest} {unit}{s}.",
                step.by
            );
            let better = grid(written, field, step).or_else(|| {
                let divisor = nearest_divisor(step.span(), step.by)?;
                Some(written.with(&[(field, &format!("*/{divisor}"))]))
            });
            findings.push(Finding::new(FindingCode::UnevenStep, message).suggesting(better));
        }
    }
}

/// What a field counts, and what its step begins anew with. Days are spoken of elsewhere, and years begin never anew.
fn unit(field: Field) -> Option<(&'static str, &'static str)> {
    match field {
        Field::Second => Some(("second", "minute")),
        Field::Minute => Some(("minute", "hour")),
        Field::Hour => Some(("hour", "day")),
        Field::Month => Some(("month", "year")),
        Field::DayOfMonth | Field::DayOfWeek | Field::Year => None,
    }
}

/// Whether a field is come to again right after its end: the step of a minute in one hour of a day ends with the hour.
fn begins_anew(cron: &Cron, field: Field) -> bool {
    let follow = |mask: u64, length: u32| mask & (mask >> 1 | mask << (length - 1)) != 0;
    match field {
        Field::Second => follow(cron.minute_mask(), 60),
        Field::Minute => follow(u64::from(cron.hour_mask()), 24),
        Field::Hour | Field::DayOfMonth | Field::Month | Field::DayOfWeek | Field::Year => true,
    }
}

fn large_step(written: &Written<'_>, field: Field, step: Step) -> Finding {
    let low = step.low;
    let left = match field {
        Field::Second => format!("second {low} of each minute is left"),
        Field::Minute => format!("minute {low} of each hour is left, once an hour"),
        Field::Hour => format!("hour {low} of each day is left"),
        Field::DayOfMonth => format!("day {low} of each month is left"),
        Field::Month => format!("month {low} of each year is left"),
        Field::DayOfWeek => format!("weekday {low} is left"),
        Field::Year => format!("the year {low} is left"),
    };
    let larger = if step.starred { "field" } else { "range in that field" };
    let message = format!(
        "A step of {} is larger than the {field} {larger}: only {left}.",
        step.by
    );
    let better = grid(written, field, step).unwrap_or_else(|| written.with(&[(field, &low.to_string())]));
    Finding::new(FindingCode::LargeStep, message).suggesting(better)
}

/// The grid of elapsed time that was meant by a step, where nothing else is said.
fn grid(written: &Written<'_>, field: Field, step: Step) -> Option<String> {
    let letter = match field {
        Field::Second => 's',
        Field::Minute => 'm',
        Field::Hour => 'h',
        Field::DayOfMonth | Field::Month | Field::DayOfWeek | Field::Year => return None,
    };
    let plain = Field::ALL.into_iter().all(|other| match other.cmp(&field) {
        std::cmp::Ordering::Less => written.is_zero(other),
        std::cmp::Ordering::Equal => step.starred,
        std::cmp::Ordering::Greater => written.is_any(other),
    });
    (plain && step.by <= GRID_MAX).then(|| format!("@every {}{letter}", step.by))
}

/// The largest step for which a grid is suggested: more than a year of hours.
const GRID_MAX: u32 = 9_999;

/// The step nearest to one that divides a length, and is neither 1 nor all of it.
fn nearest_divisor(length: u32, step: u32) -> Option<u32> {
    (2..length)
        .filter(|divisor| length.is_multiple_of(*divisor))
        .min_by_key(|divisor| divisor.abs_diff(step))
}

/// `*` where one value was likely meant: a second in front of five fields, the minute of an hour that is named.
fn stars(cron: &Cron, written: &Written<'_>, findings: &mut Vec<Finding>) {
    let every_second = written.text(Field::Second) == "*";
    let every_minute = written.text(Field::Minute) == "*" && names_hours(written.text(Field::Hour));
    let zero_minute = if every_minute { "0" } else { written.text(Field::Minute) };
    if every_second {
        let better = match written.with(&[]) {
            all if written.len() == 6 && all.split(' ').all(|text| text == "*") => "* * * * *".to_owned(),
            _ => written.with(&[(Field::Second, "0"), (Field::Minute, zero_minute)]),
        };
        let message = format!(
            "The first of {} fields is the second, and it is `*`: it fires every second of each minute that matches. Were \
             five fields meant?",
            match written.len() {
                6 => "six",
                _ => "seven",
            }
        );
        findings.push(Finding::new(FindingCode::EverySecond, message).suggesting(better));
    } else if every_minute {
        let hours = cron.hour_mask();
        let which = match hours.count_ones() {
            1 => format!("hour {}", hours.trailing_zeros()),
            count => format!("{count} hours"),
        };
        let times = 60 * hours.count_ones() * cron.second_mask().count_ones();
        let message = format!("It fires in every minute of {which}, {times} times a day.");
        let better = written.with(&[(Field::Minute, zero_minute)]);
        findings.push(Finding::new(FindingCode::EveryMinute, message).suggesting(better));
    }
}

/// Whether single hours are named, or every n-th. All of a range such as `9-17` are often meant.
fn names_hours(hour: &str) -> bool {
    match hour.split_once('/') {
        Some((_, step)) => step.trim_start_matches('0') != "1",
        None => hour
            .split(',')
            .all(|item| item.bytes().all(|byte| byte.is_ascii_digit())),
    }
}

/// What is said of a task that is due together with others: how many, when by the clock of its zone, and at which minute
/// of that hour fewer are.
pub(crate) fn same_minute(expr: &str, others: usize, is_all: bool, local: i64, quiet: Option<u32>) -> Finding {
    let more = if is_all { "" } else { "or more " };
    let message = format!(
        "{others} other tasks {more}are due in the same minute, {}.",
        display_time(local - local.rem_euclid(60))
    );
    let better = quiet.and_then(|minute| {
        let written = Written::read(expr)?;
        written.number(Field::Minute)?;
        Some(written.with(&[(Field::Minute, &minute.to_string())]))
    });
    Finding::new(FindingCode::SameMinute, message).suggesting(better)
}

mod clock;
pub use clock::{ClockChange, clock_changes};

#[cfg(test)]
mod tests;
