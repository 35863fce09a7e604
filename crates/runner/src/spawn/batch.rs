//! Starting children, several together: what takes a launcher long holds up none of the others.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use rustix::process::Pid;
use taskd_wire::definition::{ActionSpec, OutputKind};
use taskd_wire::runner::{Start, Stdin};

use super::{Child, Host, Sink, SpawnError, end, prepare, stdio};
use crate::cgroups::{Group, NotCapped, first_cap};
use crate::clock;
use crate::output::{Masks, Raw};
use crate::sys::{Failed, Launcher, NotStarted, Place, Plan, RESOURCES, Step};

/// An attempt to start. `id` is the loop's name for it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: u64,
    pub(crate) start: Box<Start>,
    /// It was tried and has not begun, so it is tried alone: none that may hang is before it.
    is_again: bool,
    /// Its launcher was lost over that.
    is_lost: bool,
    /// It may have a control group.
    in_group: bool,
}

impl Job {
    pub(crate) fn new(id: u64, start: Box<Start>) -> Self {
        Job {
            id,
            start,
            is_again: false,
            is_lost: false,
            in_group: true,
        }
    }

    /// Whether it is started alone: it is tried again, or what becomes of it before it executes its program may reach all that
    /// share its memory, by its adjustment or when it finds no room below its cap.
    fn is_alone(&self) -> bool {
        let process = &self.start.process.0;
        self.is_again || process.oom_score_adjust.is_some() || process.caps.0.0.memory_bytes.is_some()
    }

    /// Whether it may be started with others that wait for it: preparing it asks for nothing that may be far away, such as
    /// files and directories that the task names, or accounts.
    pub(crate) fn may_go_along(&self) -> bool {
        let (start, process) = (&self.start, &self.start.process.0);
        let is_found_here = match &start.action {
            ActionSpec::Shell { .. } => true,
            ActionSpec::Exec { argv } => {
                let is_path = argv.first().is_some_and(|name| name.contains('/'));
                is_path || start.env.iter().all(|variable| variable.name != "PATH")
            }
        };
        let is_plain = process.env_files.is_empty() && process.user.0.is_none() && start.gates.0.is_none();
        is_found_here && is_plain && !self.is_alone()
    }
}

/// What came of a job.
#[derive(Debug)]
pub(crate) enum Told {
    Started {
        id: u64,
        child: Child,
    },
    Failed {
        id: u64,
        error: SpawnError,
    },
    /// Nothing has begun, and it is to be tried again.
    NotBegun(Job),
}

/// The control group of a child, and a handle by which it is cloned into that.
type Grouped = (Arc<Group>, Arc<OwnedFd>);

/// A start that was prepared: what its child gets, and what is kept of it here.
struct Ready {
    job: Job,
    program: CString,
    cwd: CString,
    /// The file that the child opens to read.
    reads: Option<CString>,
    /// A text that it reads.
    stdin: Option<OwnedFd>,
    /// Its ends of the pipes, if it writes to some.
    ends: Option<[OwnedFd; 2]>,
    sink: Sink,
    grouped: Option<Grouped>,
}

impl Ready {
    fn place<'fd>(&'fd self, null: BorrowedFd<'fd>) -> Place<'fd> {
        let (stdout, stderr) = match (&self.ends, &self.sink) {
            (Some([stdout, stderr]), _) => (stdout.as_fd(), stderr.as_fd()),
            (None, Sink::File(raw)) => (raw.file().as_fd(), raw.file().as_fd()),
            (None, Sink::Pipes { .. } | Sink::Null) => (null, null),
        };
        Place {
            stdin: self.stdin.as_ref().map_or(null, |text| text.as_fd()),
            stdout,
            stderr,
            group: self.grouped.as_ref().map(|(_, handle)| handle.as_fd()),
        }
    }

    /// What a step is about.
    fn path(&self, step: Step) -> &[u8] {
        match step {
            Step::Launcher
            | Step::Pipe
            | Step::Clone
            | Step::OomScoreAdjust
            | Step::Nice
            | Step::Ionice
            | Step::PrivateTmp
            | Step::NoNewPrivileges
            | Step::Output => b"",
            Step::Limit(place) => RESOURCES.get(place).map_or("", |(name, _)| name).as_bytes(),
            Step::Groups | Step::Gid | Step::Uid | Step::DropRoot => self
                .job
                .start
                .process
                .0
                .user
                .0
                .as_deref()
                .unwrap_or_default()
                .as_bytes(),
            Step::Stdin => self.reads.as_deref().map_or(b"".as_slice(), CStr::to_bytes),
            Step::Chdir => self.cwd.to_bytes(),
            Step::Exec => self.program.to_bytes(),
        }
    }
}

/// Starts children, several together, with memory that is used again.
pub(crate) struct Spawner<'a> {
    host: &'a Host,
    plan: Plan,
    launcher: Launcher<'a>,
    ready: Vec<Ready>,
}

impl<'a> Spawner<'a> {
    pub(crate) fn new(host: &'a Host, launcher: Launcher<'a>) -> Self {
        Spawner {
            host,
            plan: Plan::default(),
            launcher,
            ready: Vec::new(),
        }
    }

    /// Starts what cannot be executed, so that the first start is as quick as any other: its launcher is there then, and
    /// what it takes was used once.
    pub(crate) fn warm_up(&mut self) {
        let null = self.host.null.as_fd();
        let group = self.host.groups.as_ref().and_then(|groups| groups.get());
        let handle = group.as_ref().and_then(|group| group.open().ok());
        let place = Place {
            stdin: null,
            stdout: null,
            stderr: null,
            group: handle.as_ref().map(|handle| handle.as_fd()),
        };
        // The program of an empty plan has no name.
        let added = self.launcher.add(&Plan::default()).map_err(NotStarted::from);
        let answers = added.and_then(|()| Ok(self.launcher.ask(&[place])?.answers()));
        let started = answers.and_then(|answers| match answers.first() {
            Some((_, started)) => *started,
            None => Err(NotStarted::NotBegun { lost: true }),
        });
        if let (Some(groups), Some(group)) = (&self.host.groups, group) {
            match started {
                Err(NotStarted::Failed(failed)) if failed.step == Step::Clone => {
                    let error = io::Error::from_raw_os_error(failed.errno);
                    groups.give_up(format_args!("nothing can be started in one: {error}"));
                }
                // Not one that was executed. The kernel kills what a process in a group that was ever killed clones into
                // another one.
                Ok(pid) | Err(NotStarted::Unfinished(pid)) => {
                    end(pid, String::new(), None);
                    groups.give_up(format_args!("what is started in one ends at once"));
                }
                Err(NotStarted::Failed(_) | NotStarted::NotBegun { .. }) => {}
            }
            groups.give_back(Arc::new(group), false);
        }
    }

    /// Whether another start may be added to those that are launched next.
    pub(crate) fn has_room(&self) -> bool {
        self.launcher.has_room() && !self.ready.iter().any(|ready| ready.job.is_alone())
    }

    /// Prepares a start, to be launched with the others that were added.
    pub(crate) fn add(&mut self, job: Job) -> Result<(), SpawnError> {
        let start = &job.start;
        prepare(&mut self.plan, self.host, start)?;
        let stdin = match &start.process.0.stdin {
            Some(Stdin::Text(text)) => Some(stdio::in_memory(text.as_bytes())?),
            // The child opens it itself.
            Some(Stdin::File(_)) | None => None,
        };
        let (sink, ends) = self.output(start)?;
        let grouped = match self.group(start, job.in_group) {
            Ok(grouped) => grouped,
            Err(error) => {
                sink.discard();
                return Err(error);
            }
        };
        let added = self.launcher.add(&self.plan);
        let ready = Ready {
            program: std::mem::take(&mut self.plan.program),
            cwd: std::mem::take(&mut self.plan.cwd),
            reads: self.plan.stdin.take(),
            job,
            stdin,
            ends,
            sink,
            grouped,
        };
        match added {
            Ok(()) => {
                self.ready.push(ready);
                Ok(())
            }
            Err(failed) => Err(self.host.not_started(ready, failed)),
        }
    }

    /// What a child writes to, and its ends of it if these are pipes.
    fn output(&self, start: &Start) -> Result<(Sink, Option<[OwnedFd; 2]>), SpawnError> {
        match start.output.0 {
            OutputKind::Lines => {
                let masks = self.masks(&start.masks.0)?;
                let (stdout, stdout_end) = stdio::pipe(self.plan.identity.as_ref())?;
                let (stderr, stderr_end) = stdio::pipe(self.plan.identity.as_ref())?;
                let sink = Sink::Pipes { stdout, stderr, masks };
                Ok((sink, Some([stdout_end, stderr_end])))
            }
            OutputKind::File => Ok((Sink::File(self.raw(start)?), None)),
            OutputKind::Discard => Ok((Sink::Null, None)),
        }
    }

    /// What is to be hidden, ready for use. What cannot be hidden is not started.
    fn masks(&self, patterns: &[String]) -> Result<Option<Arc<Masks>>, SpawnError> {
        self.host.masks.of(patterns).map_err(|_| {
            let (errno, what) = (libc::EINVAL, "mask".to_owned());
            SpawnError { errno, what }
        })
    }

    /// The file that a child is to write.
    fn raw(&self, start: &Start) -> Result<Raw, SpawnError> {
        let raw = self.host.outputs.raw(&start.key, start.output_max, clock::steady());
        raw.map_err(|(error, path)| {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            let step = Step::Output;
            SpawnError::new(Failed { errno, step }, path.as_os_str().as_bytes())
        })
    }

    /// The control group of a child, if it is to have one and can.
    fn group(&self, start: &Start, in_group: bool) -> Result<Option<Grouped>, SpawnError> {
        let caps = &start.process.0.caps.0.0;
        if !in_group {
            return Ok(None);
        }
        let Some(group) = self.host.group(caps).map_err(|error| SpawnError::cap(&error))? else {
            return Ok(None);
        };
        if let Ok(handle) = group.open() {
            return Ok(Some((group, handle)));
        }
        self.host.leave(Some(group));
        first_cap(caps).map_or(Ok(None), |cap| Err(SpawnError::cap(&NotCapped::ungrouped(cap))))
    }

    /// Launches what was added, and tells what comes of it. One that takes long holds up none of the others: they are taken
    /// back where they have not begun.
    pub(crate) fn launch(&mut self, tell: &mut dyn FnMut(Told)) {
        let host = self.host;
        let ready = std::mem::take(&mut self.ready);
        if ready.is_empty() {
            return;
        }
        let places: Vec<Place<'_>> = ready.iter().map(|ready| ready.place(host.null.as_fd())).collect();
        let asked = self.launcher.ask(&places);
        drop(places);
        let mut request = match asked {
            Ok(request) => request,
            Err(error) => return ready.into_iter().for_each(|ready| tell(host.told(ready, Err(error)))),
        };
        let mut ready: Vec<Option<Ready>> = ready.into_iter().map(Some).collect();
        let mut take_in = |answers: Vec<(usize, Result<Pid, NotStarted>)>| {
            for (number, answer) in answers {
                // Each is told once.
                if let Some(ready) = ready.get_mut(number).and_then(Option::take) {
                    tell(host.told(ready, answer));
                }
            }
        };
        while request.has_several() && !request.is_done_soon() {
            take_in(request.withdraw());
        }
        take_in(request.answers());
    }
}

impl Ready {
    /// Whether it could not be cloned into its group. Better without than not at all, and nothing is counted then; but caps
    /// hold. What does not depend on it fails again.
    fn is_for_want_of_a_group(&self, answer: &Result<Pid, NotStarted>) -> bool {
        let is_clone = matches!(answer, Err(NotStarted::Failed(failed)) if failed.step == Step::Clone);
        is_clone && self.grouped.is_some() && first_cap(&self.job.start.process.0.caps.0.0).is_none()
    }
}

impl Host {
    /// What came of a start that was launched.
    fn told(&self, ready: Ready, answer: Result<Pid, NotStarted>) -> Told {
        let id = ready.job.id;
        if ready.is_for_want_of_a_group(&answer) {
            return Told::NotBegun(Job {
                in_group: false,
                ..self.take_back(ready)
            });
        }
        let lost = Failed {
            errno: libc::EIO,
            step: Step::Launcher,
        };
        let failed = match answer {
            Ok(pid) => {
                let Ready { sink, grouped, .. } = ready;
                let group = grouped.map(|(group, _)| group);
                let child = Child { pid, sink, group };
                return Told::Started { id, child };
            }
            Err(NotStarted::NotBegun { lost: true }) if ready.job.is_lost => lost,
            Err(NotStarted::NotBegun { lost }) => {
                let job = self.take_back(ready);
                let is_lost = job.is_lost || lost;
                return Told::NotBegun(Job { is_lost, ..job });
            }
            Err(NotStarted::Failed(failed)) => failed,
            Err(NotStarted::Unfinished(pid)) => {
                // Nobody knows how far it has come, so it is not to be told from one that never started.
                let group = ready.grouped.as_ref().map(|(group, _)| Arc::clone(group));
                end(pid, self.cookie.of(&ready.job.start.key).to_string(), group);
                lost
            }
        };
        let error = self.not_started(ready, failed);
        Told::Failed { id, error }
    }

    /// The job of a start of which nothing is left.
    fn take_back(&self, ready: Ready) -> Job {
        let Ready { job, sink, grouped, .. } = ready;
        sink.discard();
        self.leave(grouped.map(|(group, _)| group));
        Job { is_again: true, ..job }
    }

    /// Why there is no child, of which nothing is left.
    fn not_started(&self, ready: Ready, failed: Failed) -> SpawnError {
        let error = SpawnError::new(failed, ready.path(failed.step));
        self.take_back(ready);
        error
    }
}

#[cfg(test)]
mod tests {
    use taskd_wire::codec::{Rec, Tail};
    use taskd_wire::definition::EnvVar;
    use taskd_wire::runner::EnvFile;

    use super::*;

    #[test]
    fn what_may_be_held_up_while_it_is_prepared_goes_alone() {
        let exec = |name: &str| {
            let argv = vec![name.to_owned()];
            let action = ActionSpec::Exec { argv };
            Start {
                action,
                ..Start::default()
            }
        };
        let may = |start: &Start| Job::new(1, Box::new(start.clone())).may_go_along();
        let path = || EnvVar {
            name: "PATH".into(),
            value: "/far/away".into(),
        };
        let (mut named, mut with_path) = (exec("true"), exec("/bin/true"));
        assert!(may(&named) && may(&with_path));
        named.env = vec![path()];
        with_path.env = vec![path()];
        assert!(!may(&named) && may(&with_path), "the directories are looked through");
        let with = |change: fn(&mut Start)| {
            let mut start = exec("/bin/true");
            change(&mut start);
            may(&start)
        };
        assert!(!with(|start| start.process.0.0.env_files = vec![EnvFile::default()]));
        assert!(!with(|start| start.process.0.0.user = Tail(Some("www-data".into()))));
        assert!(!with(|start| start.gates = Tail(Some(Rec::default()))));
        // Nor does any go along with these.
        let alone: [fn(&mut Start); 2] = [
            |start| start.process.0.0.oom_score_adjust = Some(500),
            |start| start.process.0.0.caps.0.0.memory_bytes = Some(1 << 20),
        ];
        for change in alone {
            assert!(!with(change));
            let mut start = exec("/bin/true");
            change(&mut start);
            assert!(Job::new(1, Box::new(start)).is_alone());
        }
        assert!(!Job::new(1, Box::new(exec("/bin/true"))).is_alone());
        let again = Job {
            is_again: true,
            ..Job::new(1, Box::new(exec("/bin/true")))
        };
        assert!(again.is_alone() && !again.may_go_along());
    }
}
