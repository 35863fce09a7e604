//! Shapes of what comes after what.

use serde::Serialize;
use taskd_wire::client::UpstreamInfo;

/// One of the tasks that another comes after.
#[derive(Debug, Serialize)]
pub struct Upstream<'a> {
    task: &'a str,
    on: &'a str,
    /// The run that has ended so since the other task was last triggered.
    ended: Option<&'a str>,
}

impl<'a> Upstream<'a> {
    /// Of what the daemon tells.
    pub fn of(upstream: &'a UpstreamInfo) -> Self {
        Upstream {
            task: &upstream.task,
            on: &upstream.on,
            ended: upstream.ended.as_deref(),
        }
    }
}
