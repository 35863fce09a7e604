//! Asks the daemon, across its restarts, and makes rates of what it tells.

use std::collections::HashMap;
use std::time::Duration;

use taskd_wire::client::{Request, Response, Top, TopRun};
use taskd_wire::codec::Rec;

use crate::client::{Client, Patience, is_lost, is_silent};
use crate::clock;
use crate::error::{Failure, Result, STOPPING};
use crate::places::Places;
use crate::session::Session;

/// How long a daemon that went away is looked for at each refresh.
const ATTEMPT: Duration = Duration::from_millis(500);

/// How long a daemon that is there may take to answer; keys wait meanwhile.
const SILENCE: Duration = Duration::from_secs(5);

/// What goes on at one moment.
#[derive(Debug, Default)]
pub struct Moment {
    /// When.
    pub at_ms: i64,
    /// How many runs have a process, or are about to.
    pub running: u64,
    /// How many wait.
    pub waiting: u64,
    /// Those that are told of, who uses most first.
    pub lines: Vec<Line>,
    /// Whether the daemon answered. What is told is of before, if it did not.
    pub is_connected: bool,
}

/// A run, and how much of a processor it uses.
#[derive(Debug, Default)]
pub struct Line {
    /// The run.
    pub run: TopRun,
    /// In hundredths of one processor. `None` where nobody counts it.
    pub cpu_percent: Option<f64>,
}

/// CPU time that an attempt of a run had used, and when, both in microseconds.
type Used = HashMap<(String, u32), (u64, u64)>;

/// The daemon, as long as it is there, and what it said last.
pub struct Feed {
    places: Places,
    client: Option<Client>,
    used: Used,
    last: Moment,
}

impl Feed {
    /// Asks for the first time, so that the next answer has something to be compared with.
    pub fn begin(session: &Session) -> Result<Self> {
        let mut client = session.connect()?;
        client.set_patience(Patience::Silence(SILENCE))?;
        let top = ask(&mut client)?;
        let mut used = Used::new();
        let last = moment(top, &mut used);
        Ok(Feed {
            // Its own one, should it go away and another one answer elsewhere.
            places: Places::new(Some(client.socket()), None, false),
            client: Some(client),
            used,
            last,
        })
    }

    /// What goes on now. While no daemon is there, what went on before.
    pub fn next(&mut self, session: &Session) -> Result<&Moment> {
        match self.answer() {
            Ok(top) => self.last = moment(top, &mut self.used),
            Err(failure) if is_lost(&failure) || is_silent(&failure) || failure.code == STOPPING => {
                self.client = None;
                self.last.is_connected = false;
                self.last.at_ms = session.now().as_millis();
            }
            Err(failure) => return Err(failure.into()),
        }
        Ok(&self.last)
    }

    fn answer(&mut self) -> Result<Top, Failure> {
        let client = match &mut self.client {
            Some(client) => client,
            None => {
                let until = clock::monotonic() + ATTEMPT;
                let mut found = Client::connect_with(&self.places, Patience::Until(until))?;
                found.set_patience(Patience::Silence(SILENCE))?;
                self.client.insert(found)
            }
        };
        ask(client)
    }
}

fn ask(client: &mut Client) -> Result<Top, Failure> {
    match client.request(&Request::Top)? {
        Response::Top(top) => Ok(top.0),
        _ => Err(client.unexpected()),
    }
}

/// An answer, compared with the one before.
fn moment(top: Top, used: &mut Used) -> Moment {
    let before = std::mem::take(used);
    let mut lines: Vec<Line> = Vec::with_capacity(top.runs.len());
    for Rec(run) in top.runs {
        let cpu_us = run.usage.as_ref().and_then(|usage| usage.cpu_us);
        let mut cpu_percent = None;
        if let Some((at_us, cpu_us)) = top.measured_us.zip(cpu_us) {
            let key = (run.run.clone(), run.attempt);
            cpu_percent = rate(before.get(&key), (cpu_us, at_us));
            used.insert(key, (cpu_us, at_us));
        }
        lines.push(Line { run, cpu_percent });
    }
    // Those that use nothing stay in the order of the daemon, in which those that wait come last.
    lines.sort_by(|a, b| b.cpu_percent.unwrap_or(-1.0).total_cmp(&a.cpu_percent.unwrap_or(-1.0)));
    Moment {
        at_ms: top.at_ms,
        running: top.running,
        waiting: top.waiting,
        lines,
        is_connected: true,
    }
}

/// In hundredths of a processor. One that was not there at the last look has begun since, and is told of at the next one.
fn rate(before: Option<&(u64, u64)>, (cpu_us, at_us): (u64, u64)) -> Option<f64> {
    let (cpu_before, before_us) = before?;
    // Another runner has another clock, and none goes back.
    let passed = at_us.checked_sub(*before_us).filter(|passed| *passed > 0)?;
    Some(cpu_us.saturating_sub(*cpu_before) as f64 * 100.0 / passed as f64)
}

#[cfg(test)]
mod tests {
    use taskd_wire::client::LiveUsage;

    use super::*;

    fn top(measured_us: u64, cpu: &[(&str, Option<u64>)]) -> Top {
        let run = |(run, cpu_us): &(&str, Option<u64>)| {
            let usage = cpu_us.map(|cpu_us| {
                Rec(LiveUsage {
                    cpu_us: Some(cpu_us),
                    ..LiveUsage::default()
                })
            });
            Rec(TopRun {
                run: (*run).to_owned(),
                usage,
                ..TopRun::default()
            })
        };
        Top {
            measured_us: Some(measured_us),
            runs: cpu.iter().map(run).collect(),
            ..Top::default()
        }
    }

    #[test]
    fn rates_are_of_the_time_between_two_looks_and_the_highest_comes_first() {
        let mut used = Used::new();
        moment(top(1_000_000, &[("a/1", Some(0)), ("b/1", Some(500))]), &mut used);
        let second = top(
            3_000_000,
            &[
                ("w/1", None),
                ("a/1", Some(200_000)),
                ("b/1", Some(3_000_500)),
                ("c/1", Some(9)),
            ],
        );
        let told = moment(second, &mut used);
        let lines: Vec<_> = told
            .lines
            .iter()
            .map(|line| (line.run.run.as_str(), line.cpu_percent))
            .collect();
        assert_eq!(
            lines,
            [("b/1", Some(150.0)), ("a/1", Some(10.0)), ("w/1", None), ("c/1", None)]
        );
        // Another runner, whose clock is another one.
        let told = moment(top(5, &[("a/1", Some(0))]), &mut used);
        assert_eq!(told.lines[0].cpu_percent, None);
        assert_eq!(used.len(), 1, "what has ended is forgotten");
    }
}
