use super::civil::DAY;
use super::*;

fn zones() -> Zones {
    Zones::new(jiff::tz::TimeZoneDatabase::bundled())
}

fn instant(text: &str) -> Timestamp {
    Timestamp::from_jiff(text.parse().unwrap())
}

fn fire_times(schedule: &Schedule, after: &str, count: usize) -> Vec<String> {
    let mut at = instant(after);
    std::iter::from_fn(|| {
        at = schedule.next_after(at)?;
        Some(at.to_string())
    })
    .take(count)
    .collect()
}

#[test]
fn a_grid_begins_one_interval_after_its_anchor_and_does_not_drift() {
    let every = Schedule::Every {
        anchor: instant("2026-01-01T00:00:00.5Z"),
        interval: Duration::from_secs(90),
    };
    assert_eq!(
        fire_times(&every, "2026-01-01T00:00:00.5Z", 2),
        ["2026-01-01T00:01:30.5Z", "2026-01-01T00:03:00.5Z"]
    );
    assert_eq!(
        fire_times(&every, "2026-01-01T00:03:00.5Z", 1),
        ["2026-01-01T00:04:30.5Z"]
    );
    let passed = every
        .passed(instant("2026-01-01T00:00:00.5Z"), instant("2036-01-01T00:00:00Z"))
        .unwrap();
    assert_eq!(passed.count, (3652 * 86_400) / 90 - 1);
    assert_eq!(passed.first, instant("2026-01-01T00:01:30.5Z"));
    assert!(
        passed.last <= instant("2036-01-01T00:00:00Z")
            && every.next_after(passed.last) > Some(instant("2036-01-01T00:00:00Z"))
    );
}

#[test]
fn a_grid_goes_on_when_the_clock_is_set_back_behind_its_anchor() {
    let every = Schedule::Every {
        anchor: instant("2026-01-01T00:00:00.5Z"),
        interval: Duration::from_secs(90),
    };
    assert_eq!(
        fire_times(&every, "2025-12-31T20:00:00Z", 2),
        ["2025-12-31T20:00:00.5Z", "2025-12-31T20:01:30.5Z"]
    );
    assert_eq!(
        fire_times(&every, "2025-12-31T23:58:30.5Z", 3),
        [
            "2026-01-01T00:00:00.5Z",
            "2026-01-01T00:01:30.5Z",
            "2026-01-01T00:03:00.5Z"
        ]
    );
    assert_eq!(
        every.passed(instant("2025-12-31T23:00:00Z"), instant("2026-01-01T01:00:00Z")),
        Some(Passed {
            first: instant("2025-12-31T23:00:00.5Z"),
            last: instant("2026-01-01T00:58:30.5Z"),
            count: 80,
        })
    );
}

proptest::proptest! {
    #[test]
    fn a_grid_has_a_point_in_every_interval(
        anchor in -100_000_i64..100_000,
        interval in 1_u64..5_000,
        after in -100_000_i64..100_000,
        length in 0_i64..20_000,
    ) {
        let every = Schedule::Every { anchor: Timestamp::from_millis(anchor), interval: Duration::from_millis(interval) };
        let points: Vec<i64> =
            (after + 1..=after + length).filter(|at| (at - anchor).rem_euclid(interval as i64) == 0).collect();
        let passed = every.passed(Timestamp::from_millis(after), Timestamp::from_millis(after + length));
        let found = passed.map(|passed| (passed.first.as_millis(), passed.last.as_millis(), passed.count as usize));
        let wanted = points.first().zip(points.last()).map(|(first, last)| (*first, *last, points.len()));
        proptest::prop_assert_eq!(found, wanted);
    }
}

#[test]
fn a_grid_has_an_answer_for_every_instant() {
    for interval in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        let every = Schedule::Every {
            anchor: Timestamp::MIN,
            interval,
        };
        for after in [Timestamp::MIN, Timestamp::default(), Timestamp::MAX] {
            assert!(every.next_after(after).is_none_or(|next| next > after));
        }
        assert!(
            every
                .passed(Timestamp::MIN, Timestamp::MAX)
                .is_none_or(|passed| passed.first <= passed.last)
        );
    }
}

#[test]
fn a_single_instant_fires_once() {
    let at = Schedule::At(instant("2026-01-01T00:00:00Z"));
    assert_eq!(fire_times(&at, "2025-12-31T23:59:59.999Z", 3), ["2026-01-01T00:00:00Z"]);
    assert!(at.passed(instant("2026-01-01T00:00:00Z"), Timestamp::MAX).is_none());
    assert_eq!(
        at.passed(Timestamp::MIN, instant("2026-01-01T00:00:00Z"))
            .map(|passed| passed.count),
        Some(1)
    );
    assert_eq!(Schedule::Manual.next_after(Timestamp::MIN), None);
}

#[test]
fn what_passed_is_counted_however_much_it_is() {
    let mut catalog = Catalog::new(zones());
    let (after, until) = (instant("2026-01-01T00:00:00Z"), instant("2036-07-01T12:00:00.7Z"));
    let every_second = catalog.cron("* * * * * *", "Europe/Berlin").unwrap();
    let passed = every_second.passed(after, until).unwrap();
    assert_eq!(
        (passed.first, passed.last),
        (instant("2026-01-01T00:00:01Z"), instant("2036-07-01T12:00:00Z"))
    );
    assert_eq!(passed.count, until.since(after).as_secs());
    assert_eq!(every_second.passed(after, after), None);

    // All seconds from 1800 until the last that all zones can show.
    for zone in ["UTC", "America/New_York"] {
        let schedule = catalog.cron("* * * * * *", zone).unwrap();
        let passed = schedule.passed(Timestamp::MIN, Timestamp::MAX).unwrap();
        assert_eq!(passed.count, 258_766_869_601, "{zone}");
        assert_eq!(passed.last, Timestamp::from_second(253_402_207_200), "{zone}");
    }

    let seldom = catalog.cron("* * 29 2 *", "UTC").unwrap();
    let passed = seldom
        .passed(instant("2025-01-01T00:00:00Z"), instant("2041-01-01T00:00:00Z"))
        .unwrap();
    assert_eq!(
        (passed.last, passed.count),
        (instant("2040-02-29T23:59:00Z"), 4 * 24 * 60)
    );
}

#[test]
fn the_rule_for_daylight_saving_can_be_chosen() {
    let mut catalog = Catalog::new(zones());
    let times = |catalog: &mut Catalog, expr: &str, gap, overlap, after: &str| {
        fire_times(
            &catalog
                .cron_by(expr, "Europe/Berlin", DstRule { gap, overlap })
                .unwrap(),
            after,
            2,
        )
    };
    let gap = "2026-03-28T12:00:00Z";
    assert_eq!(
        times(&mut catalog, "30 2 * * *", Gap::Auto, Overlap::Auto, gap),
        ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
    );
    assert_eq!(
        times(&mut catalog, "30 2 * * *", Gap::Skip, Overlap::Auto, gap),
        ["2026-03-30T00:30:00Z", "2026-03-31T00:30:00Z"]
    );
    assert_eq!(
        times(&mut catalog, "*/30 2 * * *", Gap::Run, Overlap::Auto, gap),
        ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"]
    );
    let overlap = "2026-10-24T12:00:00Z";
    let (first, second, later) = ("2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z");
    assert_eq!(
        times(&mut catalog, "30 2 * * *", Gap::Auto, Overlap::Auto, overlap),
        [first, later]
    );
    assert_eq!(
        times(&mut catalog, "30 2 * * *", Gap::Auto, Overlap::Second, overlap),
        [second, later]
    );
    assert_eq!(
        times(&mut catalog, "30 2 * * *", Gap::Auto, Overlap::Both, overlap),
        [first, second]
    );
}

#[test]
fn changes_that_follow_each_other_closely_lose_and_repeat_nothing() {
    // Forward by an hour, back by two half an hour later, forward by half an hour before the clock is where it was: each local
    // time fires once, when it is first reached.
    let (hour, start) = (3600, 1_000_000_000 / DAY * DAY);
    let zone = Zone::with_changes(
        0,
        &[
            (start + hour, 3600),
            (start + hour + 1800, -3600),
            (start + 2 * hour, -1800),
            (start + 2 * DAY, 0),
            (start + 2 * DAY + 900, -3600),
        ],
    );
    for expr in [
        "17 0-23/1 * * *",
        "0,30 3 * * *",
        "50 1 * * *",
        "*/20 * * * *",
        "15 1,2 * * *",
    ] {
        let cron = Cron::parse(expr).unwrap();
        let (mut wanted, mut reached) = (Vec::new(), i64::MIN);
        for at in (start - DAY..start + 5 * DAY).step_by(60) {
            let local = at + i64::from(zone.offset_at(Timestamp::from_second(at)));
            let mut fires = cron.next_local(local) == Some(local);
            if cron.is_fixed() && reached != i64::MIN {
                fires |= (reached + 60..local)
                    .step_by(60)
                    .any(|skipped| cron.next_local(skipped) == Some(skipped));
                fires &= local > reached;
            }
            if fires {
                wanted.push(at);
            }
            reached = reached.max(local);
        }
        let (mut found, mut at) = (Vec::new(), Timestamp::from_second(start - DAY - 1));
        while let Some(next) = cron
            .next_after(&zone, at)
            .filter(|next| next.as_second() < start + 5 * DAY)
        {
            found.push(next.as_second());
            at = next;
        }
        assert_eq!(found, wanted, "{expr}");
    }
}

#[test]
fn what_passed_is_counted_across_changes_that_follow_each_other_closely() {
    let (hour, start) = (3600, 1_000_000_000 / DAY * DAY);
    let zone = Arc::new(Zone::with_changes(
        0,
        &[
            (start + hour, 3600),
            (start + hour + 1800, -3600),
            (start + 2 * hour, -1800),
            (start + 2 * DAY, DAY as i32),
            (start + 2 * DAY + 900, 0),
        ],
    ));
    let gaps = [Gap::Run, Gap::Skip];
    let overlaps = [Overlap::First, Overlap::Second, Overlap::Both];
    let rules = gaps
        .iter()
        .flat_map(|gap| overlaps.map(|overlap| DstRule { gap: *gap, overlap }));
    for rule in rules {
        for expr in ["*/20 * * * *", "30 0-3 * * *", "0 0 * * *", "59 23 * * *"] {
            let cron = Arc::new(Cron::parse(expr).unwrap());
            let zone = Arc::clone(&zone);
            let schedule = Schedule::Cron { cron, zone, rule };
            let (begin, end) = (
                Timestamp::from_second(start - DAY),
                Timestamp::from_second(start + 4 * DAY),
            );
            let times: Vec<_> = std::iter::successors(schedule.next_after(begin), |at| schedule.next_after(*at))
                .take_while(|at| *at <= end)
                .collect();
            let instants = || {
                (begin.as_second()..end.as_second())
                    .step_by(3457)
                    .map(Timestamp::from_second)
            };
            for after in instants() {
                for until in instants().chain(times.iter().copied()) {
                    let passed: Vec<_> = times.iter().filter(|at| **at > after && **at <= until).collect();
                    let wanted = passed.first().map(|first| Passed {
                        first: **first,
                        last: *passed[passed.len() - 1],
                        count: passed.len() as u64,
                    });
                    assert_eq!(
                        schedule.passed(after, until),
                        wanted,
                        "{expr} by {rule:?} after {after} until {until}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_second_pass_is_found_when_the_next_match_is_a_year_away() {
    let schedule = Catalog::new(zones()).cron("*/30 1 1 11 *", "America/New_York").unwrap();
    assert_eq!(
        fire_times(&schedule, "2026-11-01T05:45:00Z", 3),
        ["2026-11-01T06:00:00Z", "2026-11-01T06:30:00Z", "2027-11-01T05:00:00Z"]
    );
}

#[test]
fn equal_expressions_share_one_form_and_unused_ones_are_forgotten() {
    let mut catalog = Catalog::new(zones());
    let form = |schedule: &Schedule| match schedule {
        Schedule::Cron { cron, zone, .. } => (Arc::as_ptr(cron), Arc::as_ptr(zone)),
        _ => unreachable!(),
    };
    let kept = catalog.cron("0 1 * * *", "europe/berlin").unwrap();
    for minute in 0..60 {
        for hour in 0..24 {
            catalog.cron(&format!("{minute} {hour} * * *"), "UTC").unwrap();
        }
    }
    assert!(catalog.len() < 1440, "{}", catalog.len());
    assert_eq!(form(&catalog.cron("0 1 * * *", "Europe/Berlin").unwrap()), form(&kept));
}

#[test]
fn an_unknown_zone_is_refused_with_a_likely_one() {
    let mut zones = zones();
    for (name, near) in [
        ("Europe/Belrin", Some("Europe/Berlin")),
        ("berlin", Some("Europe/Berlin")),
        ("New York", Some("America/New_York")),
        ("Mars/Olympus", None),
        ("", None),
        ("Etc/Unknown", None),
        ("right/Europe/Berlin", None),
        ("../../etc/passwd", None),
    ] {
        let error = zones.get(name).expect_err(name);
        assert_eq!(error.near.as_deref(), near, "{name}");
        assert_eq!(zones.get(name).expect_err(name), error, "when it is asked again");
    }
    assert_eq!(zones.get("europe/BERLIN").unwrap().name(), "Europe/Berlin");
    assert_eq!(zones.get(&"x".repeat(1 << 20)).unwrap_err().name.len(), 64);
}

#[test]
fn a_zone_read_again_is_equal_as_long_as_its_rules_are() {
    let mut zones = zones();
    let before = zones.get("Europe/Berlin").unwrap();
    zones.reset();
    let after = zones.get("Europe/Berlin").unwrap();
    assert!(!Arc::ptr_eq(&before, &after) && before == after);
    assert_ne!(before, zones.get("Europe/Paris").unwrap());
}

#[test]
fn far_offsets_follow_the_zones_rule() {
    let mut zones = zones();
    let zone = zones.get("America/New_York").unwrap();
    assert_eq!(zone.offset_at(instant("2150-07-01T00:00:00Z")), -4 * 3600);
    assert_eq!(zone.offset_at(instant("2150-01-01T00:00:00Z")), -5 * 3600);
    assert_eq!(
        zone.offset_at(instant("1850-01-01T00:00:00Z")),
        -(4 * 3600 + 56 * 60 + 2)
    );
    let schedule = Catalog::new(zones).cron("30 2 * * *", "America/New_York").unwrap();
    assert_eq!(
        fire_times(&schedule, "2150-03-07T12:00:00Z", 2),
        ["2150-03-08T07:00:00Z", "2150-03-09T06:30:00Z"]
    );
}

#[test]
fn the_systems_tz_database_serves_as_well() {
    let Ok(db) = jiff::tz::TimeZoneDatabase::from_dir("/usr/share/zoneinfo") else {
        return;
    };
    if let Ok(zone) = Zones::new(db).get("Europe/Berlin") {
        assert_eq!(zone.offset_at(instant("2026-07-01T00:00:00Z")), 7200);
    }
}
