//! `taskctl top`: what goes on, and what it uses.
//!
//! The daemon is asked at each refresh and at no other time; without somebody who looks nobody measures anything.

mod feed;
mod screen;
mod view;

use std::time::{Duration, Instant};

use self::feed::Feed;
use self::screen::{Heard, Screen};
use super::definition;
use crate::args::TopArgs;
use crate::clock;
use crate::error::{Failure, Result};
use crate::session::Session;
use crate::watch::wait_for;

/// Refreshes come no faster.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// What runs use now is what they use between two looks. This is how far the first two are apart.
const FIRST_LOOK: Duration = Duration::from_millis(500);

/// Exit codes above this are a signal's.
const SIGNAL_BASE: i32 = 128;

/// Shows the runs in progress until told that it is enough.
pub fn run(args: &TopArgs, session: &mut Session) -> Result<u8> {
    let interval = definition::duration("interval", &args.interval)?;
    if interval < INTERVAL_MIN {
        let cure = Some("write 100ms or more");
        return Err(Failure::field("interval", &args.interval, None, "this is too often", cure).into());
    }
    let mut feed = Feed::begin(session)?;
    pause(FIRST_LOOK.min(interval))?;
    if session.json {
        return stream(&mut feed, interval, args.once, session);
    }
    match Screen::open(args.once)? {
        Some(screen) => live(&mut feed, interval, screen, session),
        None => {
            let moment = feed.next(session)?;
            view::print(moment, None, session)?;
            Ok(0)
        }
    }
}

/// Waits, for nothing else.
fn pause(length: Duration) -> Result<(), Failure> {
    wait_for(&[], Some(length)).map(drop)
}

/// An object for each refresh, until nobody reads them.
fn stream(feed: &mut Feed, interval: Duration, once: bool, session: &mut Session) -> Result<u8> {
    let mut due = clock::monotonic();
    loop {
        let moment = feed.next(session)?;
        session.out.json(&view::Shape::of(moment))?;
        session.out.flush()?;
        if once {
            return Ok(0);
        }
        due = later(due, interval);
        pause(due.saturating_duration_since(clock::monotonic()))?;
    }
}

/// A screen that is drawn anew at each refresh, and when its size changes, until a key or a signal ends it.
fn live(feed: &mut Feed, interval: Duration, mut screen: Screen, session: &mut Session) -> Result<u8> {
    let mut due = clock::monotonic();
    let mut moment = feed.next(session)?;
    loop {
        let (columns, rows) = screen.size();
        session.out.width = Some(columns);
        session.out.text(screen::CLEAR)?;
        view::print(moment, Some(rows), session)?;
        session.out.flush()?;
        match screen.wait(due + interval)? {
            Heard::Time => {
                due = later(due, interval);
                moment = feed.next(session)?;
            }
            Heard::Size => {}
            Heard::Quit => return Ok(0),
            Heard::Signal(number) => return Ok(u8::try_from(SIGNAL_BASE + number).unwrap_or(1)),
        }
    }
}

/// When the next refresh is due. What has taken too long is not made up for.
fn later(due: Instant, interval: Duration) -> Instant {
    (due + interval).max(clock::monotonic())
}
