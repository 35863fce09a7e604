//! `taskctl why`

use taskd_wire::client::{Fate, Request, Response, Why};

use super::when;
use crate::args::WhyArgs;
use crate::error::{Exit, Result, one_only};
use crate::json;
use crate::out::JsonArray;
use crate::render::fate;
use crate::render::one_line;
use crate::session::Session;

/// Says what became of a fire time, or what will. Gives the exit code.
pub fn run(args: &WhyArgs, session: &mut Session) -> Result<u8> {
    one_only(&args.task)?;
    let window = match &args.time {
        Some(text) => Some(when::window("TIME", text, session)?),
        None => None,
    };
    let (from_ms, until_ms) = window.unzip();
    let mut client = session.connect()?;
    let request = Request::Why {
        name: args.task.clone(),
        from_ms,
        until_ms,
    };
    let Response::Why(why) = client.request(&request)? else {
        return Err(client.unexpected().into());
    };
    let why = why.0;
    if session.json {
        let mut array = JsonArray::default();
        for fate in &why.fates {
            array.element(&mut session.out, &json::WhyFate::of(fate))?;
        }
        array.close(&mut session.out)?;
    } else {
        print(&why, args.time.is_some(), session)?;
    }
    let is_none = args.time.is_some() && why.fates.iter().any(|fate| fate.verdict == "no-fire-time");
    Ok(if is_none { Exit::NotFound as u8 } else { 0 })
}

fn print(why: &Why, is_asked: bool, session: &mut Session) -> Result<()> {
    let times = session.times();
    if why.fates.is_empty() {
        let to_come = match &why.after {
            _ if why.at_boot => "the next boot is its next".to_owned(),
            Some(after) => format!("comes after {after}"),
            None => "has none to come".to_owned(),
        };
        return session
            .out
            .line(&format!("{} has had no fire time, and {to_come}", why.name));
    }
    for fate in &why.fates {
        let tz = why.tz.as_deref();
        let at = format!("{}{}", times.full(fate.at_ms), times.beside(fate.at_ms, tz));
        let (verdict, tone) = fate::verdict(fate);
        session
            .out
            .line(&format!("{at}  {}", tone.paint(verdict, session.out.colour)))?;
        let mut lines = fate::sentences(fate, &times);
        if is_asked || fate.verdict == "no-fire-time" {
            lines.extend(nearest(fate, &times));
        }
        for line in lines {
            session.out.line(&format!("  {}", one_line(&line)))?;
        }
    }
    Ok(())
}

fn nearest(fate: &Fate, times: &crate::render::time::Times) -> Option<String> {
    let said = |ms: Option<i64>, what| ms.map(|ms| format!("the {what} {}", times.full(ms)));
    let both: Vec<String> = [
        said(fate.before_ms, "one before was"),
        said(fate.after_ms, "one after is"),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!both.is_empty()).then(|| format!("{}.", both.join(", ")))
}
