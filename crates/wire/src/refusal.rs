//! Why a request was refused: a code and its data. The sentence is made where it is read.

use bincode::{Decode, Encode};

/// Why the daemon did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Refusal {
    /// No task of that name; `near` are names like it.
    UnknownTask {
        /// What was asked for.
        name: String,
        /// Names like it, nearest first.
        near: Vec<String>,
    },
    /// No run of that name.
    UnknownRun {
        /// What was asked for.
        run: String,
    },
    /// The name is taken by another task of the owner.
    NameTaken {
        /// The name.
        name: String,
    },
    /// A field of a definition is wrong.
    BadField {
        /// Which field, in the words of the command line: `name`, `cron`, `tz`, `at`, `every`, `in`, `cwd`, `env`, `command`.
        field: String,
        /// The text that is wrong.
        text: String,
        /// The column in `text`, counted in characters from 0, and how many characters.
        at: Option<(u32, u32)>,
        /// What is wrong.
        problem: String,
        /// What to do.
        cure: Option<String>,
    },
    /// A limit was met.
    Limit {
        /// What is limited: `definition`, `arguments`, `tasks`, `connections`, `frame`.
        what: String,
        /// The most there may be.
        limit: u64,
        /// What there would have been.
        actual: u64,
    },
    /// The task has a run in progress.
    StillRunning {
        /// The task.
        name: String,
        /// Its run.
        run: String,
    },
    /// The run has ended already.
    NotRunning {
        /// The run.
        run: String,
    },
    /// One definition of an import was refused, and so all of it.
    ImportLine {
        /// The line, from 1.
        line: u64,
        /// Why.
        refusal: Box<LineRefusal>,
    },
    /// The store cannot take a change now.
    StoreUnavailable {
        /// What the system said, such as "No space left on device".
        reason: String,
    },
    /// No runner is there to start a run.
    RunnerUnavailable {
        /// Why.
        reason: String,
    },
    /// The daemon is stopping.
    Stopping,
    /// The request is not understood by this daemon.
    UnknownRequest,
    /// The caller may not do this.
    NotAllowed {
        /// What was asked for.
        what: String,
    },
    /// A fault of the daemon.
    Internal {
        /// What happened.
        what: String,
    },
    /// More runs would wait to make up for fire times than there is room for.
    BacklogFull {
        /// How many more may wait.
        room: u64,
    },
    /// No calendar of that name; `near` are names like it.
    UnknownCalendar {
        /// What was asked for.
        name: String,
        /// Names like it, nearest first.
        near: Vec<String>,
    },
    /// A task uses the calendar.
    CalendarInUse {
        /// The calendar.
        name: String,
        /// One of the tasks.
        task: String,
    },
    /// No limit of the group or lock was set.
    UnknownPool {
        /// Which, such as "group db".
        pool: String,
    },
    /// The daemon cannot become the program that is installed, and goes on as it is.
    CannotRestart {
        /// The program.
        program: String,
        /// Why.
        reason: String,
    },
    /// Other tasks come after the task or require it, whose name so cannot go.
    StillNamed {
        /// The task.
        name: String,
        /// Some of the others.
        by: Vec<String>,
        /// How many more there are.
        more: u64,
    },
}

/// Why one line of an import was refused. Not [`Refusal`] itself, since messages must not be recursive.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum LineRefusal {
    /// As [`Refusal::NameTaken`].
    NameTaken {
        /// The name.
        name: String,
    },
    /// The name stands on an earlier line too.
    NameTwice {
        /// The name.
        name: String,
        /// The earlier line.
        line: u64,
    },
    /// As [`Refusal::BadField`].
    BadField {
        /// Which field.
        field: String,
        /// The text that is wrong.
        text: String,
        /// Column and length in characters.
        at: Option<(u32, u32)>,
        /// What is wrong.
        problem: String,
        /// What to do.
        cure: Option<String>,
    },
    /// As [`Refusal::Limit`].
    Limit {
        /// What is limited.
        what: String,
        /// The most there may be.
        limit: u64,
        /// What there would have been.
        actual: u64,
    },
}

impl Refusal {
    /// The stable code of this refusal, as `--json` prints it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::UnknownTask { .. } => "unknown-task",
            Refusal::UnknownRun { .. } => "unknown-run",
            Refusal::NameTaken { .. } => "name-taken",
            Refusal::BadField { .. } => "bad-field",
            Refusal::Limit { .. } => "limit",
            Refusal::StillRunning { .. } => "still-running",
            Refusal::NotRunning { .. } => "not-running",
            Refusal::ImportLine { .. } => "import-line",
            Refusal::StoreUnavailable { .. } => "store-unavailable",
            Refusal::RunnerUnavailable { .. } => "runner-unavailable",
            Refusal::Stopping => "stopping",
            Refusal::UnknownRequest => "unknown-request",
            Refusal::NotAllowed { .. } => "not-allowed",
            Refusal::Internal { .. } => "internal",
            Refusal::BacklogFull { .. } => "backlog-full",
            Refusal::UnknownCalendar { .. } => "unknown-calendar",
            Refusal::CalendarInUse { .. } => "calendar-in-use",
            Refusal::UnknownPool { .. } => "unknown-pool",
            Refusal::CannotRestart { .. } => "cannot-restart",
            Refusal::StillNamed { .. } => "still-named",
        }
    }
}
