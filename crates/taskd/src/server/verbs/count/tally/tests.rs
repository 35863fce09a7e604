use std::time::Duration;

use taskd_core::calendar::{Calendar, Entry, Keep, Kept, TimeRange};
use taskd_core::schedule::{Catalog, Termed, Zones};

use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp::from_jiff(text.parse().expect("an instant"))
}

/// The hours of the day in Berlin on which clocks go forward.
fn hours() -> Buckets {
    let hour = |n: u64| at("2027-03-27T23:00:00Z").plus(Duration::from_secs(3600 * n));
    Buckets::new((0..=23).map(hour).collect()).expect("they ascend")
}

fn looked(name: String, schedule: Option<Schedule>) -> Looked {
    Looked {
        name: TaskName::parse(&name).expect("a name"),
        schedule,
        pause: None,
        freezing: Vec::new(),
        left: None,
        tz: None,
    }
}

/// Tasks `NAMEn` with each of these expressions in Berlin, so many of each.
fn tasks(of: &[(&str, &str, usize)]) -> Tasks {
    let mut catalog = Catalog::new(Zones::new(jiff::tz::db().clone()));
    let mut tasks = Tasks::default();
    for (name, expr, number) in of {
        let schedule = catalog.cron(expr, "Europe/Berlin").expect("an expression");
        let task = |n| looked(format!("{name}{n}"), Some(schedule.clone()));
        tasks.take((0..*number).map(task).collect());
    }
    tasks
}

#[test]
fn equal_schedules_are_counted_once_and_as_often_as_there_are_tasks() {
    let tasks = tasks(&[("a", "*/10 4 * * *", 3), ("b", "0 4 * * *", 2), ("c", "0 9 * * *", 4)]);
    assert_eq!(tasks.groups.len(), 3);
    let counted = tasks.count(&hours(), Timestamp::MIN, true, u64::MAX);
    // Two in the night do not exist, so four is the fourth hour.
    let four = &counted.buckets[3];
    assert_eq!((four.count, four.tasks), (3 * 6 + 2, 5));
    assert_eq!(four.first_ms, Some(at("2027-03-28T02:00:00Z").as_millis()));
    assert_eq!(four.last_ms, Some(at("2027-03-28T02:50:00Z").as_millis()));
    assert_eq!(four.names, ["a0", "a1", "a2", "b0", "b1"]);
    let nine = &counted.buckets[8];
    assert_eq!((nine.count, nine.names.len()), (4, 4));
    assert_eq!(counted.buckets.iter().filter(|bucket| bucket.count > 0).count(), 2);
    assert!(
        tasks.count(&hours(), Timestamp::MIN, false, u64::MAX).buckets[3]
            .names
            .is_empty()
    );
}

#[test]
fn the_names_told_are_the_first_whatever_group_they_are_in() {
    let mut tasks = Tasks::default();
    let (mut catalog, anchor) = (
        Catalog::new(Zones::new(jiff::tz::db().clone())),
        at("2027-03-28T00:00:00Z"),
    );
    for n in 0..20 {
        let schedule = match n % 2 {
            0 => catalog.cron("0 4 * * *", "Europe/Berlin").expect("an expression"),
            _ => Schedule::Every {
                anchor: anchor.plus(Duration::from_secs(3600 * n)),
                interval: Duration::from_secs(3600),
            },
        };
        tasks.take(vec![looked(format!("t{n:02}"), Some(schedule))]);
    }
    assert_eq!(tasks.groups.len(), 2, "grids that are the same are one");
    let counted = tasks.count(&hours(), Timestamp::MIN, true, u64::MAX);
    assert_eq!(counted.buckets[3].tasks, 20);
    assert_eq!(counted.buckets[3].names, ["t00", "t01", "t02", "t03", "t04"]);
}

#[test]
fn what_does_not_fire_does_not_count_and_is_told() {
    let mut tasks = tasks(&[("a", "0 4 * * *", 1)]);
    let schedule = tasks.groups[0].schedule.clone();
    tasks.take(vec![
        looked("off".to_owned(), None),
        looked("manual".to_owned(), Some(Schedule::Manual)),
    ]);
    let pause = Some((at("2027-03-28T01:00:00Z"), at("2027-03-28T05:00:00Z")));
    let paused = looked("paused".to_owned(), Some(schedule));
    tasks.take(vec![Looked { pause, ..paused }]);
    let counted = tasks.count(&hours(), Timestamp::MIN, true, u64::MAX);
    assert_eq!(
        (counted.tasks, counted.idle, counted.paused, counted.left_out),
        (4, 1, 1, 0)
    );
    assert_eq!(counted.buckets[3].names, ["a0"]);
    tasks.pause_of_all = pause;
    let counted = tasks.count(&hours(), Timestamp::MIN, true, u64::MAX);
    assert_eq!((counted.paused, counted.buckets[3].count), (2, 0));
}

#[test]
fn what_is_frozen_and_what_is_bounded_counts_as_far_as_it_starts() {
    let mut tasks = tasks(&[("a", "0 * * * *", 1)]);
    let schedule = tasks.groups[0].schedule.clone();
    let closed = TimeRange::absolute(at("2027-03-28T03:00:00Z"), at("2027-03-28T05:00:00Z")).expect("a range");
    let keeping = Keeping {
        name: TaskName::parse("release").expect("a name"),
        keep: Keep::Exclude,
        calendar: Arc::new(Kept {
            calendar: Calendar::new([Entry::Range(closed)]).expect("it has an entry"),
            tz: "UTC".to_owned(),
            freeze: Vec::new(),
        }),
        zone: Arc::clone(schedule.zone().expect("a cron schedule has one")),
    };
    let frozen = |name: &str| Looked {
        freezing: vec![keeping.clone()],
        ..looked(name.to_owned(), Some(schedule.clone()))
    };
    tasks.take(vec![frozen("b"), frozen("c")]);
    assert_eq!(tasks.groups.len(), 2, "what is frozen alike is one");
    let termed = Schedule::Termed(Arc::new(Termed {
        of: vec![schedule.clone()],
        offset: Duration::ZERO,
        start: Timestamp::MIN,
        end: Timestamp::MAX,
        shift: None,
        keeps: Vec::new(),
    }));
    tasks.take(vec![Looked {
        left: Some(2),
        ..looked("few".to_owned(), Some(termed))
    }]);
    let counted = tasks.count(&hours(), at("2027-03-28T02:00:00Z"), true, u64::MAX);
    let tasks = |hour: usize| counted.buckets[hour].tasks;
    assert_eq!(
        (tasks(2), tasks(3), tasks(4), tasks(5), tasks(6), tasks(7)),
        (4, 4, 2, 2, 3, 3)
    );
}

#[test]
fn what_takes_too_long_is_left_out_and_the_largest_groups_are_not() {
    let tasks = tasks(&[("few", "* * * * *", 2), ("many", "0 4 * * *", 3)]);
    // Two searches and a count for the one, and for the other as much for each hour.
    let enough = 4 * (3 + (2 * 23 + 1));
    assert_eq!(tasks.count(&hours(), Timestamp::MIN, false, enough).left_out, 0);
    let counted = tasks.count(&hours(), Timestamp::MIN, false, enough - 1);
    assert_eq!(counted.left_out, 2);
    assert_eq!(counted.buckets.iter().map(|bucket| bucket.count).sum::<u64>(), 3);
    assert_eq!(tasks.count(&hours(), Timestamp::MIN, false, 0).left_out, 5);
}

#[test]
fn changes_of_the_clock_are_told_of_those_they_change() {
    let told = |of: &[(&str, &str, usize)]| {
        let counted = tasks(of).count(&hours(), Timestamp::MIN, false, u64::MAX);
        let told = counted
            .clock
            .into_iter()
            .map(|Rec(change)| (change.task, change.others, change.message));
        (told.collect::<Vec<_>>(), counted.clock_more)
    };
    let message = "Clocks in Europe/Berlin skip 2027-03-28 02:30 (02:00 to 03:00): it fires at 03:00 instead.";
    let night = ("night".to_owned() + "0", 2, message.to_owned());
    assert_eq!(
        told(&[
            ("day", "0 9 * * *", 1),
            ("hourly", "*/5 * * * *", 1),
            ("night", "30 2 * * *", 3)
        ]),
        (vec![night], 0)
    );
    assert_eq!(told(&[("hourly", "*/5 * * * *", 1)]).0.len(), 1, "it is the only one");
    let minutes: Vec<String> = (0..CLOCK_MAX + 3).map(|minute| format!("{minute} 2 * * *")).collect();
    let many: Vec<_> = minutes
        .iter()
        .enumerate()
        .map(|(n, expr)| (["a", "b"][n % 2], expr.as_str(), 1))
        .collect();
    let (told, more) = told(&many);
    assert_eq!((told.len(), more), (CLOCK_MAX, 3));
}

#[test]
fn the_longest_answer_fits_a_frame() {
    let name = |n: usize| format!("{n:0>64}");
    let names = (0..NAMED).map(name).collect();
    let bucket = Rec(Bucket {
        count: u64::MAX,
        first_ms: Some(i64::MAX),
        last_ms: Some(i64::MAX),
        tasks: u64::MAX,
        names,
    });
    let change = Rec(ClockChange {
        at_ms: i64::MAX,
        task: name(0),
        others: u64::MAX,
        message: "m".repeat(500),
    });
    let longest = Counted {
        buckets: vec![bucket; super::super::BOUNDS_MAX - 1],
        clock: vec![change; CLOCK_MAX],
        ..Counted::default()
    };
    let length = taskd_wire::codec::encoded_len(&Rec(longest));
    assert!(length < taskd_wire::codec::MESSAGE_MAX, "{length} bytes");
}
