//! The loop: one thread that waits for everything there is to wait for, together where that is much ([`waiting`]), and for
//! nothing else but the disks it writes to.

mod closing;
mod ending;
mod gating;
mod given_up;
mod looking;
mod sinks;
mod standing;
mod waiting;

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags};
use rustix::process::{Pid, Resource, Signal};
use taskd_wire::codec::{Rec, Tail};
use taskd_wire::runner::{End, FromRunner, RunnerInfo, Start, ToRunner, can};

use crate::attempt::{Action, Event, GRACE_MAX};
use crate::cgroups::{Groups, Seat, files_kept};
use crate::ender::Ender;
use crate::guard::GUARD_PID;
use crate::notify::{complain, notify};
use crate::output::Outputs;
use crate::pipes::{Pipes, files_left};
use crate::place::{Place, Standing, file_id, random};
use crate::reports::{Report, Reports};
use crate::results::Results;
use crate::roster::Roster;
use crate::server::{Received, Server};
use crate::spawn::{Child, Cookie, Host, Job, SpawnError};
use crate::spawner::{Spawners, THREADS_MAX};
use crate::sweep::{Orphans, Search};
use crate::sys::Launchers;
use crate::underway::Underway;
use crate::{Options, RunnerError, clock, inventory, sweep, sys};
use closing::Closing;
use ending::Hidden;
use gating::Over;
use given_up::GivenUp;
use looking::Looking;
use waiting::Waiting;

const LISTENER: u64 = 0;
const SIGNALS: u64 = 1;
const REPORTS: u64 = 2;
const PIPES: u64 = 3;
const SURVIVORS: u64 = 4;
const GROUPS: u64 = 5;
const NAMES: u64 = 6;
/// Connections have the numbers from here on.
const CONNECTIONS: u64 = 7;

/// Grace of a stop that was asked for by a signal.
const SIGNAL_GRACE: Duration = Duration::from_secs(10);

/// What could not be done for want of room, memory or descriptors is tried again after this.
const RETRY: Duration = Duration::from_secs(1);

/// Descriptors that an attempt may take: two pipes, a file, and a handle on who is left of it.
const FILES_EACH: u64 = 4;

/// Descriptors that attempts leave to everything else but groups: connections, launchers, starts in progress, the spool.
const FILES_KEPT: u64 = 192;

/// How long the end of the runner waits for the daemon to acknowledge the last results.
const LINGER: Duration = Duration::from_secs(1);

/// Runs the children until it is told to shut down. To be called by the process that [`guard`](crate::guard()) starts,
/// before that process has any thread.
///
/// # Errors
/// [`RunnerError`] when it cannot begin to serve.
pub fn worker(options: &Options) -> Result<ExitCode, RunnerError> {
    let guard = follow_guard()?;
    sys::block_signals();
    sys::restore_dispositions();
    sys::close_inherited_on_exec().map_err(|source| RunnerError::System {
        what: "look at open files",
        source,
    })?;
    // Only a name for people.
    let _ = rustix::thread::set_name(c"taskd-runner");
    // Before anything else takes memory, for what is counted for a small command is the memory that there is now.
    let launchers = Launchers::start(THREADS_MAX).map_err(|source| RunnerError::System {
        what: "start a launcher",
        source,
    })?;
    let notify_socket = env::var_os("NOTIFY_SOCKET");
    let started = Place::take(options).and_then(|place| Worker::new(place, guard, launchers, notify_socket.clone()));
    let mut worker = started.inspect_err(|error| {
        notify(notify_socket.as_deref(), &format!("STATUS={error}"));
    })?;
    notify(worker.notify_socket.as_deref(), "READY=1");
    worker.run()?;
    Ok(ExitCode::SUCCESS)
}

/// Dies with the guard, if there is one.
fn follow_guard() -> Result<Option<Pid>, RunnerError> {
    let guard = env::var(GUARD_PID)
        .ok()
        .and_then(|pid| pid.parse().ok().filter(|pid| *pid > 0));
    let Some(guard) = guard.and_then(Pid::from_raw) else {
        return Ok(None);
    };
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|errno| RunnerError::system("follow the guard", errno))?;
    if rustix::process::getppid() == Some(guard) {
        Ok(Some(guard))
    } else {
        Err(RunnerError::Orphaned)
    }
}

/// How many files may be open.
fn files_max() -> u64 {
    rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many attempts may be in progress, so that the runner can still be spoken with.
fn attempts_max() -> usize {
    let files = files_max();
    let kept = FILES_KEPT + files_kept(files) + files_left(files);
    let most = (files - kept.min(files / 2)) / FILES_EACH;
    usize::try_from(most).unwrap_or(usize::MAX)
}

/// Sees to what runners left that worked in other slots and are gone.
fn inherit(place: &Place, instance: u64, launchers: &Launchers, spool: &Path, underway: &mut Underway) {
    for left in place.abandoned() {
        let file = |kind| left.slot.file(&place.state_dir, kind);
        let seat = Seat::said();
        Groups::clear_earlier(left.state, &file("cgroups"), seat.as_ref().map(Seat::dir));
        let cookie = Cookie {
            state: left.state,
            instance,
        };
        let there = Underway::open(file("live"), instance, clock::boot_id());
        let there = sweep::leftovers(&cookie, there, launchers.pids());
        let from = left.slot.spool(&place.state_dir);
        underway.inherit(there, file("lock"));
        if let Err(error) = Results::inherit(spool, &from) {
            complain(format_args!(
                "cannot take over the results in {}: {error}",
                from.display()
            ));
        }
    }
}

struct Worker {
    waiting: Waiting,
    pipes: Pipes,
    signals: OwnedFd,
    spawners: Spawners,
    ender: Ender,
    done: Arc<Reports>,
    /// Watches the [survivors](crate::roster::Attempt::survivor).
    survivors: OwnedFd,
    orphans: Option<Orphans>,
    /// The control groups of attempts, where they can have some.
    groups: Option<Arc<Groups>>,
    server: Server,
    standing: Standing,
    roster: Roster,
    attempts_max: usize,
    results: Results,
    /// When attempts get [`Event::Deadline`].
    deadlines: BTreeSet<(Instant, u64)>,
    cookie: Cookie,
    info: RunnerInfo,
    outputs: Outputs,
    notify_socket: Option<OsString>,
    /// What is to be handed to the threads that start it.
    starts: Vec<Job>,
    /// Attempts whose pipes are not yet watched. A process that has ended by then spares the trouble.
    fresh: Vec<u64>,
    /// When files that attempts write themselves are looked at.
    looks: BTreeSet<(Instant, u64)>,
    /// Processes may have ended that were not taken in: their start was not yet reported, or another hid them.
    reap_again: bool,
    /// What hides such processes.
    hidden: Option<Hidden>,
    /// Starts that were given up while a thread had them.
    given_up: GivenUp,
    /// When to try again what could not be done.
    retry_at: Option<Instant>,
    /// The spool could not be written, and that was said.
    spool_fails: bool,
    closing: Closing,
    /// When something was killed last.
    killed: Instant,
    looking: Looking,
    received: Vec<Received>,
    reports: Vec<Report>,
}

impl Worker {
    fn new(
        place: Place,
        guard: Option<Pid>,
        launchers: Launchers,
        notify_socket: Option<OsString>,
    ) -> Result<Self, RunnerError> {
        let instance = random()?;
        let cookie = Cookie {
            state: place.state,
            instance,
        };
        let file = |kind| place.slot.file(&place.state_dir, kind);
        let groups = Groups::take(Seat::said(), place.state, &file("cgroups"));
        let own = Underway::open(file("live"), instance, clock::boot_id());
        let mut underway = sweep::leftovers(&cookie, own, launchers.pids());
        let spool = place.slot.spool(&place.state_dir);
        inherit(&place, instance, &launchers, &spool, &mut underway);
        let mut results =
            Results::open(&spool, instance).map_err(|source| RunnerError::Directory { path: spool, source })?;
        underway.earlier().for_each(|key| results.forget_look(key));
        let started = |source| RunnerError::System { what: "start", source };
        let outputs = Outputs::in_dir(place.state_dir.clone());
        let host = Host::new(cookie.clone(), outputs.clone(), groups.clone()).map_err(started)?;
        let (listener, socket_file) = place.listen()?;
        let directory = place.directory;
        let done = Arc::new(Reports::new().map_err(started)?);
        let caught = [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT];
        let mut worker = Worker {
            waiting: Waiting::new(clock::steady()).map_err(|errno| started(errno.into()))?,
            pipes: Pipes::new(files_max()).map_err(started)?,
            signals: sys::signal_fd(&caught, true).map_err(started)?,
            spawners: Spawners::start(host, launchers, Arc::clone(&done)).map_err(started)?,
            ender: Ender::start(Search::below(guard), Arc::clone(&done)).map_err(started)?,
            done,
            survivors: epoll::create(CreateFlags::CLOEXEC).map_err(|errno| started(errno.into()))?,
            orphans: guard.and_then(Orphans::of),
            groups,
            server: Server::new(listener, CONNECTIONS),
            standing: Standing::new(place, socket_file),
            roster: Roster::new(underway),
            attempts_max: attempts_max(),
            results,
            deadlines: BTreeSet::new(),
            cookie,
            info: RunnerInfo {
                instance,
                pid: std::process::id(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_ms: clock::wall_ms(),
                closing: Tail(false),
                state_dir: Tail(Some(directory)),
                cgroups: Tail(None),
                // Where it is not known, whoever asks takes it for another.
                program: Tail(file_id(Path::new("/proc/self/exe")).ok()),
                before: Tail(Vec::new()),
                can: Tail(can::OUTPUTS | can::GATES | can::CAPS | can::USAGE | can::USERS),
            },
            outputs,
            notify_socket,
            starts: Vec::new(),
            fresh: Vec::new(),
            looks: BTreeSet::new(),
            reap_again: false,
            hidden: None,
            given_up: GivenUp::default(),
            retry_at: None,
            spool_fails: false,
            closing: Closing::No,
            killed: clock::steady(),
            looking: Looking::default(),
            received: Vec::new(),
            reports: Vec::new(),
        };
        worker.watch_listener().map_err(|errno| started(errno.into()))?;
        let watched = [
            (worker.signals.as_fd(), SIGNALS),
            (worker.done.as_fd(), REPORTS),
            (worker.pipes.as_fd(), PIPES),
            (worker.survivors.as_fd(), SURVIVORS),
        ];
        let groups = worker.groups.as_ref().map(|groups| (groups.as_fd(), GROUPS));
        let names = worker.standing.as_fd().map(|names| (names, NAMES));
        worker.info.cgroups = Tail(worker.groups.as_ref().and_then(|groups| groups.said()));
        for (fd, number) in watched.into_iter().chain(groups).chain(names) {
            worker.waiting.add(fd, number).map_err(|errno| started(errno.into()))?;
        }
        // Nothing of the file system is held busy by a runner that lives for months.
        env::set_current_dir("/").map_err(started)?;
        worker.roster.claim();
        Ok(worker)
    }

    fn run(&mut self) -> Result<(), RunnerError> {
        let mut ready = Vec::new();
        // It may have lost one before it was watched.
        self.look_at_names();
        while !self.is_done() {
            let limit = self.limit();
            self.waiting
                .wait(limit, &mut ready)
                .map_err(|source| RunnerError::System { what: "wait", source })?;
            self.waiting.woken(clock::steady());
            let (mut signalled, mut reported, mut readable, mut over, mut left) = (false, false, false, false, false);
            for number in ready.drain(..) {
                match number {
                    LISTENER => self.accept(),
                    SIGNALS => signalled = true,
                    REPORTS => reported = true,
                    PIPES => readable = true,
                    SURVIVORS => over = true,
                    GROUPS => left = true,
                    NAMES => self.look_at_names(),
                    connection => self.server.ready(connection, self.waiting.talk(), &mut self.received),
                }
            }
            self.take_received();
            if reported {
                self.take_reports();
            }
            if signalled {
                self.take_signals();
            }
            let hidden_until = self.hidden.and_then(|hidden| hidden.until);
            let overdue = hidden_until.is_some_and(|until| until <= clock::steady());
            if self.reap_again && (reported || signalled || overdue) {
                self.reap();
            }
            if over {
                self.take_survivors();
            }
            if left && let Some(groups) = &self.groups {
                groups.take_left();
            }
            self.try_again();
            self.watch_fresh();
            self.take_deadlines();
            self.take_looks();
            let flows = readable && self.pipes.read_ready(&mut self.roster);
            self.waiting.set_flow(readable, flows);
            self.pipes.flush_partial(&mut self.roster, clock::steady());
            self.speak();
            self.take_received();
            self.keep_results();
        }
        Ok(())
    }

    fn take_received(&mut self) {
        let mut received = std::mem::take(&mut self.received);
        for received in received.drain(..) {
            match received {
                Received::Attached => {
                    self.looking.is_wanted = false;
                    self.outputs.look_again();
                    inventory::say(&self.roster, &self.results, &self.info, &mut self.server);
                }
                Received::Message(ToRunner::Attach) | Received::Lost => {}
                Received::Message(ToRunner::Start(start)) => self.start(start.0),
                Received::Message(ToRunner::Stop { key, grace_ms }) => {
                    if let Some(id) = self.roster.id_of(&key) {
                        self.step(id, stop_within(Duration::from_millis(grace_ms)));
                    }
                }
                Received::Message(ToRunner::Forget(key)) => {
                    self.results.forget(&key);
                    self.roster.forget(&key);
                }
                Received::Message(ToRunner::Look) => self.look(),
                Received::Message(ToRunner::Shutdown { grace_ms }) => {
                    self.shut_down(Duration::from_millis(grace_ms));
                }
            }
        }
        // Its room is used again.
        self.received = received;
        self.hand_over();
    }

    /// A key that is known is a start said twice.
    fn start(&mut self, start: Start) {
        if self.roster.id_of(&start.key).is_some() || self.results.contains(&start.key) {
            return;
        }
        let id = self.roster.add(&start, &self.outputs);
        match self.closing {
            Closing::No if self.roster.len() > self.attempts_max => self.not_spawned(
                id,
                SpawnError {
                    errno: libc::EMFILE,
                    what: "pipe".to_owned(),
                },
                clock::wall_ms(),
            ),
            Closing::No => self.submit(id, Box::new(start)),
            // Said, since a start that is not answered would be of unknown fate.
            Closing::Stopping | Closing::Lingering(_) => self.not_spawned(
                id,
                SpawnError {
                    errno: libc::ESHUTDOWN,
                    what: "runner".to_owned(),
                },
                clock::wall_ms(),
            ),
        }
    }

    fn not_spawned(&mut self, id: u64, error: SpawnError, at_ms: i64) {
        if let Some(attempt) = self.roster.get_mut(id) {
            let SpawnError { errno, what } = error;
            attempt.end = End::SpawnFailed { errno, what };
            attempt.started_ms = at_ms;
            attempt.finished_ms = clock::wall_ms();
        }
        self.step(id, Event::NotSpawned);
    }

    fn take_reports(&mut self) {
        let mut reports = std::mem::take(&mut self.reports);
        self.done.take(&mut reports);
        self.given_up.withdraw(&self.spawners);
        for report in reports.drain(..) {
            match report {
                Report::Spawned { id, child, at_ms } => {
                    let Some(attempt) = self.roster.get_mut(id) else {
                        self.given_up.came_back(id, child);
                        continue;
                    };
                    let Child { pid, sink, group } = child;
                    attempt.pid = Some(pid);
                    attempt.started_ms = at_ms;
                    attempt.group = group;
                    self.roster.has_process(id, pid);
                    self.take_sink(id, sink);
                    self.step(id, Event::Spawned(pid));
                }
                Report::NotSpawned { id, error, at_ms } => {
                    self.given_up.failed(id);
                    self.not_spawned(id, error, at_ms);
                }
                Report::GateClosed { id, reading, at_ms } => {
                    self.given_up.failed(id);
                    self.gate_closed(id, reading, at_ms);
                    self.step(id, Event::NotSpawned);
                }
                Report::Sought { id, sought } => self.take_sought(id, sought),
                Report::Sealed { id, sealed } => {
                    if let Some(attempt) = self.roster.get_mut(id) {
                        attempt.output_lost += sealed.lost;
                        attempt.output_kept = sealed.kept;
                    }
                    self.step(id, Event::Finished);
                }
                Report::Looked { id, watch } => self.take_looked(id, watch),
                Report::Used { used, at_us } => self.looked(used, at_us),
            }
        }
        self.reports = reports;
        self.tell_of_groups();
    }

    fn take_signals(&mut self) {
        // It cannot fail on a descriptor of ours.
        for signal in sys::read_signals(&self.signals).unwrap_or_default() {
            match signal {
                libc::SIGCHLD => self.reap(),
                _ => self.shut_down(SIGNAL_GRACE),
            }
        }
    }

    fn take_deadlines(&mut self) {
        let now = clock::steady();
        while let Some((at, id)) = self.deadlines.first().copied()
            && at <= now
        {
            self.deadlines.pop_first();
            self.step(id, Event::Deadline);
        }
        self.server.expire(self.waiting.talk(), now);
    }

    /// Lets something happen to an attempt and does what follows from it.
    fn step(&mut self, id: u64, event: Event) {
        let Some(attempt) = self.roster.get_mut(id) else {
            return;
        };
        if let (Event::Stop { .. }, Some(gating)) = (&event, &mut attempt.gating) {
            gating.stopped = true;
        }
        let (stopped, signal) = (attempt.state.stopping(), attempt.signal);
        let (state, actions) = attempt.state.on(event, clock::steady());
        attempt.state = state;
        let key = attempt.origin.key;
        for action in actions.into_iter().flatten() {
            match action {
                Action::Announce => {
                    let Some(attempt) = self.roster.get_mut(id) else {
                        return;
                    };
                    if attempt.gating.is_some() {
                        continue;
                    }
                    let live = attempt.live();
                    let (pid, at_ms) = (live.pid, live.started_ms);
                    self.server.say(&FromRunner::Started { key, pid, at_ms });
                }
                // Before the group: once parents have ended they do not tell of children any more.
                Action::TellOthers(pid) => self.seek(id, pid, Some(signal)),
                Action::TellGroup(pid) => {
                    // The process is not reaped, so the group is its own. They fail if nobody is left in it.
                    let _ = rustix::process::kill_process_group(pid, signal);
                    // A stopped process would not notice.
                    let _ = rustix::process::kill_process_group(pid, Signal::CONT);
                }
                Action::Kill(pid) => {
                    let _ = rustix::process::kill_process_group(pid, Signal::KILL);
                    self.kill_group(id);
                    self.killed = clock::steady();
                    self.seek(id, pid, Some(Signal::KILL));
                }
                Action::Watch(pid) => self.seek(id, pid, None),
                Action::WakeAt(at) => self.set_deadline(id, Some(at)),
                Action::Collect(pid) => self.collect(id, pid),
                Action::GiveUp => self.give_up(id),
                Action::Report => {
                    self.set_deadline(id, None);
                    let Over::All { stopped } = self.over(id, stopped) else {
                        return;
                    };
                    if let Some(attempt) = self.roster.remove(id) {
                        let slot = attempt.slot;
                        let ended = attempt.into_ended(stopped);
                        self.server.say(&FromRunner::Ended(Box::new(Rec(ended.clone()))));
                        self.results.keep(ended, slot);
                    }
                    return;
                }
            }
        }
    }

    fn set_deadline(&mut self, id: u64, at: Option<Instant>) {
        let Some(attempt) = self.roster.get_mut(id) else {
            return;
        };
        if let Some(earlier) = std::mem::replace(&mut attempt.deadline, at) {
            self.deadlines.remove(&(earlier, id));
        }
        if let Some(at) = at {
            self.deadlines.insert((at, id));
        }
    }

    /// While no daemon is there, and before the end, only the disk may lose a result.
    fn keep_results(&mut self) {
        let ending = matches!(self.closing, Closing::Lingering(_));
        if self.server.is_attached() && !ending {
            return;
        }
        // On a full disk what got into the spool is kept all the more.
        let spooled = self.results.spool();
        match self.results.sync().and(spooled) {
            Ok(()) => self.spool_fails = false,
            Err(error) => {
                if !self.spool_fails {
                    complain(format_args!(
                        "cannot write the spool, results are held in memory: {error}"
                    ));
                }
                self.spool_fails = true;
                self.retry_soon();
            }
        }
    }
}

fn stop_within(grace: Duration) -> Event {
    Event::Stop {
        grace: grace.min(GRACE_MAX),
    }
}
