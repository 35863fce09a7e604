use jiff::tz::TimeZoneDatabase;

use super::*;
use crate::policy::{Policies, Sharing};
use crate::schedule::{Catalog, DstRule, FindingCode, Zones};
use crate::scheduler::Limits;
use crate::snapshot::{Header, Rest, TaskImage};
use crate::task::{Outline, Owner, TaskName};

/// Tasks of these expressions, with ids from 1, on a winter's day at 12:00 in Delhi, 06:30 UTC.
fn state(exprs: &[String]) -> Scheduler {
    let catalog = Catalog::new(Zones::new(TimeZoneDatabase::bundled()));
    let header = Header {
        last_task: exprs.len() as u64,
        ..Header::default()
    };
    let rest = Rest {
        header,
        ..Rest::default()
    };
    let images = exprs.iter().zip(1..).map(|(expr, id)| TaskImage {
        id: TaskId(id),
        owner: Owner(0),
        outline: Outline {
            name: TaskName::parse(&format!("t{id}")).unwrap(),
            when: When::Cron {
                expr: expr.clone(),
                tz: "Asia/Kolkata".to_owned(),
                dst: DstRule::default(),
            },
            labels: Vec::new(),
            sharing: Sharing::default(),
            enabled: true,
            policies: Policies::default(),
        },
        mark: Timestamp::from_second(1_795_242_600),
        last_run: 0,
        last_outcome: None,
        last_end: None,
    });
    Scheduler::restore(catalog, Limits::default(), [1, 2], images, rest)
}

fn found(exprs: &[String]) -> Vec<Option<Finding>> {
    let (state, mut crowds) = (state(exprs), Crowds::default());
    let ids = (1..=exprs.len() as u64).map(TaskId);
    ids.map(|id| crowds.find(&state, id)).collect()
}

fn repeated(expr: &str, count: usize) -> Vec<String> {
    vec![expr.to_owned(); count]
}

#[test]
fn five_others_in_the_same_minute_are_a_crowd() {
    assert_eq!(found(&repeated("0 14 * * *", CROWD)), vec![None; CROWD]);
    let found = found(&repeated("0 14 * * *", CROWD + 1));
    let messages: Vec<&str> = found.iter().flatten().map(|finding| finding.message.as_str()).collect();
    assert_eq!(
        messages,
        ["5 other tasks are due in the same minute, 14:00."; CROWD + 1]
    );
    // Each is sent to another minute of that hour of the clock on the wall.
    let minutes: Vec<&str> = found
        .iter()
        .flatten()
        .filter_map(|finding| finding.suggestion.as_deref())
        .collect();
    assert_eq!(
        minutes,
        [
            "1 14 * * *",
            "2 14 * * *",
            "3 14 * * *",
            "4 14 * * *",
            "5 14 * * *",
            "6 14 * * *"
        ]
    );
    assert!(
        found
            .iter()
            .flatten()
            .all(|finding| finding.code == FindingCode::SameMinute)
    );
}

#[test]
fn the_nearest_minute_that_is_free_is_suggested_else_one_with_fewest() {
    let mut exprs = repeated("30 14 * * *", 8);
    exprs.extend([29, 31, 32].map(|minute| format!("{minute} 14 * * *")));
    let suggested = |exprs: &[String]| found(exprs)[0].clone().unwrap().suggestion;
    assert_eq!(suggested(&exprs).as_deref(), Some("28 14 * * *"));
    exprs.extend((0..60).flat_map(|minute| repeated(&format!("{minute} 14 * * *"), if minute == 50 { 1 } else { 3 })));
    assert_eq!(suggested(&exprs).as_deref(), Some("50 14 * * *"));
    let many: Vec<String> = (0..60)
        .flat_map(|minute| repeated(&format!("{minute} 14 * * *"), 7))
        .collect();
    let finding = found(&many)[0].clone().unwrap();
    assert_eq!(
        (finding.message.as_str(), finding.suggestion),
        ("6 other tasks are due in the same minute, 14:00.", None)
    );
}

#[test]
fn whoever_is_due_counts_and_only_times_of_day_are_told() {
    let mut exprs = repeated("* * * * *", 4);
    exprs.extend(["@hourly", "0 14,20 * * *", "0 14 * * *", "30 0 14 * * *"].map(str::to_owned));
    exprs.extend(repeated("*/30 * * * *", 2));
    // The next fire time counts, which those of intervals have before 14:00.
    exprs.extend(repeated("0 14 * * 0-6", 3));
    let found = found(&exprs);
    let told: Vec<usize> = (0..exprs.len()).filter(|index| found[*index].is_some()).collect();
    assert_eq!(told, [5, 6, 7, 10, 11, 12]);
    // Where more than one minute is named, none can be moved alone.
    assert_eq!(found[5].as_ref().unwrap().suggestion.as_deref(), Some("1 14,20 * * *"));
    assert_eq!(found[7].as_ref().unwrap().suggestion.as_deref(), Some("30 3 14 * * *"));
    let lists = repeated("0,30 14 * * *", 7);
    assert_eq!(self::found(&lists)[0].as_ref().unwrap().suggestion, None);
}

#[test]
fn a_look_is_bounded_however_many_are_due() {
    let state = state(&repeated("0 14 * * *", 3 * COUNTED_MAX));
    let mut crowds = Crowds::default();
    let finding = crowds.find(&state, TaskId(2)).unwrap();
    assert!(
        finding.message.starts_with("999 other tasks or more are due"),
        "{finding}"
    );
    let first = crowds.looked_at();
    assert!(first <= COUNTED_MAX + 60 * (COMPARED_MAX + 1), "{first}");
    for id in 1..=3 * COUNTED_MAX as u64 {
        crowds.find(&state, TaskId(id));
    }
    assert_eq!(crowds.looked_at(), first, "an hour was looked at twice");
}
