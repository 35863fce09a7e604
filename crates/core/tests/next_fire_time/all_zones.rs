//! All zones of the tz database, and every change of their clocks from 1970 to 2100: around each of them, and after instants
//! at random, the search finds what a look at one local time after the other finds.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp as Instant;
use jiff::civil::{Date, date};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use taskd_core::Timestamp;
use taskd_core::schedule::{Cron, DstRule, Gap, Overlap, Zone};

use super::expression::{Expression, Field, Item, days, field, month, weekdays};
use super::{DB, NAMES, compiled, zone};

/// How often every change is looked at, each time with another expression: three times, or as this variable says.
const ROUNDS: &str = "TASKD_SEARCH_ROUNDS";

const DAY: i64 = 86_400;
const HOUR: i64 = 3_600;
/// 1970 to 2100.
const YEARS: Range<i64> = 0..4_102_444_800;
/// What clocks did so long before may be shown again.
const LEAD: i64 = 4 * DAY;
/// What is compared begins so long before a change and ends so long after it, which is more than a change of the date.
const AROUND: i64 = 26 * HOUR;
/// Most fire times that are compared.
const FIRE_TIMES: usize = 40;
/// So many instants of each zone are taken at random.
const INSTANTS: usize = 3;
/// Longest time without a fire time that is looked through.
const SPAN: i64 = 800 * DAY;
/// Expressions for each hour of the day.
const POOL: usize = 100;

/// Numbers that are the same with each run.
struct Dice(u64);

impl Dice {
    fn new(seed: usize) -> Self {
        Dice((seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % sides
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.roll(all.len())]
    }
}

/// A clock, as jiff tells of it: stretches of constant offset, the first of them from long ago.
struct Clock {
    stretches: Vec<Stretch>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Stretch {
    start: i64,
    end: i64,
    offset: i64,
}

impl Clock {
    fn of(name: &str) -> Clock {
        let tz = DB.get(name).unwrap();
        let from = Instant::from_second(YEARS.start - 2 * SPAN).unwrap();
        let mut last = Stretch {
            start: i64::MIN / 2,
            end: i64::MAX / 2,
            offset: i64::from(tz.to_offset(from).seconds()),
        };
        let mut stretches = Vec::new();
        let changes = tz.following(from);
        for change in changes.take_while(|change| change.timestamp().as_second() < YEARS.end + 2 * SPAN) {
            let (at, offset) = (change.timestamp().as_second(), i64::from(change.offset().seconds()));
            stretches.push(Stretch { end: at, ..last });
            last = Stretch {
                start: at,
                offset,
                ..last
            };
        }
        stretches.push(last);
        Clock { stretches }
    }

    /// The stretches that touch a span.
    fn within(&self, from: i64, until: i64) -> &[Stretch] {
        let first = self.stretches.partition_point(|stretch| stretch.end <= from);
        let last = self.stretches.partition_point(|stretch| stretch.start <= until);
        &self.stretches[first..last]
    }
}

/// The local seconds of a span that an expression matches, by trying.
fn matches(expression: &Expression, from: i64, until: i64) -> Vec<i64> {
    let zero = Field {
        text: String::new(),
        values: (0..60).map(|second| second == 0).collect(),
    };
    let seconds = expression.second.as_ref().unwrap_or(&zero);
    let named = |field: &Field| {
        let values = field.values.iter().zip(0..);
        values
            .filter(|(named, _)| **named)
            .map(|(_, value)| value)
            .collect::<Vec<i64>>()
    };
    let (hours, minutes, seconds) = (named(&expression.hour), named(&expression.minute), named(seconds));
    let mut found = Vec::new();
    let mut midnight = from.div_euclid(DAY) * DAY;
    let mut day: Date = date(1970, 1, 1) + jiff::Span::new().days(midnight / DAY);
    while midnight < until {
        if expression.date_matches(day) {
            for hour in &hours {
                for minute in &minutes {
                    let local = midnight + hour * HOUR + minute * 60;
                    found.extend(
                        seconds
                            .iter()
                            .map(|second| local + second)
                            .filter(|at| (from..until).contains(at)),
                    );
                }
            }
        }
        (midnight, day) = (midnight + DAY, day.tomorrow().unwrap());
    }
    found
}

/// The fire times after `from` and until `until`, by the wording of the rule.
fn expected(expression: &Expression, clock: &Clock, rule: DstRule, from: i64, until: i64) -> Vec<i64> {
    let fixed = expression.is_fixed();
    let runs_gap = rule.gap == Gap::Run || rule.gap == Gap::Auto && fixed;
    let overlap = match rule.overlap {
        Overlap::Auto if fixed => Overlap::First,
        Overlap::Auto => Overlap::Both,
        other => other,
    };
    let mut fires = Vec::new();
    let mut reached: Option<i64> = None;
    let stretches = clock.within(from - LEAD, until + LEAD);
    for (index, stretch) in stretches.iter().enumerate() {
        let local = |at: i64| at + stretch.offset;
        let opens = local(stretch.start);
        if let Some(reached) = reached
            && runs_gap
            && reached < opens
            && (from + 1..=until).contains(&stretch.start)
            && !matches(expression, reached, opens).is_empty()
        {
            fires.push(stretch.start);
        }
        let shown = local(stretch.start.max(from + 1))..local(stretch.end.min(until + 1));
        let again = |at: &i64| {
            let later = &stretches[index + 1..];
            later
                .iter()
                .any(|later| (later.start + later.offset..later.end + later.offset).contains(at))
        };
        fires.extend(
            matches(expression, shown.start, shown.end)
                .into_iter()
                .filter(|at| match overlap {
                    Overlap::First => reached.is_none_or(|reached| *at >= reached),
                    Overlap::Second => !again(at),
                    Overlap::Auto | Overlap::Both => true,
                })
                .map(|at| at - stretch.offset),
        );
        reached = Some(reached.unwrap_or(i64::MIN).max(local(stretch.end)));
    }
    fires.sort_unstable();
    fires.dedup();
    fires
}

/// What the search finds.
fn found(cron: &Cron, zone: &Zone, rule: DstRule, from: i64, until: i64) -> Vec<i64> {
    let mut times = Vec::new();
    let mut at = Timestamp::from_second(from);
    while times.len() < FIRE_TIMES
        && let Some(next) = cron
            .next_after_by(zone, rule, at)
            .filter(|next| next.as_second() <= until)
    {
        assert!(next > at, "fire times increase");
        times.push(next.as_second());
        at = next;
    }
    times
}

/// Expressions for each hour of the day, which most of them name, or the hour before or after it.
fn pool(runner: &mut TestRunner) -> Vec<Vec<(Expression, Cron)>> {
    fn some<T>(runner: &mut TestRunner, strategy: impl Strategy<Value = T>) -> Vec<T> {
        let one = |_| strategy.new_tree(runner).unwrap().current();
        (0..400).map(one).collect()
    }
    let (minutes, hours) = (some(runner, field(0, 59)), some(runner, field(0, 23)));
    let (days, weekdays): (Vec<Option<Vec<Item>>>, Vec<_>) = (some(runner, days()), some(runner, weekdays()));
    let months = some(runner, month());
    let mut dice = Dice::new(runner.rng().random::<u32>() as usize);
    let mut expression = |hour: usize| {
        let (first, length) = ((hour + 23 + dice.roll(3)) % 24, 1 + dice.roll(2));
        let near = Field {
            text: format!("{first}-{}", (first + length).min(23)),
            values: (0..24).map(|hour| hour >= first && hour <= first + length).collect(),
        };
        let (seldom, seconds) = (dice.roll(3) == 0, dice.roll(12) == 0);
        Expression {
            second: seconds.then(|| dice.of(&minutes).clone()),
            minute: dice.of(&minutes).clone(),
            hour: if dice.roll(4) == 0 {
                dice.of(&hours).clone()
            } else {
                near
            },
            days: if seldom { dice.of(&days).clone() } else { None },
            month: if seldom { dice.of(&months).clone() } else { any_month() },
            weekdays: if seldom { dice.of(&weekdays).clone() } else { None },
            both: dice.roll(2) == 0,
        }
    };
    let mut of_hour = |hour| {
        let made = std::iter::from_fn(|| Some(expression(hour)));
        let compiled = made.filter_map(|expression| compiled(&expression).map(|cron| (expression, cron)));
        compiled.take(POOL).collect()
    };
    (0..24).map(&mut of_hour).collect()
}

fn any_month() -> Field {
    Field {
        text: "*".to_owned(),
        values: vec![true; 13],
    }
}

const fn rule(gap: Gap, overlap: Overlap) -> DstRule {
    DstRule { gap, overlap }
}

/// The default more often than others.
const RULES: [DstRule; 8] = [
    rule(Gap::Auto, Overlap::Auto),
    rule(Gap::Auto, Overlap::Auto),
    rule(Gap::Auto, Overlap::Auto),
    rule(Gap::Run, Overlap::First),
    rule(Gap::Run, Overlap::Second),
    rule(Gap::Skip, Overlap::Both),
    rule(Gap::Skip, Overlap::First),
    rule(Gap::Auto, Overlap::Second),
];

/// Compares all that is to be compared in one zone, and gives how much that was.
fn look_at(name: &str, clock: &Clock, pool: &[Vec<(Expression, Cron)>], dice: &mut Dice) -> usize {
    let zone = zone(name);
    let mut compared = 0;
    let mut compare = |dice: &mut Dice, hour: i64, from: i64, until: Option<i64>| {
        let (expression, cron) = dice.of(&pool[usize::try_from(hour.rem_euclid(24)).unwrap()]);
        let rule = *dice.of(&RULES);
        // Without an end, it is the first fire time that is compared, if it comes soon enough.
        let until = until.unwrap_or_else(|| {
            let next = cron.next_after_by(&zone, rule, Timestamp::from_second(from));
            next.map_or(from + SPAN, |next| next.as_second().min(from + SPAN))
        });
        let mut wanted = expected(expression, clock, rule, from, until);
        wanted.truncate(FIRE_TIMES);
        let times = found(cron, &zone, rule, from, until);
        assert_eq!(
            times,
            wanted,
            "{} in {name} by {rule:?} from {from} until {until}",
            expression.text()
        );
        compared += 1;
    };
    for change in clock
        .stretches
        .iter()
        .map(|stretch| stretch.start)
        .filter(|start| YEARS.contains(start))
    {
        let offset = clock.within(change - 1, change - 1)[0].offset;
        let hour = (change + offset).div_euclid(HOUR);
        let lead = 1 + dice.roll(AROUND as usize) as i64;
        compare(dice, hour, change - lead, Some(change - lead + AROUND));
    }
    for _ in 0..INSTANTS {
        let from = YEARS.start + (dice.roll(1 << 30) as i64 * 4) % YEARS.end;
        let hour = dice.roll(24) as i64;
        compare(dice, hour, from, None);
    }
    compared
}

#[test]
fn around_every_change_of_every_zone_the_fire_times_are_those_found_by_trying() {
    let rounds = std::env::var(ROUNDS).map_or(3, |rounds| rounds.parse().expect("a number of rounds"));
    let mut seen = HashSet::new();
    // A zone that is another under a second name is looked at once.
    let clocks = NAMES.iter().map(|name| (name, Clock::of(name)));
    let clocks: Vec<_> = clocks
        .filter(|(_, clock)| seen.insert(clock.stretches.clone()))
        .collect();
    assert!(clocks.len() > 300, "{} zones", clocks.len());
    let mut runner = TestRunner::deterministic();
    for round in 0..rounds {
        let (pool, next, compared) = (pool(&mut runner), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
                scope.spawn(|| {
                    let indices = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)));
                    for index in indices.take_while(|index| *index < clocks.len()) {
                        let (name, clock) = &clocks[index];
                        let mut dice = Dice::new(round * clocks.len() + index);
                        compared.fetch_add(look_at(name, clock, &pool, &mut dice), Ordering::Relaxed);
                    }
                });
            }
        });
        println!("round {round}: {} zones, {compared:?} comparisons", clocks.len());
        assert!(compared.into_inner() > 20_000, "few changes were looked at");
    }
}
