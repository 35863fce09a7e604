use super::super::{Catalog, Zones};
use super::*;

fn about(expr: &str, tz: &str) -> Vec<String> {
    let mut catalog = Catalog::new(Zones::new(jiff::tz::TimeZoneDatabase::bundled()));
    let schedule = catalog.cron(expr, tz).unwrap();
    remarks(&schedule, Timestamp::from_jiff("2026-11-21T11:00:00Z".parse().unwrap()))
}

#[test]
fn a_plain_schedule_needs_no_remark() {
    for expr in [
        "0 9 * * MON-FRI",
        "*/5 * * * *",
        "* * * * *",
        "0 */6 * * *",
        "30 4 1,15 * *",
        "@daily",
        "0 0 L * *",
        "0 12 15 * +MON",
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
    // Only what comes within thirteen months.
    assert_eq!(about("30 2 * 6 *", "Europe/Berlin"), Vec::<String>::new());
}

#[test]
fn surprising_parts_of_an_expression_are_told() {
    let first = |expr: &str| about(expr, "UTC").into_iter().next().unwrap();
    assert_eq!(
        first("0 0 1 * MON"),
        "It fires on days that match either the day of month or the day of week; put `+` before the day of week to require both."
    );
    assert!(first("0 0 */2 * MON").contains("`*/` in the day of month field is a restriction too"));
    assert_eq!(
        first("*/7 * * * *"),
        "The step of 7 minutes does not divide the hour: it begins anew with each hour, after 4 minutes."
    );
    assert_eq!(
        first("0 */5 * * *"),
        "The step of 5 hours does not divide the day: it begins anew with each day, after 4 hours."
    );
    assert_eq!(first("0 0 29 2 *"), "It fires in leap years only.");
    assert_eq!(
        first("0 0 31 * *"),
        "It does not fire in months without a day 31; L means the last day of every month."
    );
}
