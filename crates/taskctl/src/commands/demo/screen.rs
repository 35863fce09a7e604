//! What is seen of a demo: what it says, and lines of output with their time and run.

use jiff::Timestamp;

use crate::error::Result;
use crate::render::one_line;
use crate::render::table::Tone;
use crate::session::Session;

/// The terminal, or with `--json` nothing.
pub struct Screen<'s> {
    session: &'s mut Session,
    silent: bool,
}

/// Columns for the name of a run.
const NAME: usize = 10;

impl<'s> Screen<'s> {
    /// Of a session.
    pub fn new(session: &'s mut Session) -> Self {
        let silent = session.json;
        Screen { session, silent }
    }

    /// Says what is happening.
    pub fn say(&mut self, text: &str) -> Result<()> {
        let text = Tone::Strong.paint(text, self.session.out.colour);
        self.line(&format!("── {text}"))
    }

    /// Shows what one would have typed.
    pub fn command(&mut self, text: &str) -> Result<()> {
        let text = Tone::Dim.paint(text, self.session.out.colour);
        self.line(&format!("   $ {text}"))
    }

    /// Says what a claim came to.
    pub fn claim(&mut self, text: &str, holds: bool) -> Result<()> {
        let (mark, tone) = if holds { ("yes", Tone::Good) } else { ("NO ", Tone::Bad) };
        let mark = tone.paint(mark, self.session.out.colour);
        self.line(&format!("   {mark}  {text}"))
    }

    /// Shows a line of output.
    pub fn output(&mut self, at: Option<Timestamp>, run: &str, text: &str, tone: Tone) -> Result<()> {
        let zone = self.session.zone();
        let time = at
            .map(|at| at.to_zoned(zone.clone()).strftime("%H:%M:%S%.1f").to_string())
            .unwrap_or_default();
        let colour = self.session.out.colour;
        let head = Tone::Dim.paint(&format!("{time:>10}"), colour);
        let run = Tone::Live.paint(&format!("{run:<NAME$}"), colour);
        let text = tone.paint(&one_line(text), colour);
        self.line(&format!("{head}  {run}  {text}"))
    }

    fn line(&mut self, text: &str) -> Result<()> {
        if self.silent {
            return Ok(());
        }
        self.session.out.line(text)?;
        self.session.out.flush()
    }
}
