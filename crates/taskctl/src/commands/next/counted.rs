//! Fire times by buckets of time: of an expression counted here, of tasks by the daemon.

use jiff::tz::TimeZone;
use taskd_core::Timestamp;
use taskd_core::schedule::{Buckets, Counting, Schedule, clock_changes};
use taskd_wire::client::{Bucket, ClockChange, Request, Response};
use taskd_wire::codec::Rec;

use super::bounds::{self, Change};
use crate::args::NextArgs;
use crate::commands::when;
use crate::error::{Failure, Result};
use crate::render::{counted as so_many, one_line};
use crate::session::Session;
use crate::zones;

/// What was counted.
pub struct Counts<Frame> {
    /// What it was counted for.
    pub frame: Frame,
    /// In whose time that is.
    pub zone: TimeZone,
    /// What each bucket has.
    pub buckets: Vec<Bucket>,
    /// How many tasks are meant; none of an expression.
    pub tasks: Option<u64>,
    /// The changes of the clock in the zone.
    pub changes: Vec<Change>,
    /// What changes of the clock do to fire times.
    pub effects: Vec<Effect>,
    /// How many more of those there are.
    pub effects_more: u64,
}

/// What a change of the clock does to fire times.
pub struct Effect {
    /// The instant of the change.
    pub at: Timestamp,
    /// A sentence, with the task that is meant where there are several.
    pub text: String,
}

impl<Frame> Counts<Frame> {
    /// The zone's name.
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("your time")
    }

    /// All fire times.
    pub fn total(&self) -> u64 {
        self.buckets
            .iter()
            .fold(0, |sum, bucket| sum.saturating_add(bucket.count))
    }

    /// What is to be said of changes of the clock from one instant on and before another, for scripts.
    pub fn note(&self, from: Timestamp, until: Timestamp) -> Option<String> {
        let within = |at: Timestamp| from <= at && at < until;
        let changes = self
            .changes
            .iter()
            .filter(|change| within(change.at))
            .map(Change::to_string);
        let effects = self.effects.iter().filter(|effect| within(effect.at));
        let all: Vec<String> = changes.chain(effects.map(|effect| effect.text.clone())).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    /// The same for people, a line each.
    pub fn remarks(&self) -> Vec<String> {
        let changes = self.changes.iter().map(|change| format!("* {change}"));
        let effects = self
            .effects
            .iter()
            .map(|effect| format!("  {}", one_line(&effect.text)));
        let more = (self.effects_more > 0).then(|| format!("  and {} more of the kind", self.effects_more));
        changes.chain(effects).chain(more).collect()
    }
}

/// Counts for a frame of time, which is made in the zone that is shown: that of the expression or of the only task, and
/// the reader's for several tasks.
pub fn counts<Frame>(
    args: &NextArgs,
    named: bool,
    frame: impl Fn(&TimeZone) -> Result<(Frame, Vec<Timestamp>), Failure>,
    session: &mut Session,
) -> Result<Counts<Frame>> {
    match &args.cron {
        Some(expr) => of_expression(expr, args, frame, session),
        None => of_tasks(&args.names, named, frame, session),
    }
}

fn of_expression<Frame>(
    expr: &str,
    args: &NextArgs,
    frame: impl Fn(&TimeZone) -> Result<(Frame, Vec<Timestamp>), Failure>,
    session: &mut Session,
) -> Result<Counts<Frame>> {
    let now = session.now();
    let (schedule, zone) = match super::schedule(expr, args, now, session)? {
        Some(read) => read,
        None => (Schedule::Manual, when::zone(args.tz.as_deref(), session)?),
    };
    let zone = zones::named(zone.name()).unwrap_or(TimeZone::UTC);
    let (frame, bounds) = frame(&zone)?;
    // OK because a frame is made of bounds that ascend, two at least.
    let buckets = Buckets::new(bounds).expect("a frame has buckets");
    let found = buckets.count(&Counting::all(&schedule, &buckets.outside(&[])), &mut u64::MAX.clone());
    let mut counted = vec![Bucket::default(); buckets.number()];
    for (bucket, passed) in found.into_iter().flatten() {
        counted[bucket] = Bucket {
            count: passed.count,
            first_ms: Some(passed.first.as_millis()),
            last_ms: Some(passed.last.as_millis()),
            tasks: 1,
            names: Vec::new(),
        };
    }
    let changes = clock_changes(&schedule, buckets.start(), buckets.end());
    let effects = changes.into_iter().map(|change| Effect {
        at: change.at,
        text: change.finding.message,
    });
    Ok(Counts {
        changes: bounds::changes(&zone, buckets.start(), buckets.end()),
        frame,
        zone,
        buckets: counted,
        tasks: None,
        effects: effects.collect(),
        effects_more: 0,
    })
}

fn of_tasks<Frame>(
    names: &[String],
    named: bool,
    make: impl Fn(&TimeZone) -> Result<(Frame, Vec<Timestamp>), Failure>,
    session: &mut Session,
) -> Result<Counts<Frame>> {
    let mut client = session.connect()?;
    let mut ask = |bounds: &[Timestamp]| {
        let request = Request::Count {
            names: names.to_vec(),
            bounds_ms: bounds.iter().map(|bound| bound.as_millis()).collect(),
            named,
        };
        match client.request(&request)? {
            Response::Counted(counted) if counted.buckets.len() + 1 == bounds.len() => Ok(counted.0),
            _ => Err(client.unexpected()),
        }
    };
    let mut zone = session.zone().clone();
    let (mut frame, mut bounds) = make(&zone)?;
    let mut counted = ask(&bounds)?;
    let own = counted.tz.as_deref().filter(|_| counted.tasks == 1);
    if let Some(own) = own.filter(|own| zone.iana_name() != Some(*own)).and_then(zones::named) {
        zone = own;
        (frame, bounds) = make(&zone)?;
        counted = ask(&bounds)?;
    }
    let are = |n: u64| if n == 1 { "is" } else { "are" };
    if counted.idle > 0 {
        let tasks = so_many(counted.idle, "task");
        session.remark(&format!(
            "{tasks} {} disabled or held and not counted",
            are(counted.idle)
        ));
    }
    if counted.paused > 0 {
        let tasks = so_many(counted.paused, "task");
        let text = format!(
            "{tasks} {} paused; fire times in a pause are not counted",
            are(counted.paused)
        );
        session.remark(&text);
    }
    if counted.left_out > 0 {
        let text = format!(
            "{} would take too long to count: left out",
            so_many(counted.left_out, "task")
        );
        session.warn("cut-short", &text, "name fewer tasks");
    }
    let (start, end) = (bounds[0], bounds[bounds.len() - 1]);
    let alone = counted.tasks == 1;
    let effect = |Rec(change): Rec<ClockChange>| Effect {
        at: Timestamp::from_millis(change.at_ms),
        text: match (alone, change.others) {
            (true, _) => change.message,
            (false, 0) => format!("{}: {}", change.task, change.message),
            (false, others) => format!("{} and {}: {}", change.task, so_many(others, "other"), change.message),
        },
    };
    Ok(Counts {
        frame,
        changes: bounds::changes(&zone, start, end),
        zone,
        buckets: counted.buckets.into_iter().map(|Rec(bucket)| bucket).collect(),
        tasks: Some(counted.tasks),
        effects: counted.clock.into_iter().map(effect).collect(),
        effects_more: counted.clock_more,
    })
}
