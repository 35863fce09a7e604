//! What tests of several rooms share.

use taskd_core::gates::Gates;
use taskd_core::policy::{History, OutputPolicy, Policies, Sharing};
use taskd_core::process::Process;
use taskd_core::task::{Action, Definition, TaskName, When};

/// A task that is due only when asked for.
pub(crate) fn manual(name: &str) -> Definition {
    Definition {
        name: TaskName::parse(name).expect("a name"),
        when: When::Manual,
        action: Action::Shell {
            line: "true".to_owned(),
        },
        cwd: None,
        env: Vec::new(),
        description: None,
        labels: Vec::new(),
        sharing: Sharing::default(),
        enabled: true,
        policies: Policies::default(),
        process: Process::default(),
        output: OutputPolicy::default(),
        history: History::default(),
        gates: Gates::default(),
    }
}
