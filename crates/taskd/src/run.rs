//! `main`: puts the daemon together, and takes it apart in order.

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser as _;
use rustix::process::Signal;
use taskd_core::schedule::{Catalog, Zones};
use taskd_core::scheduler::Scheduler;
use taskd_core::task::Owner;
use taskd_store::{Opened, Store};
use taskd_wire::runner::AttemptKey;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::accept::Schedules;
use crate::args::{Args, Part, RunnerArgs};
use crate::clock;
use crate::config::{Config, Limits};
use crate::engine::{self, Ending, Engine, Keeper, Parts, Whereabouts};
use crate::log::{self, LogHandle};
use crate::notify::Notify;
use crate::paths::Paths;
use crate::press::Press;
use crate::program::Program;
use crate::readers::Readers;
use crate::server::{self, Shared, Socket};
use crate::signals::{Held, Signals, pass_on_stop};
use crate::zoneinfo::Zoneinfo;

/// How long connections may take to be answered what they asked when the daemon ends.
const FAREWELL: Duration = Duration::from_millis(200);

/// How long the engine may take to end its runs when the daemon shall end at once.
const AT_ONCE: Duration = Duration::from_secs(3);

/// How long the store may take to close.
const CLOSE_WITHIN: Duration = Duration::from_secs(30);

/// Files open beside those of connections: the store and its readers, the log, timers, the runner.
const FILES_BESIDE: u64 = 128;

/// Threads of the server: clients wait for the store or the engine, not for these.
const SERVER_THREADS: usize = 2;

/// The program `taskd`.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    let inherited = if args.close_inherited {
        taskd_runner::close_inherited()
    } else {
        taskd_runner::close_inherited_on_exec()
    };
    if let Err(error) = inherited {
        // Then the runner has them too, and no run.
        eprintln!("taskd: files that the caller left open stay open: {error}");
    }
    let result = match &args.part {
        Some(Part::Runner(runner)) => run_runner(runner),
        None if args.check_config => check_config(&args),
        None => run_daemon(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("taskd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_runner(args: &RunnerArgs) -> anyhow::Result<ExitCode> {
    let options = taskd_runner::Options {
        state_dir: args.state_dir.clone(),
        socket: args.socket.clone(),
        slot: args.slot,
        cgroups: !args.no_cgroups,
    };
    let run = if args.worker {
        taskd_runner::worker
    } else {
        taskd_runner::guard
    };
    Ok(run(&options)?)
}

fn settle(args: &Args) -> anyhow::Result<(Paths, Config)> {
    let paths = Paths::resolve(args)?;
    let mut config = Config::load(&paths.config, paths.config_required)?;
    config.runner.start &= !args.external_runner && args.runner_unit.is_none();
    let paths = paths.with_runner_socket(config.runner.socket.as_deref())?;
    Ok((paths, config))
}

fn check_config(args: &Args) -> anyhow::Result<ExitCode> {
    use std::io::Write as _;
    let (paths, config) = settle(args)?;
    let runner = match &args.runner_unit {
        Some(unit) => format!("started by systemd as {unit}.service"),
        None if config.runner.start => "started when none answers".to_owned(),
        None => "external".to_owned(),
    };
    let mut out = std::io::stdout();
    for (what, place) in [
        ("configuration", &paths.config),
        ("state", &paths.state_dir),
        ("socket", &paths.socket),
        ("log", &paths.log_dir),
        ("runner socket", &paths.runner_socket),
    ] {
        writeln!(out, "{what:<14} {}", place.display())?;
    }
    writeln!(out, "{:<14} {runner}", "runner")?;
    Ok(ExitCode::SUCCESS)
}

fn run_daemon(args: &Args) -> anyhow::Result<ExitCode> {
    // Those that come while the store is opened are heeded after.
    let signals = Held::back()?;
    let program = Arc::new(Program::of_this_process()?);
    taskd_runner::reap_inherited();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SERVER_THREADS)
        .thread_name("server")
        .enable_all()
        .build()?;
    let (paths, config) = settle(args)?;
    paths.create()?;
    let opened = Store::open(taskd_store::Options {
        limits: config.store_limits(),
        remove_output: Some(Box::new(output_remover(&paths.state_dir))),
        output_size: Some(Box::new(output_size(&paths.state_dir))),
        ..taskd_store::Options::new(&paths.state_dir)
    })?;
    // Only the holder of the state directory may write its log.
    let log = Arc::new(log::init(&paths.log_dir, config.log_options())?);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        state_dir = %paths.state_dir.display(),
        socket = %paths.socket.display(),
        "taskd starts"
    );
    allow_files(config.limits.connections);
    let socket =
        Socket::bind(&paths.socket).with_context(|| format!("the socket {} could not be made", paths.socket.display()));
    let result = socket.and_then(|socket| {
        let begun = Begun {
            runtime,
            signals,
            program: Arc::clone(&program),
            socket,
        };
        serve(args, &paths, config, opened, &log, begun)
    });
    match &result {
        Ok(Ending::Stop) => tracing::info!("taskd ends"),
        Ok(Ending::Restart) => tracing::info!("taskd begins anew"),
        Err(error) => tracing::error!(error = format!("{error:#}"), "taskd ends"),
    }
    log.flush();
    match result? {
        Ending::Stop => Ok(ExitCode::SUCCESS),
        Ending::Restart => {
            let error = program.begin_anew();
            log.flush();
            Err(error).context("it could not be executed anew")
        }
    }
}

/// Makes room for so many connections, where the limit that the daemon was started with is lower. It is left alone
/// otherwise: the runner takes what it finds for what runs shall have.
fn allow_files(connections: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let needed = connections as u64 + FILES_BESIDE;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return;
    }
    let allowed = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    let raised = Rlimit {
        current: Some(allowed),
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(error = %error, "the limit of open files could not be raised");
    } else if allowed < needed {
        tracing::warn!(
            connections,
            needed,
            allowed,
            "not all connections can be open at once: too few files may be"
        );
    }
}

/// What is there before the store is.
struct Begun {
    runtime: Runtime,
    signals: Held,
    program: Arc<Program>,
    socket: Socket,
}

fn serve(
    args: &Args,
    paths: &Paths,
    config: Config,
    opened: Opened,
    log: &Arc<LogHandle>,
    begun: Begun,
) -> anyhow::Result<Ending> {
    let Begun {
        runtime,
        signals,
        program,
        mut socket,
    } = begun;
    let owner = Owner(rustix::process::geteuid().as_raw());
    let (store, core) = restore(opened, &config, owner)
        .with_context(|| format!("the store in {} cannot be used", paths.state_dir.display()))?;
    let (limits_now, limits) = watch::channel(config.limits.clone());
    let (engine, run_engine) = engine::prepare(Parts {
        core,
        writer: store.writer(),
        press: Press::start(
            &paths.state_dir,
            store.reader()?,
            store.writer(),
            config.limits.output_compress_bytes,
        )?,
        reader: store.reader()?,
        runner: Whereabouts {
            socket: paths.runner_socket.clone(),
            state_dir: paths.state_dir.clone(),
            keeper: match &args.runner_unit {
                Some(unit) => Keeper::Systemd(unit.clone()),
                None if config.runner.start => Keeper::Daemon,
                None => Keeper::Other,
            },
            cgroups: config.runner.cgroups,
            program: program.file(),
        },
        config: config.clone(),
        notify: Notify::from_env(),
        boot: boot(),
    });
    let shared = Arc::new(Shared {
        engine: engine.clone(),
        readers: Readers::new(store.readers()),
        schedules: Schedules::new(zones()),
        local_zone: std::sync::Mutex::new(local_zone()),
        owner,
        limits,
        log: Arc::clone(log),
        state_dir: paths.state_dir.clone(),
        started_at: clock::now(),
        program,
        trying: tokio::sync::Mutex::new(()),
        editing: tokio::sync::Mutex::new(()),
        importing: Arc::default(),
        staging: Arc::default(),
        counting: Arc::default(),
    });
    let (ended, mut engine_ended) = oneshot::channel();
    let engine_thread = std::thread::Builder::new().name("engine".into()).spawn(move || {
        let result = run_engine();
        // The main thread may be gone only when the process is.
        let _ = ended.send(());
        result
    })?;
    let reload = Reload {
        args,
        shared: Arc::clone(&shared),
        limits: limits_now,
        log: Arc::clone(log),
    };
    let at_once = runtime.block_on(async {
        let (stop, stopping) = watch::channel(false);
        let listener = socket.listener()?;
        let signals = signals.heard()?;
        let (anew, listeners) = mpsc::channel(1);
        let serving = tokio::spawn(server::serve(listener, listeners, Arc::clone(&shared), stopping));
        let at_once = tokio::select! {
            heeded = heed(signals, engine.clone(), reload) => {
                heeded?;
                // It has the runs killed; nothing else is waited for.
                let _ = timeout(AT_ONCE, &mut engine_ended).await;
                true
            }
            _ = &mut engine_ended => false,
            never = socket.keep(&anew) => match never {},
        };
        // While it still listens, so that no other daemon takes it for one left behind.
        drop(socket);
        // Nobody is served who would wait for an engine that is gone.
        let _ = stop.send(true);
        if let Ok(drained) = serving.await {
            let _ = timeout(FAREWELL, drained.wait()).await;
        }
        anyhow::Ok(at_once)
    })?;
    runtime.shutdown_timeout(FAREWELL);
    let mut ending = Ending::Stop;
    // Unless it was given up, it has nothing left to do.
    if !at_once || engine_thread.is_finished() {
        ending = match engine_thread.join() {
            Ok(result) => result.context("the engine failed")?,
            Err(_) => bail!("the engine panicked"),
        };
    }
    if at_once {
        // Closing it, and dropping it too, waits for the disk. What was acknowledged is there.
        std::mem::forget(store);
        return Ok(Ending::Stop);
    }
    match (close(store), ending) {
        // The next life finds it as a crash would leave it.
        (Err(error), Ending::Restart) => tracing::error!(error = format!("{error:#}"), "the store is left open"),
        (closed, _) => closed?,
    }
    if ending == Ending::Restart && engine.is_to_stop() {
        pass_on_stop();
    }
    Ok(ending)
}

/// The scheduler as the store has it.
fn restore(opened: Opened, config: &Config, owner: Owner) -> anyhow::Result<(Store, Scheduler)> {
    let Opened { store, mut tasks, rest } = opened;
    let mut foreign = 0;
    let core = Scheduler::restore(
        Catalog::new(zones()),
        engine::core_limits(config),
        seed()?,
        tasks.by_ref().inspect(|task| foreign += u64::from(task.owner != owner)),
        rest,
    );
    tasks.finish()?;
    if foreign > 0 {
        // They would run as this user, who cannot see them.
        bail!("it holds {foreign} tasks of other users; start taskd as the user it belongs to");
    }
    Ok((store, core))
}

/// The boot of the machine, by its id.
fn boot() -> Option<u128> {
    let boot = taskd_runner::boot_id();
    if boot.is_none() {
        tracing::warn!("no boot of the machine can be told; tasks that are due after one will not start");
    }
    boot
}

fn zones() -> Zones {
    Zones::new(jiff::tz::db().clone())
}

/// Closes the store, unless the disk takes that long that it must be given up.
fn close(store: Store) -> anyhow::Result<()> {
    let (done, closed) = std::sync::mpsc::channel();
    std::thread::Builder::new().name("close".into()).spawn(move || {
        // Nobody waits any more when it took too long.
        let _ = done.send(store.close());
    })?;
    match closed.recv_timeout(CLOSE_WITHIN) {
        Ok(result) => Ok(result?),
        Err(_) => bail!("the store did not close within {} s", CLOSE_WITHIN.as_secs()),
    }
}

/// What a reload reads anew and tells.
struct Reload<'a> {
    args: &'a Args,
    shared: Arc<Shared>,
    limits: watch::Sender<Limits>,
    log: Arc<LogHandle>,
}

impl Reload<'_> {
    async fn now(&self) {
        match settle(self.args) {
            Ok((_, config)) => {
                self.log.reload(config.log_options());
                self.limits.send_replace(config.limits.clone());
                self.forget_zones();
                allow_files(config.limits.connections);
                self.shared.engine.reload(config).await;
                tracing::info!("the configuration was read anew");
            }
            Err(error) => {
                tracing::error!(
                    error = format!("{error:#}"),
                    "the configuration was refused; the old one stays"
                );
            }
        }
    }
}

impl Reload<'_> {
    /// Reads the zones anew, and no configuration.
    async fn zones(&self) {
        self.forget_zones();
        self.shared.engine.zones_changed().await;
        tracing::info!("the tz database has changed; every schedule was read anew");
    }

    fn forget_zones(&self) {
        self.shared
            .schedules
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .reset();
        jiff::tz::reset_system_time_zone_cache();
        *self.shared.local_zone.lock().unwrap_or_else(PoisonError::into_inner) = local_zone();
    }
}

/// Stops at TERM or INT, at once at the second INT; reads the configuration anew at HUP, and the zones when they change. Ends
/// at the second INT.
async fn heed(mut signals: Signals, engine: Engine, reload: Reload<'_>) -> std::io::Result<()> {
    let mut interrupted = false;
    let mut zoneinfo = Zoneinfo::watched();
    loop {
        let signal = tokio::select! {
            signal = signals.next() => signal?,
            () = zoneinfo.changed() => {
                reload.zones().await;
                continue;
            }
        };
        if signal == Signal::HUP {
            reload.now().await;
        } else if signal == Signal::INT {
            tracing::info!(signal = "INT", "asked to stop");
            engine.stop(interrupted).await;
            if interrupted {
                return Ok(());
            }
            interrupted = true;
        } else {
            tracing::info!(signal = "TERM", "asked to stop");
            engine.stop(false).await;
        }
    }
}

/// An attempt as the runner names it.
pub(crate) fn runner_key(attempt: taskd_core::run::AttemptKey) -> AttemptKey {
    AttemptKey {
        task: attempt.run.task.0,
        run: attempt.run.n,
        attempt: attempt.attempt,
    }
}

/// Removes the output of runs whose history is no longer kept.
fn output_remover(state_dir: &Path) -> impl Fn(&[taskd_core::run::AttemptKey]) + Send + use<> {
    let state_dir = state_dir.to_owned();
    move |attempts| {
        for key in attempts.iter().copied().map(runner_key) {
            if let Err(error) = taskd_runner::remove_output(&state_dir, &key) {
                let path = taskd_runner::output_path(&state_dir, &key);
                tracing::warn!(error = %error, path = %path.display(), "old output could not be removed");
            }
        }
    }
}

/// How many bytes the output of an attempt takes.
pub(crate) fn output_size(state_dir: &Path) -> impl Fn(taskd_core::run::AttemptKey) -> Option<u64> + Send + use<> {
    let state_dir = state_dir.to_owned();
    move |attempt| {
        let (_, found) = taskd_runner::find_output(&state_dir, &runner_key(attempt))?;
        Some(taskd_runner::on_disk(&found))
    }
}

/// The zone the machine is set to; UTC when it is set to none that has a name.
fn local_zone() -> Arc<str> {
    let system = jiff::tz::TimeZone::system();
    match system.iana_name() {
        Some(name) if name != "Etc/Unknown" => name.into(),
        Some(_) | None => {
            tracing::warn!(
                "the zone of this machine has no name of the tz database: UTC is taken for tasks that name none"
            );
            "UTC".into()
        }
    }
}

/// Randomness for trace ids.
fn seed() -> anyhow::Result<[u64; 2]> {
    let mut bytes = [0_u8; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).context("no randomness")?;
    let (first, second) = bytes.split_at(8);
    let word = |half: &[u8]| half.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
    Ok([word(first), word(second)])
}

#[cfg(test)]
mod tests {
    use taskd_core::record::Record;
    use taskd_core::task::TaskId;

    use super::*;
    use crate::testing::manual;

    #[test]
    fn a_store_with_tasks_of_another_user_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let open = || Store::open(taskd_store::Options::new(dir.path())).expect("it opens");
        let opened = open();
        let added = Record::TaskAdded {
            id: TaskId(1),
            owner: Owner(7),
            at: clock::now(),
            definition: Arc::new(manual("a")),
        };
        let (done, stored) = std::sync::mpsc::channel();
        opened.store.writer().commit(taskd_store::Batch {
            records: vec![added],
            epoch: 0,
            fact: true,
            done: Box::new(move |result| done.send(result.is_ok()).expect("it is awaited")),
        });
        assert!(stored.recv().expect("an answer"));
        drop(opened);
        let config = Config::default();
        assert!(restore(open(), &config, Owner(7)).is_ok());
        let error = restore(open(), &config, Owner(8)).err().expect("they are not its own");
        assert!(error.to_string().contains("1 tasks of other users"), "{error}");
    }
}
