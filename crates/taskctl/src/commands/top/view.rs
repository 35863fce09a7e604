//! How a moment looks: as a table that fits the terminal, and as JSON.

use serde::Serialize;

use super::feed::{Line, Moment};
use crate::error::Result;
use crate::render::table::{Cell, Column, Table, Tone, cut};
use crate::render::time::{length, rfc3339, took};
use crate::render::{bytes, one_line};
use crate::session::Session;

const COLUMNS: [Column; 7] = [
    Column::fixed("RUN"),
    Column::fixed("STATE"),
    Column::number("TIME"),
    Column::number("CPU"),
    Column::number("MEMORY"),
    Column::number("PROCS").dropped(1),
    Column::flexible("WAITS FOR"),
];

/// Lines of a screen that are no runs: the first, the heads, the last, and the one below it where the cursor stands.
const OTHER_LINES: usize = 4;

/// Prints a table of as many runs as fit on a screen of so many rows, or of all.
pub fn print(moment: &Moment, rows: Option<usize>, session: &mut Session) -> Result<()> {
    let room = rows.map_or(usize::MAX, |rows| rows.saturating_sub(OTHER_LINES));
    let told = moment.running + moment.waiting;
    let mut head = format!("{} running, {} waiting", moment.running, moment.waiting);
    if rows.is_some() {
        let zone = session.zone().clone();
        let clock = session.now().to_jiff().to_zoned(zone).strftime("%H:%M:%S").to_string();
        head = format!("{clock}  {head}  (q quits)");
    }
    if !moment.is_connected {
        head.push_str("; the daemon is away, this was before");
    }
    let tone = if moment.is_connected { Tone::Strong } else { Tone::Bad };
    let width = session.out.width;
    let fit = |text: &str| width.map_or_else(|| text.to_owned(), |width| cut(text, width).into_owned());
    let head = tone.paint(&fit(&head), session.out.colour);
    session.out.line(&head)?;
    let mut table = Table::new(&COLUMNS);
    let shown = moment.lines.len().min(room);
    for line in &moment.lines[..shown] {
        table.row(cells(line, moment.at_ms), &mut session.out)?;
    }
    if shown > 0 {
        table.end(&mut session.out)?;
    }
    let more = told.saturating_sub(shown as u64);
    if more > 0 {
        let text = Tone::Dim.paint(&fit(&format!("and {more} more")), session.out.colour);
        session.out.line(&text)?;
    }
    Ok(())
}

fn cells(line: &Line, now_ms: i64) -> Vec<Cell> {
    let run = &line.run;
    let usage = run.usage.as_deref().copied().unwrap_or_default();
    let unknown = || Cell::toned(if run.pid.is_some() { "-" } else { "" }, Tone::Dim);
    let known = |text: Option<String>| text.map_or_else(unknown, Cell::from);
    let waits = match (&run.waits_for, run.retry_ms) {
        (Some(waits_for), _) => one_line(waits_for),
        (None, Some(at)) => {
            let left = u64::try_from(at.saturating_sub(now_ms)).unwrap_or(0);
            format!("its next attempt, in {}", length(left))
        }
        (None, None) => String::new(),
    };
    vec![
        run.run.as_str().into(),
        Cell::toned(run.state.as_str(), Tone::of(&run.state)),
        took(elapsed(line, now_ms)).into(),
        known(line.cpu_percent.map(|percent| format!("{percent:.1}%"))),
        known(usage.memory_bytes.map(bytes)),
        known(usage.processes.map(|processes| processes.to_string())),
        waits.into(),
    ]
}

/// Milliseconds since it started; since there is such a run, where it has not.
fn elapsed(line: &Line, now_ms: i64) -> u64 {
    let since = line.run.started_ms.unwrap_or(line.run.created_ms);
    u64::try_from(now_ms.saturating_sub(since)).unwrap_or(0)
}

/// A moment.
#[derive(Debug, Serialize)]
pub struct Shape<'a> {
    at: String,
    /// Whether the daemon answered; the rest is what it said last.
    connected: bool,
    running: u64,
    waiting: u64,
    runs: Vec<RunShape<'a>>,
    /// How many runs there are that are not told of.
    more: u64,
}

#[derive(Debug, Serialize)]
struct RunShape<'a> {
    run: &'a str,
    state: &'a str,
    attempt: u32,
    pid: Option<u32>,
    started_at: Option<String>,
    elapsed_ms: u64,
    cpu_percent: Option<f64>,
    cpu_us: Option<u64>,
    memory_bytes: Option<u64>,
    processes: Option<u64>,
    waits_for: Option<&'a str>,
    retry_at: Option<String>,
}

impl<'a> Shape<'a> {
    /// Of a moment.
    pub fn of(moment: &'a Moment) -> Self {
        let told = moment.lines.len() as u64;
        Shape {
            at: rfc3339(moment.at_ms),
            connected: moment.is_connected,
            running: moment.running,
            waiting: moment.waiting,
            runs: moment.lines.iter().map(|line| run(line, moment.at_ms)).collect(),
            more: (moment.running + moment.waiting).saturating_sub(told),
        }
    }
}

fn run(line: &Line, now_ms: i64) -> RunShape<'_> {
    let run = &line.run;
    let usage = run.usage.as_deref().copied().unwrap_or_default();
    RunShape {
        run: &run.run,
        state: &run.state,
        attempt: run.attempt,
        pid: run.pid,
        started_at: run.started_ms.map(rfc3339),
        elapsed_ms: elapsed(line, now_ms),
        // As many digits as mean something.
        cpu_percent: line.cpu_percent.map(|percent| (percent * 10.0).round() / 10.0),
        cpu_us: usage.cpu_us,
        memory_bytes: usage.memory_bytes,
        processes: usage.processes,
        waits_for: run.waits_for.as_deref(),
        retry_at: run.retry_ms.map(rfc3339),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use taskd_wire::client::{LiveUsage, Response, Top, TopRun};
    use taskd_wire::codec::Rec;
    use taskd_wire::refusal::Refusal;

    use crate::testing::FakeDaemon;

    fn top(usage: Option<LiveUsage>) -> Top {
        let run = |n: u64| {
            Rec(TopRun {
                run: format!("backup/{n}"),
                state: "running".to_owned(),
                attempt: 1,
                pid: Some(7),
                started_ms: Some(0),
                usage: usage.map(Rec),
                ..TopRun::default()
            })
        };
        let waiting = TopRun {
            run: "later/1".to_owned(),
            state: "waiting".to_owned(),
            waits_for: Some("lock disk".to_owned()),
            created_ms: 60_000,
            ..TopRun::default()
        };
        Top {
            at_ms: 61_500,
            measured_us: usage.map(|_| 5),
            running: 2,
            waiting: 9,
            runs: vec![run(1), run(2), Rec(waiting)],
        }
    }

    fn shown(usage: Option<LiveUsage>, line: &[&str]) -> String {
        let daemon = FakeDaemon::new(move |_| Response::Top(Box::new(Rec(top(usage)))));
        let ran = daemon.taskctl(line);
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.out
    }

    #[test]
    fn a_snapshot_says_what_goes_on_and_how_much_more_there_is() {
        let used = LiveUsage {
            cpu_us: Some(5),
            memory_bytes: Some(3 << 20),
            processes: Some(2),
        };
        assert_eq!(
            shown(Some(used), &["top", "--once", "--interval", "100ms"]),
            "2 running, 9 waiting\n\
             RUN       STATE       TIME  CPU   MEMORY  PROCS  WAITS FOR\n\
             backup/1  running  1 m 1 s    -  3.0 MiB      2\n\
             backup/2  running  1 m 1 s    -  3.0 MiB      2\n\
             later/1   waiting    1.5 s                       lock disk\n\
             and 8 more\n"
        );
    }

    #[test]
    fn a_daemon_that_ends_is_one_that_is_away() {
        let is_first = AtomicBool::new(true);
        let daemon = FakeDaemon::new(move |_| match is_first.swap(false, Ordering::Relaxed) {
            true => Response::Top(Box::new(Rec(top(None)))),
            false => Response::Refused(Refusal::Stopping),
        });
        let ran = daemon.taskctl(&["top", "--once", "--interval", "100ms"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(
            ran.out.contains("the daemon is away") && ran.out.contains("backup/1"),
            "{}",
            ran.out
        );
    }

    #[test]
    fn what_a_runner_does_not_tell_is_unknown_and_no_error() {
        let table = shown(None, &["top", "--once", "--interval", "100ms"]);
        assert!(table.contains("backup/1  running") && table.contains('-'), "{table}");
        let json = shown(None, &["top", "--once", "--interval", "100ms", "--json"]);
        let moment: serde_json::Value = serde_json::from_str(&json).expect("one object");
        assert_eq!((&moment["running"], &moment["more"]), (&2.into(), &8.into()));
        let run = &moment["runs"][0];
        for unknown in [
            "cpu_percent",
            "cpu_us",
            "memory_bytes",
            "processes",
            "waits_for",
            "retry_at",
        ] {
            assert!(run[unknown].is_null(), "{unknown} in {run}");
        }
        assert_eq!(run["elapsed_ms"], 61_500);
    }
}
