//! `taskctl start`

use serde_json::json;
use taskd_wire::basic::{Answer, Ask};

use super::definition;
use crate::args::StartArgs;
use crate::client::{Client, Patience, is_lost, is_silent};
use crate::clock;
use crate::error::Result;
use crate::launch::Launch;
use crate::places::Places;
use crate::session::Session;

/// Starts a daemon of the user's own, unless one answers.
pub fn run(args: &StartArgs, session: &mut Session) -> Result<()> {
    let limit = definition::duration("timeout", &args.timeout)?;
    let deadline = clock::monotonic() + limit;
    let socket = session.places.own();
    let own = Places::new(Some(&socket), None, session.places.is_root());
    match Client::connect_with(&own, Patience::Until(deadline)) {
        Ok(mut client) => {
            let pid = match client.basic(Ask::StatusBrief)? {
                Answer::StatusBrief { pid, .. } => Some(pid),
                _ => None,
            };
            return say(session, true, pid, &socket.display().to_string());
        }
        Err(failure) if is_lost(&failure) && !is_silent(&failure) => {}
        Err(failure) => return Err(failure.into()),
    }
    let launch = launch(args, &session.places);
    let child = launch.start(limit, deadline)?;
    say(session, false, Some(child.id()), &socket.display().to_string())
}

fn launch(args: &StartArgs, places: &Places) -> Launch {
    let state_dir = args.state_dir.clone().unwrap_or_else(|| places.state_dir());
    let log_dir = args.log_dir.clone().unwrap_or_else(|| state_dir.join("log"));
    Launch {
        // Where it is looked for, which need not be where it would listen by itself.
        socket: Some(places.own()),
        state_dir: args.state_dir.clone(),
        log_dir: args.log_dir.clone(),
        config: args.config.clone(),
        env: Vec::new(),
        said: log_dir.join("taskd.err"),
    }
}

fn say(session: &mut Session, already: bool, pid: Option<u32>, socket: &str) -> Result<()> {
    if session.json {
        return session
            .out
            .json(&json!({ "pid": pid, "socket": socket, "already": already }));
    }
    let pid = pid.map_or_else(String::new, |pid| format!(", pid {pid}"));
    let what = if already {
        "taskd is running already"
    } else {
        "started taskd"
    };
    session.out.said(&format!("{what}{pid}, socket {socket}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_is_started_where_it_is_looked_for() {
        let args = StartArgs {
            state_dir: Some("/elsewhere".into()),
            log_dir: None,
            config: None,
            timeout: "1s".to_owned(),
        };
        for places in [
            Places::new(None, None, false),
            Places::new(None, None, true),
            Places::new(Some("/s".as_ref()), None, false),
        ] {
            let launch = launch(&args, &places);
            assert_eq!(
                launch.socket.as_deref(),
                places.sockets().first().map(|socket| &**socket)
            );
        }
    }
}
