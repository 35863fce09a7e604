//! `taskctl lint`

use taskd_core::schedule::{Cron, DstRule, Finding, Schedule, findings};
use taskd_wire::client::{self as wire, Request, Response};
use taskd_wire::codec::Rec;

use super::{definition, only_with_cron, when};
use crate::args::LintArgs;
use crate::client::pages;
use crate::error::{Error, Result};
use crate::json;
use crate::out::JsonArray;
use crate::session::Session;

/// Tasks asked for at once.
const PAGE: u32 = 1_000;

/// The exit code when something was found.
const FOUND: u8 = 1;

/// Says what may surprise in schedules, and gives the exit code.
pub fn run(args: &LintArgs, session: &mut Session) -> Result<u8> {
    if args.cron.is_none() {
        only_with_cron(&[("--tz", args.tz.is_some())])?;
    }
    // The exit code counts also where nobody reads on, as in `lint | head`.
    session.out.outlive_reader();
    let mut report = Report {
        array: session.json.then(JsonArray::default),
        found: false,
    };
    match &args.cron {
        Some(expr) => {
            for finding in of_expression(expr, args, session)? {
                report.say(None, &said(finding), session)?;
            }
        }
        None => of_tasks(&args.names, &mut report, session)?,
    }
    if let Some(array) = report.array {
        array.close(&mut session.out)?;
    }
    if !report.found {
        session.remark("nothing was found");
    }
    Ok(if report.found { FOUND } else { 0 })
}

fn of_expression(expr: &str, args: &LintArgs, session: &mut Session) -> Result<Vec<Finding>> {
    if definition::every_of(expr)?.is_some() {
        return Ok(Vec::new());
    }
    let cron = match Cron::parse(expr) {
        Ok(cron) => cron,
        Err(error) => match Finding::of_refused(&error) {
            Some(never) => return Ok(vec![never]),
            None => definition::check_cron(expr)?,
        },
    };
    let schedule = Schedule::Cron {
        cron: cron.into(),
        zone: when::zone(args.tz.as_deref(), session)?,
        rule: DstRule::default(),
    };
    Ok(findings(&schedule, expr, session.now()))
}

fn of_tasks(names: &[String], report: &mut Report, session: &mut Session) -> Result<()> {
    let mut client = session.connect()?;
    let ask = |after| Request::Lint {
        names: names.to_vec(),
        after,
        limit: PAGE,
    };
    pages(&mut client, ask, |client, response| {
        let Response::Findings { tasks, more } = response else {
            return Err(Error::from(client.unexpected()));
        };
        let last = tasks.last().map(|task| task.0.name.clone());
        for Rec(task) in tasks {
            for Rec(finding) in &task.findings {
                report.say(Some(&task.name), finding, session)?;
            }
        }
        Ok(last.filter(|_| more))
    })
}

/// What was said so far.
struct Report {
    array: Option<JsonArray>,
    found: bool,
}

impl Report {
    fn say(&mut self, task: Option<&str>, finding: &wire::Finding, session: &mut Session) -> Result<()> {
        self.found = true;
        if let Some(array) = &mut self.array {
            return array.element(&mut session.out, &json::Finding::of(task, finding));
        }
        let of = task.map(|task| format!("{task}: ")).unwrap_or_default();
        let wire::Finding {
            code,
            message,
            suggestion,
        } = finding;
        session.out.said(&format!("{of}{code}: {message}"))?;
        match suggestion {
            Some(expression) => session.out.said(&format!("  try: {expression}")),
            None => Ok(()),
        }
    }
}

fn said(finding: Finding) -> wire::Finding {
    wire::Finding {
        code: finding.code.word().to_owned(),
        message: finding.message,
        suggestion: finding.suggestion,
    }
}
