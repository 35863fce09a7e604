//! `taskctl completions`

use crate::args::CompletionsArgs;
use crate::completion;
use crate::error::Result;
use crate::session::Session;

/// Prints the completion script of a shell.
pub fn run(args: &CompletionsArgs, session: &mut Session) -> Result<()> {
    let script = completion::script(args.shell);
    session.out.text(&script)
}
