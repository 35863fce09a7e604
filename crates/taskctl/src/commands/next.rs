//! `taskctl next`

mod bounds;
mod counted;
mod month;
mod timeline;

use std::sync::Arc;

use jiff::tz::TimeZone;
use taskd_core::Timestamp;
use taskd_core::schedule::{Cron, CronErrorKind, DstRule, Gap, Overlap, Schedule, Zone};
use taskd_wire::client::{Request, Response};
use taskd_wire::codec::Rec;

use super::{definition, only_with_cron, when};
use crate::args::{self, NextArgs};
use crate::error::Result;
use crate::json;
use crate::out::JsonArray;
use crate::render::table::{Cell, Column, Table, Tone};
use crate::render::time::{rfc3339, rfc3339_in};
use crate::session::Session;
use crate::zones;

/// How many are shown when that is not said.
const SOME: u32 = 5;

/// Shows coming fire times.
pub fn run(args: &NextArgs, session: &mut Session) -> Result<()> {
    if args.cron.is_none() {
        let given = [
            ("--tz", args.tz.is_some()),
            ("--from", args.from.is_some()),
            ("--dst-gap", args.dst_gap.is_some()),
            ("--dst-overlap", args.dst_overlap.is_some()),
        ];
        only_with_cron(&given)?;
    }
    if let Some(typed) = &args.month {
        return month::run(typed.as_deref(), args, session);
    }
    if let Some(typed) = &args.timeline {
        return timeline::run(typed.as_deref(), args, session);
    }
    match &args.cron {
        Some(expr) => of_expression(expr, args, session),
        None => of_tasks(args, session),
    }
}

fn of_expression(expr: &str, args: &NextArgs, session: &mut Session) -> Result<()> {
    let from = match &args.from {
        Some(text) => when::resolve("from", text, session)?,
        None => session.now(),
    };
    let Some((schedule, zone)) = schedule(expr, args, from, session)? else {
        if session.json {
            JsonArray::default().close(&mut session.out)?;
        }
        return Ok(());
    };
    print_next(|at| schedule.next_after(at), &zone, from, args, session)
}

/// The schedule of an expression, and the zone it is shown in; none for one that never fires, which is said. A grid of
/// elapsed time begins at `from`.
fn schedule(
    expr: &str,
    args: &NextArgs,
    from: Timestamp,
    session: &mut Session,
) -> Result<Option<(Schedule, Arc<Zone>)>> {
    if let Some(interval) = definition::every_of(expr)? {
        if args.dst_gap.is_some() || args.dst_overlap.is_some() {
            return Err(definition::no_cron().into());
        }
        let grid = Schedule::Every { anchor: from, interval };
        return Ok(Some((grid, when::zone(args.tz.as_deref(), session)?)));
    }
    let cron = match Cron::parse(expr) {
        // A question that has an answer: there are none.
        Err(error) if matches!(error.kind, CronErrorKind::NeverFires { .. }) => {
            session.remark(&error.problem());
            return Ok(None);
        }
        Ok(_) | Err(_) => definition::check_cron(expr)?,
    };
    let zone = when::zone(args.tz.as_deref(), session)?;
    let schedule = Schedule::Cron {
        cron: cron.into(),
        zone: Arc::clone(&zone),
        rule: rule(args),
    };
    Ok(Some((schedule, zone)))
}

/// Prints as many fire times as were asked for.
fn print_next(
    next: impl Fn(Timestamp) -> Option<Timestamp>,
    zone: &Zone,
    from: Timestamp,
    args: &NextArgs,
    session: &mut Session,
) -> Result<()> {
    let shown_in = zones::named(zone.name()).unwrap_or(TimeZone::UTC);
    let mut at = from;
    let mut array = if session.json { Some(JsonArray::default()) } else { None };
    let mut fires = false;
    for _ in 0..args.n.unwrap_or(SOME) {
        // The last day of the year 9999 cannot be shown in every zone.
        let shows = |at: &Timestamp| Timestamp::from_jiff(at.to_jiff()) == *at;
        let Some(next) = next(at).filter(shows) else {
            break;
        };
        fires = true;
        let local = rfc3339_in(next.as_millis(), &shown_in);
        match &mut array {
            Some(array) => {
                let note = clock_change(&shown_in, at, next);
                let next = json::Next {
                    task: None,
                    at: rfc3339(next.as_millis()),
                    local,
                    note,
                };
                array.element(&mut session.out, &next)?;
            }
            None => session.out.line(&local)?,
        }
        at = next;
    }
    if let Some(array) = array {
        array.close(&mut session.out)?;
    }
    if !fires {
        session.remark("it never fires after that");
    }
    Ok(())
}

fn rule(args: &NextArgs) -> DstRule {
    DstRule {
        gap: match args.dst_gap {
            None | Some(args::Gap::Auto) => Gap::Auto,
            Some(args::Gap::Run) => Gap::Run,
            Some(args::Gap::Skip) => Gap::Skip,
        },
        overlap: match args.dst_overlap {
            None | Some(args::Overlap::Auto) => Overlap::Auto,
            Some(args::Overlap::First) => Overlap::First,
            Some(args::Overlap::Second) => Overlap::Second,
            Some(args::Overlap::Both) => Overlap::Both,
        },
    }
}

/// A coming fire time of a task.
struct Coming {
    at: Timestamp,
    task: String,
    zone: TimeZone,
    tz: Option<String>,
    note: Option<String>,
}

fn of_tasks(args: &NextArgs, session: &mut Session) -> Result<()> {
    let each = args.n.unwrap_or(if args.names.is_empty() { 1 } else { SOME });
    let mut client = session.connect()?;
    let Response::Next { tasks, more } = client.request(&Request::Next {
        names: args.names.clone(),
        n: each,
    })?
    else {
        return Err(client.unexpected().into());
    };
    let now = session.now();
    let mut coming: Vec<Coming> = Vec::new();
    // The soonest instant after which a task has fire times that are not in the answer.
    let mut cut_at: Option<Timestamp> = None;
    for Rec(task) in tasks {
        let zone = task.tz.as_deref().and_then(zones::named).unwrap_or(TimeZone::UTC);
        let mut before = now;
        for at in task.at_ms.into_iter().map(Timestamp::from_millis) {
            let note = clock_change(&zone, before, at);
            coming.push(Coming {
                at,
                task: task.name.clone(),
                zone: zone.clone(),
                tz: task.tz.clone(),
                note,
            });
            before = at;
        }
        if task.more {
            cut_at = Some(cut_at.map_or(before, |at| at.min(before)));
        }
    }
    coming.sort_by(|a, b| (a.at, &a.task).cmp(&(b.at, &b.task)));
    let mut cut = more || cut_at.is_some();
    if let (true, Some(n)) = (args.names.is_empty(), args.n) {
        coming.truncate(n as usize);
        // The soonest of all are whole if there are so many, and no task has more that come before the last of them.
        let last = coming.last().map(|next| next.at);
        cut = (more && coming.len() < n as usize) || cut_at.is_some_and(|at| last.is_some_and(|last| at < last));
    }
    if cut {
        let hint = "name fewer tasks, or ask for fewer fire times with -n";
        session.warn("cut-short", "there are more fire times than one answer holds", hint);
    }
    if session.json {
        let mut array = JsonArray::default();
        for next in &coming {
            let ms = next.at.as_millis();
            let local = rfc3339_in(ms, &next.zone);
            let shape = json::Next {
                task: Some(&next.task),
                at: rfc3339(ms),
                local,
                note: next.note.clone(),
            };
            array.element(&mut session.out, &shape)?;
        }
        return array.close(&mut session.out);
    }
    if coming.is_empty() {
        session.remark("nothing is due");
        return Ok(());
    }
    let times = session.times();
    let mut table = Table::new(&[
        Column::fixed("AT"),
        Column::fixed("").dropped(2),
        Column::fixed("TASK"),
        Column::fixed("IN ITS ZONE").dropped(1),
        Column::flexible("NOTE"),
    ]);
    for next in coming {
        let ms = next.at.as_millis();
        let row = vec![
            times.full(ms).into(),
            Cell::toned(times.relative(ms), Tone::Dim),
            next.task.into(),
            Cell::toned(times.there(ms, next.tz.as_deref()).unwrap_or_default(), Tone::Dim),
            next.note.unwrap_or_default().into(),
        ];
        table.row(row, &mut session.out)?;
    }
    table.end(&mut session.out)
}

/// What clocks in the zone do between two instants, if they do something.
fn clock_change(zone: &TimeZone, after: Timestamp, until: Timestamp) -> Option<String> {
    let (from, until) = (after.to_jiff(), until.to_jiff());
    let (old, new) = (zone.to_offset(from), zone.to_offset(until));
    if old == new {
        return None;
    }
    let change = zone
        .following(from)
        .find(|change| change.timestamp() > from && change.offset() != old)?;
    let on = change.timestamp().to_zoned(zone.clone()).date();
    Some(format!("clocks change on {on}, from UTC{old} to UTC{new}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_the_clock_between_two_fire_times_is_remarked() {
        let zone = TimeZone::get("Europe/Berlin").expect("a zone of every system");
        let at = |text: &str| Timestamp::from_jiff(text.parse().expect("an instant"));
        let note = clock_change(&zone, at("2027-03-27T01:00:00Z"), at("2027-03-28T01:00:00Z"));
        assert_eq!(
            note.as_deref(),
            Some("clocks change on 2027-03-28, from UTC+01 to UTC+02")
        );
        assert_eq!(
            clock_change(&zone, at("2027-03-26T01:00:00Z"), at("2027-03-27T01:00:00Z")),
            None
        );
    }
}
