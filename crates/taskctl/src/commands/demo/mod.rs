//! `taskctl demo`
//!
//! A daemon of its own, in a temporary directory, with real tasks, shown live; half-way the daemon is killed. Nothing is
//! staged: what is claimed at the end is read from the daemon's answers and from the output files, and the exit code
//! is 0 only if all of it holds. Clearing away is the business of a second process, the [`janitor`], which does it
//! however this one ends.

pub mod janitor;
mod screen;
mod stage;

use std::time::{Duration, Instant};

use taskd_wire::client::RunInfo;

use crate::clock;
use crate::error::{Error, Exit, Failure, Result};
use crate::scratch::Scratch;
use crate::session::Session;

use janitor::Janitor;
use screen::Screen;
use stage::Stage;

/// In its environment, every process of a demo carries its directory.
pub const MARK: &str = "TASKCTL_DEMO";

/// Begins the name of a demo's directory.
const PREFIX: &str = "taskctl-demo";

/// Steps of the long run, a second each.
const STEPS: u32 = 14;

/// The step after which the daemon is killed.
const KILL_AT: u32 = 6;

/// How long the daemon stays away.
const AWAY: Duration = Duration::from_millis(1500);

/// How much is shown after the long run has ended.
const EPILOGUE: Duration = Duration::from_secs(4);

/// Nothing in a demo takes longer than this.
const PATIENCE: Duration = Duration::from_secs(45);

/// Between two looks at what has come.
const TICK: Duration = Duration::from_millis(50);

/// What the demo claims, and whether it is so.
struct Claim {
    text: String,
    holds: bool,
}

/// Runs the demonstration.
pub fn run(session: &mut Session) -> Result<u8> {
    match perform(session) {
        // It broke off, so it has shown nothing.
        Err(Error::ReaderGone) => Ok(Exit::Failed as u8),
        done => done,
    }
}

fn perform(session: &mut Session) -> Result<u8> {
    let scratch = Scratch::new(PREFIX).map_err(|error| Failure::system("make a temporary directory", &error))?;
    let janitor = Janitor::hire(scratch.path())?;
    let mut claims = Vec::new();
    let played = play(session, &scratch, &mut claims);
    let cleared = janitor.dismiss();
    drop(scratch);
    played?;
    claims.push(Claim {
        text: "no process and no file of it is left".to_owned(),
        holds: cleared,
    });
    conclude(session, &claims)
}

fn conclude(session: &mut Session, claims: &[Claim]) -> Result<u8> {
    let all = claims.iter().all(|claim| claim.holds);
    if session.json {
        let shapes: Vec<serde_json::Value> = claims
            .iter()
            .map(|claim| serde_json::json!({ "claim": claim.text, "holds": claim.holds }))
            .collect();
        session
            .out
            .json(&serde_json::json!({ "holds": all, "claims": shapes }))?;
        return Ok(u8::from(!all));
    }
    let mut screen = Screen::new(session);
    screen.say("What really happened, by the daemon's own records:")?;
    for claim in claims {
        screen.claim(&claim.text, claim.holds)?;
    }
    if all {
        screen.say("`taskctl start` starts a daemon of your own; `taskctl add --help` shows how to add a task.")?;
    }
    Ok(u8::from(!all))
}

fn play(session: &mut Session, scratch: &Scratch, claims: &mut Vec<Claim>) -> Result<()> {
    let mut screen = Screen::new(session);
    let mut stage = Stage::new(scratch.path());
    screen.say(&format!(
        "A daemon of its own, in {}. It will be gone in twenty seconds.",
        scratch.path().display()
    ))?;
    stage.start()?;
    screen.say(&format!("taskd serves, pid {}. Four tasks:", stage.pid()))?;
    for task in stage::tasks(STEPS) {
        screen.command(&stage::typed(&task))?;
        stage.add(task)?;
    }
    let long = stage.run("long")?;
    screen.command("taskctl run long")?;

    let before = until(&mut stage, &mut screen, "the long run to get on", |stage| {
        let run = stage.find(&long)?;
        Ok((stage.lines_of(&long) >= KILL_AT as usize).then_some(run))
    })?;
    let first_pid = stage.pid();
    screen.say(&format!(
        "Now the daemon is killed: kill -9 {first_pid}. Its runs belong to another process, the runner."
    ))?;
    let died = stage.kill()?;
    let lines_at_death = stage.lines_of(&long);
    look_on(&mut stage, &mut screen, AWAY)?;
    let written_meanwhile = stage.lines_of(&long) > lines_at_death;

    stage.start()?;
    let after = stage.find(&long)?;
    screen.say(&format!(
        "The daemon is back, pid {}. {long} is {}, its process is still {}.",
        stage.pid(),
        after.state,
        after.pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string())
    ))?;
    claims.push(Claim {
        text: format!(
            "the daemon was killed (pid {first_pid}), and another took over (pid {})",
            stage.pid()
        ),
        holds: died && first_pid != stage.pid(),
    });
    claims.push(Claim {
        text: "output went on while no daemon was there".to_owned(),
        holds: written_meanwhile,
    });
    claims.push(Claim {
        text: format!(
            "{long} was not touched by it: the same process, {}",
            process_of(&before)
        ),
        holds: before.pid.is_some() && before.pid == after.pid && after.state == "running",
    });

    let ended = until(&mut stage, &mut screen, "the long run to end", |stage| {
        let run = stage.find(&long)?;
        Ok(run.outcome.is_some().then_some(run))
    })?;
    screen.say(&format!("{long} has ended: {}.", crate::render::task::fate(&ended).0))?;
    claims.push(Claim {
        text: format!("{long} succeeded, with exit code 0, in one attempt"),
        holds: ended.outcome.as_deref() == Some("succeeded") && ended.exit_code == Some(0) && ended.attempts == 1,
    });
    look_on(&mut stage, &mut screen, EPILOGUE)?;
    let whole: Vec<String> = (1..=STEPS).map(|step| stage::step(step, STEPS)).collect();
    claims.push(Claim {
        text: format!("its output is whole: {STEPS} lines, each once"),
        holds: stage.output_of(&long)? == whole,
    });
    judge(&mut stage, claims)?;
    let stopped = stage.stop()?;
    screen.say(&format!("taskd is stopped, in good order, pid {stopped}."))
}

fn process_of(run: &RunInfo) -> String {
    run.pid.map_or_else(|| "unknown".to_owned(), |pid| format!("pid {pid}"))
}

/// Counts what the other tasks came to.
fn judge(stage: &mut Stage, claims: &mut Vec<Claim>) -> Result<()> {
    let restarted_ms = stage.started_ms();
    let runs = stage.runs()?;
    let of = |task: &str| {
        runs.iter()
            .filter(|run| run.task == task && run.outcome.is_some())
            .collect::<Vec<_>>()
    };
    let succeeded = |runs: &[&RunInfo]| runs.iter().filter(|run| run.exit_code == Some(0)).count();

    let ticks = of("tick");
    let (earlier, later): (Vec<&RunInfo>, Vec<&RunInfo>) = ticks.iter().partition(|run| run.created_ms < restarted_ms);
    claims.push(Claim {
        text: format!(
            "tick ran every two seconds: {} runs before, {} after the restart",
            earlier.len(),
            later.len()
        ),
        holds: earlier.len() >= 2 && later.len() >= 2 && succeeded(&ticks) == ticks.len(),
    });
    let mut fire_times: Vec<i64> = ticks.iter().filter_map(|run| run.fire_time_ms).collect();
    let count = fire_times.len();
    fire_times.sort_unstable();
    fire_times.dedup();
    claims.push(Claim {
        text: "no fire time was run twice".to_owned(),
        holds: fire_times.len() == count,
    });

    let pulses = of("pulse");
    claims.push(Claim {
        text: format!("pulse ran at its interval: {} runs succeeded", succeeded(&pulses)),
        holds: pulses.len() >= 2 && succeeded(&pulses) == pulses.len(),
    });
    let failures = of("broken");
    claims.push(Claim {
        text: format!(
            "broken failed each time, with exit code {}: {} runs",
            stage::BROKEN,
            failures.len()
        ),
        holds: !failures.is_empty()
            && failures
                .iter()
                .all(|run| run.outcome.as_deref() == Some("failed") && run.exit_code == Some(stage::BROKEN)),
    });
    Ok(())
}

/// Shows what comes, for a while.
fn look_on(stage: &mut Stage, screen: &mut Screen<'_>, length: Duration) -> Result<()> {
    let end = clock::monotonic() + length;
    while clock::monotonic() < end {
        tick(stage, screen, end)?;
    }
    Ok(())
}

/// Shows what comes until something is so.
fn until<T>(
    stage: &mut Stage,
    screen: &mut Screen<'_>,
    what: &str,
    mut check: impl FnMut(&mut Stage) -> Result<Option<T>>,
) -> Result<T> {
    let end = clock::monotonic() + PATIENCE;
    while clock::monotonic() < end {
        tick(stage, screen, end)?;
        if let Some(found) = check(stage)? {
            return Ok(found);
        }
    }
    let message = format!("waited in vain for {what}");
    Err(Error::from(Failure::new(Exit::Failed, "demo", message)))
}

fn tick(stage: &mut Stage, screen: &mut Screen<'_>, end: Instant) -> Result<()> {
    stage.look(screen)?;
    crate::watch::wait_for(&[], Some(TICK.min(end.saturating_duration_since(clock::monotonic()))))?;
    Ok(())
}
