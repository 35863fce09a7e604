//! `taskctl runs`

use taskd_wire::client::{AttemptInfo, Request, Response, RunFilter, RunInfo};
use taskd_wire::codec::Rec;

use super::when;
use crate::args::RunsArgs;
use crate::client::{Client, pages};
use crate::error::{Error, Result};
use crate::json;
use crate::out::JsonArray;
use crate::render::table::{Cell, Column, Table, Tone};
use crate::render::time::{Times, length};
use crate::render::{bytes, task};
use crate::session::Session;

/// Runs asked for at once.
const PAGE: u32 = 500;

/// Lists runs, newest first.
pub fn run(args: &RunsArgs, session: &mut Session) -> Result<()> {
    let since_ms = args
        .since
        .as_deref()
        .map(|text| when::past("since", text, session))
        .transpose()?;
    let filter = RunFilter {
        targets: args.targets.clone(),
        outcomes: args.outcome.clone(),
        since_ms,
    };
    let limit = if args.limit == 0 { usize::MAX } else { args.limit };
    let mut client = session.connect()?;
    if session.json {
        let mut array = JsonArray::default();
        let out = &mut session.out;
        each(&mut client, &filter, limit, |run| {
            array.element(out, &json::Run::of(&run))?;
            Ok(true)
        })?;
        return array.close(out);
    }
    let (times, now_ms) = (session.times(), session.now().as_millis());
    let mut table = Table::new(if args.wide { &WIDE } else { &WIDE[..NARROW] });
    let out = &mut session.out;
    let mut count = 0;
    each(&mut client, &filter, limit, |run| {
        count += 1;
        let mut cells = row(&run, &times, now_ms);
        if args.wide {
            cells.extend(more(&run, &times));
        }
        table.row(cells, out)?;
        for attempt in &run.earlier {
            let attempt = as_run(attempt);
            let mut cells = row(&attempt, &times, now_ms);
            if args.wide {
                cells.extend(more(&attempt, &times));
            }
            table.row(cells, out)?;
        }
        Ok(true)
    })?;
    if count == 0 {
        session.remark("no runs");
        return Ok(());
    }
    table.end(&mut session.out)
}

/// Gives runs, newest first, at most so many, until told that it is enough.
pub fn each(
    client: &mut Client,
    filter: &RunFilter,
    limit: usize,
    mut give: impl FnMut(RunInfo) -> Result<bool>,
) -> Result<()> {
    let mut left = limit;
    let page = |left: usize| u32::try_from(left).unwrap_or(PAGE).min(PAGE);
    let ask = |before| Request::Runs {
        filter: Rec(filter.clone()),
        before,
        limit: page(limit),
    };
    pages(client, ask, |client, response| {
        let Response::Runs { runs, before } = response else {
            return Err(Error::from(client.unexpected()));
        };
        for Rec(run) in runs {
            left = left.saturating_sub(1);
            if !give(run)? || left == 0 {
                return Ok(None);
            }
        }
        Ok(before)
    })
}

/// Columns without `--wide`.
const NARROW: usize = 6;

const WIDE: [Column; 20] = [
    Column::fixed("RUN"),
    Column::fixed("OUTCOME"),
    Column::fixed("STARTED"),
    Column::number("TOOK"),
    Column::fixed("TRIGGER").dropped(1),
    Column::flexible("REASON"),
    Column::fixed("FIRE TIME"),
    Column::number("LATE"),
    Column::number("EXIT"),
    Column::number("TRIES"),
    Column::number("PID"),
    Column::number("MEMORY"),
    Column::number("PEAK"),
    Column::number("CPU"),
    Column::number("READ"),
    Column::number("WRITTEN"),
    Column::number("PIDS"),
    Column::number("OUTPUT"),
    Column::fixed("GIVEN"),
    Column::fixed("TRACE"),
];

/// An earlier attempt as a line below that of its run.
fn as_run(attempt: &AttemptInfo) -> RunInfo {
    let length = |start: i64| u64::try_from(attempt.finished_ms - start).unwrap_or(0);
    RunInfo {
        run: format!("  attempt {}", attempt.attempt),
        started_ms: attempt.started_ms,
        finished_ms: Some(attempt.finished_ms),
        duration_ms: attempt.started_ms.map(length),
        outcome: Some(attempt.outcome.clone()),
        reason: attempt.reason.clone(),
        exit_code: attempt.exit_code,
        signal: attempt.signal,
        attempts: attempt.attempt,
        pid: attempt.pid,
        max_rss_kib: attempt.max_rss_kib,
        memory_peak_kib: attempt.memory_peak_kib,
        user_us: attempt.user_us,
        system_us: attempt.system_us,
        read_bytes: attempt.read_bytes,
        written_bytes: attempt.written_bytes,
        peak_pids: attempt.peak_pids,
        output_bytes: attempt.output_bytes,
        ..RunInfo::default()
    }
}

fn row(run: &RunInfo, times: &Times, now_ms: i64) -> Vec<Cell> {
    let (fate, tone) = task::fate(run);
    vec![
        run.run.as_str().into(),
        Cell::toned(fate, tone),
        run.started_ms.map(|at| times.short(at)).unwrap_or_default().into(),
        task::taken(run, now_ms).into(),
        Cell::toned(trigger(run), Tone::Dim),
        task::remark(run, times).unwrap_or_default().into_owned().into(),
    ]
}

/// Why it exists.
fn trigger(run: &RunInfo) -> String {
    let by = run.triggered_by.as_ref();
    by.map_or_else(|| run.trigger.clone(), |by| format!("after {by}"))
}

fn more(run: &RunInfo, times: &Times) -> Vec<Cell> {
    let late = |ms: i64| {
        if ms < 0 {
            format!("-{}", length(ms.unsigned_abs()))
        } else {
            length(ms.unsigned_abs())
        }
    };
    let kib = |kib: u64| bytes(kib.saturating_mul(1024));
    let cpu = |us: u64| crate::render::time::took(us / 1000);
    vec![
        run.fire_time_ms.map(|at| times.short(at)).unwrap_or_default().into(),
        run.lateness_ms.map(late).unwrap_or_default().into(),
        run.exit_code.map(|code| code.to_string()).unwrap_or_default().into(),
        run.attempts.to_string().into(),
        run.pid.map(|pid| pid.to_string()).unwrap_or_default().into(),
        run.max_rss_kib.map(kib).unwrap_or_default().into(),
        run.memory_peak_kib.map(kib).unwrap_or_default().into(),
        run.user_us
            .map(|us| cpu(us.saturating_add(run.system_us.unwrap_or(0))))
            .unwrap_or_default()
            .into(),
        run.read_bytes.map(bytes).unwrap_or_default().into(),
        run.written_bytes.map(bytes).unwrap_or_default().into(),
        run.peak_pids.map(|pids| pids.to_string()).unwrap_or_default().into(),
        run.output_bytes.map(bytes).unwrap_or_default().into(),
        task::given(run).into(),
        run.trace_id.as_str().into(),
    ]
}
