use super::super::{Catalog, Zones};
use super::*;
use FindingCode as Code;

fn found(expr: &str, tz: &str) -> Vec<Finding> {
    let mut catalog = Catalog::new(Zones::new(jiff::tz::TimeZoneDatabase::bundled()));
    let schedule = catalog.cron(expr, tz).unwrap();
    let now = Timestamp::from_jiff("2026-11-21T11:00:00Z".parse().unwrap());
    findings(&schedule, expr, now)
}

fn about(expr: &str, tz: &str) -> Vec<String> {
    found(expr, tz).into_iter().map(|finding| finding.message).collect()
}

/// Code and suggestion of each finding in UTC.
fn codes(expr: &str) -> Vec<(Code, Option<String>)> {
    let findings = found(expr, "UTC").into_iter();
    findings.map(|finding| (finding.code, finding.suggestion)).collect()
}

#[track_caller]
fn only(expr: &str, code: Code, suggestion: Option<&str>) {
    assert_eq!(codes(expr), [(code, suggestion.map(str::to_owned))], "{expr}");
}

#[test]
fn a_plain_schedule_has_no_finding() {
    for expr in [
        "0 9 * * MON-FRI",
        "*/5 * * * *",
        "* * * * *",
        "0 */6 * * *",
        "30 4 1,15 * *",
        "@daily",
        "@yearly",
        "0 0 L * *",
        "0 12 15 * +MON",
        "*/10 * * * * *",
        "0 * * * * *",
        "* 9-17 * * MON-FRI",
        "* 9-17/1 * * *",
        // A list says what it means, and so does a range.
        "0,25,50 * * * *",
        "0-20/7 * * * *",
        // The length of the field is a way to say once.
        "*/60 */24 * * *",
        // The hour of these minutes has no other after it.
        "*/7 4 * * *",
        "*/7 4,8 * * *",
        "0 0 */1 * *",
        "0 0 28 2 *",
    ] {
        assert_eq!(about(expr, "Europe/Berlin"), Vec::<String>::new(), "{expr}");
    }
    assert_eq!(about("30 2 * * *", "UTC"), Vec::<String>::new());
}

#[test]
fn coming_changes_of_the_clock_are_told() {
    assert_eq!(
        about("30 2 * * *", "Europe/Berlin"),
        [
            "Clocks in Europe/Berlin skip 2027-03-28 02:30 (02:00 to 03:00): it fires at 03:00 instead.",
            "Clocks in Europe/Berlin show 2027-10-31 02:30 twice (back from 03:00 to 02:00): it fires the first time only.",
        ]
    );
    assert_eq!(
        about("*/15 1-2 * * *", "Europe/Berlin"),
        [
            "Clocks in Europe/Berlin skip 2027-03-28 02:00 (02:00 to 03:00): it does not fire then.",
            "Clocks in Europe/Berlin show 2027-10-31 02:00 twice (back from 03:00 to 02:00): it fires both times.",
        ]
    );
    let codes: Vec<Code> = found("30 2 * * *", "Europe/Berlin")
        .into_iter()
        .map(|finding| finding.code)
        .collect();
    assert_eq!(codes, [Code::DstGap, Code::DstOverlap]);
    // Only what comes within thirteen months.
    assert_eq!(about("30 2 * 6 *", "Europe/Berlin"), Vec::<String>::new());
}

#[test]
fn both_day_fields_and_their_steps_are_told() {
    only("0 0 1 * MON", Code::EitherDay, Some("0 0 1 * +MON"));
    only("0 0 */2 * *", Code::DayStep, None);
    // The last day of January is not its first Monday.
    only("0 0 31 1 1#1", Code::EitherDay, None);
    only("0 0 * * */2", Code::DayStep, Some("0 0 * * SUN,TUE,THU,SAT"));
    only("0 0 1 * +*/3", Code::DayStep, Some("0 0 1 * +SUN,WED,SAT"));
    assert_eq!(
        codes("0 0 */2 * MON"),
        [
            (Code::EitherDay, Some("0 0 */2 * +MON".to_owned())),
            (Code::DayStep, None)
        ]
    );
    assert_eq!(
        codes("0 0 */1 * MON")[1],
        (Code::DayStep, Some("0 0 * * MON".to_owned()))
    );
    let message = |expr: &str| about(expr, "UTC").pop().unwrap();
    assert_eq!(
        message("0 0 */2 * *"),
        "The step of 2 days begins anew with each month: day 31 is followed by day 1."
    );
    assert!(message("0 0 */2 * MON").contains(" In the day of month field it is a restriction too"));
    assert!(message("0 0 */31 * *").ends_with("it stands for day 1."));
}

#[test]
fn days_that_seldom_come_are_told() {
    only("0 0 29 2 *", Code::LeapYearsOnly, Some("0 0 L 2 *"));
    only("0 0 29 FEB +SUN", Code::LeapYearsOnly, Some("0 0 L FEB +SUN"));
    only("0 0 31 * *", Code::ShortMonths, Some("0 0 L * *"));
    only("0 0 30,31 * *", Code::ShortMonths, None);
    only("0 0 30 1-3 *", Code::ShortMonths, Some("0 0 L 1-3 *"));
}

#[test]
fn steps_that_do_not_divide_are_told() {
    only("*/7 * * * *", Code::UnevenStep, Some("@every 7m"));
    only("0-59/7 * * * *", Code::UnevenStep, Some("*/6 * * * *"));
    only("*/7 * * * MON", Code::UnevenStep, Some("*/6 * * * MON"));
    only("*/7 8-17 * * *", Code::UnevenStep, Some("*/6 8-17 * * *"));
    only("*/7 23,0 * * *", Code::UnevenStep, Some("*/6 23,0 * * *"));
    only("0 */5 * * *", Code::UnevenStep, Some("@every 5h"));
    only("30 */5 * * *", Code::UnevenStep, Some("30 */4 * * *"));
    only("*/45 * * * * *", Code::UnevenStep, Some("@every 45s"));
    only("0 0 1 */5 *", Code::UnevenStep, Some("0 0 1 */4 *"));
    assert_eq!(
        about("*/7 * * * *", "UTC"),
        ["The step of 7 minutes does not divide the hour: it begins anew with each hour, after 4 minutes."]
    );
    assert_eq!(
        about("0 */5 * * *", "UTC"),
        ["The step of 5 hours does not divide the day: it begins anew with each day, after 4 hours."]
    );
}

#[test]
fn steps_larger_than_their_field_are_told() {
    only("*/90 * * * *", Code::LargeStep, Some("@every 90m"));
    only("*/90 8-17 * * *", Code::LargeStep, Some("0 8-17 * * *"));
    only("0 */48 * * *", Code::LargeStep, Some("@every 48h"));
    only("15 */48 * * *", Code::LargeStep, Some("15 0 * * *"));
    only("10-20/15 * * * *", Code::LargeStep, Some("10 * * * *"));
    only("0 0 */40 * *", Code::LargeStep, Some("0 0 1 * *"));
    only("0 0 1 */18 *", Code::LargeStep, Some("0 0 1 1 *"));
    only("*/99999999999 * * * *", Code::LargeStep, Some("0 * * * *"));
    assert_eq!(
        about("*/90 * * * *", "UTC"),
        ["A step of 90 is larger than the minute field: only minute 0 of each hour is left, once an hour."]
    );
}

#[test]
fn stars_that_fire_more_often_than_was_meant_are_told() {
    only("* * * * * *", Code::EverySecond, Some("* * * * *"));
    only("* */5 * * * *", Code::EverySecond, Some("0 */5 * * * *"));
    only("* 0 2 * * *", Code::EverySecond, Some("0 0 2 * * *"));
    only("* * 2 * * *", Code::EverySecond, Some("0 0 2 * * *"));
    only("* * * * * * *", Code::EverySecond, Some("0 * * * * * *"));
    only("* 2 * * *", Code::EveryMinute, Some("0 2 * * *"));
    only("* 2,14 * * *", Code::EveryMinute, Some("0 2,14 * * *"));
    only("* */2 * * *", Code::EveryMinute, Some("0 */2 * * *"));
    only("30 * 2 * * *", Code::EveryMinute, Some("30 0 2 * * *"));
    assert_eq!(
        about("* 2 * * *", "UTC"),
        ["It fires in every minute of hour 2, 60 times a day."]
    );
    assert_eq!(
        about("* */2 * * *", "UTC"),
        ["It fires in every minute of 12 hours, 720 times a day."]
    );
}

#[test]
fn what_is_over_is_told_and_nothing_else() {
    only("0 0 0 29 2 * 2020", Code::NeverFires, None);
    let now = Timestamp::from_second(1000);
    let codes = |schedule: &Schedule| -> Vec<Code> {
        findings(schedule, "", now)
            .into_iter()
            .map(|finding| finding.code)
            .collect()
    };
    assert_eq!(codes(&Schedule::At(now)), [Code::NeverFires]);
    assert_eq!(codes(&Schedule::At(Timestamp::from_second(1001))), []);
    assert_eq!(codes(&Schedule::Manual), []);
    let refused = |expr: &str| Finding::of_refused(&Cron::parse(expr).unwrap_err());
    let never = refused("0 0 30 2 *").unwrap();
    assert_eq!(
        never.message,
        "It would never fire: day 30 is asked for, and the months asked for have at most 29 days."
    );
    assert_eq!((never.code, refused("0 25 * * *")), (Code::NeverFires, None));
}

#[test]
fn a_finding_is_one_line() {
    let finding = |expr: &str| found(expr, "UTC")[0].to_string();
    assert_eq!(
        finding("* 2 * * *"),
        "It fires in every minute of hour 2, 60 times a day. Try `0 2 * * *`."
    );
    assert!(finding("0 0 */2 * *").ends_with("day 1."));
}

#[test]
fn the_changes_of_the_clock_in_a_span_are_told_with_their_instants() {
    let at = |text: &str| Timestamp::from_jiff(text.parse().unwrap());
    let schedule = |expr| {
        let mut catalog = Catalog::new(Zones::new(jiff::tz::TimeZoneDatabase::bundled()));
        catalog.cron(expr, "Europe/Berlin").unwrap()
    };
    let (from, until) = (at("2027-02-28T23:00:00Z"), at("2027-03-31T22:00:00Z"));
    let night = schedule("30 2 * * *");
    let [change] = &clock_changes(&night, from, until)[..] else {
        panic!("{:?}", clock_changes(&night, from, until));
    };
    assert_eq!((change.at, change.is_hourly), (at("2027-03-28T01:00:00Z"), false));
    assert_eq!(change.finding.code, FindingCode::DstGap);
    assert!(
        change.finding.message.ends_with("it fires at 03:00 instead."),
        "{change:?}"
    );
    // The instant of the change itself belongs to what begins with it.
    assert_eq!(clock_changes(&night, change.at, until).len(), 1);
    assert_eq!(clock_changes(&night, from, change.at), []);
    assert!(clock_changes(&schedule("*/5 * * * *"), from, until)[0].is_hourly);
    assert_eq!(clock_changes(&schedule("30 4 * * *"), from, until), []);
    assert_eq!(
        clock_changes(&night, from, at("2027-12-01T00:00:00Z")).len(),
        2,
        "autumn too"
    );
}
