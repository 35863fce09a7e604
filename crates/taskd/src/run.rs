//! `main`: puts the daemon together, and takes it apart in order.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser as _;
use taskd_core::schedule::{Catalog, Zones};
use taskd_core::scheduler::Scheduler;
use taskd_core::task::Owner;
use taskd_store::{Opened, Store};
use taskd_wire::runner::AttemptKey;
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};

use crate::accept::Schedules;
use crate::args::{Args, Part, RunnerArgs};
use crate::clock;
use crate::config::{Config, Limits};
use crate::engine::{self, Engine, Parts, Whereabouts};
use crate::log::{self, LogHandle};
use crate::notify::Notify;
use crate::paths::Paths;
use crate::readers::Readers;
use crate::server::{self, Shared};

/// How long connections may take to read what they were just told when the daemon ends.
const FAREWELL: Duration = Duration::from_millis(200);

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
    config.runner.start &= !args.external_runner;
    let paths = paths.with_runner_socket(config.runner.socket.as_deref())?;
    Ok((paths, config))
}

fn check_config(args: &Args) -> anyhow::Result<ExitCode> {
    use std::io::Write as _;
    let (paths, config) = settle(args)?;
    let runner = if config.runner.start {
        "started when none answers"
    } else {
        "external"
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
    let listener =
        server::bind(&paths.socket).with_context(|| format!("the socket {} could not be made", paths.socket.display()));
    let result = match listener {
        Ok(listener) => serve(args, &paths, config, opened, &log, listener),
        Err(error) => Err(error),
    };
    match &result {
        Ok(_) => tracing::info!("taskd ends"),
        Err(error) => tracing::error!(error = format!("{error:#}"), "taskd ends"),
    }
    log.flush();
    result
}

fn serve(
    args: &Args,
    paths: &Paths,
    config: Config,
    opened: Opened,
    log: &Arc<LogHandle>,
    listener: std::os::unix::net::UnixListener,
) -> anyhow::Result<ExitCode> {
    let Opened {
        store,
        header,
        mut tasks,
        runs,
    } = opened;
    let zones = || Zones::new(jiff::tz::db().clone());
    let owner = Owner(rustix::process::geteuid().as_raw());
    let mut foreign = 0;
    let core = Scheduler::restore(
        Catalog::new(zones()),
        engine::core_limits(&config),
        seed()?,
        header,
        tasks.by_ref().inspect(|task| foreign += u64::from(task.owner != owner)),
        runs,
    );
    tasks.finish()?;
    if foreign > 0 {
        // They would run as this user, who cannot see them.
        bail!(
            "the store in {} holds {foreign} tasks of other users; start taskd as the user it belongs to",
            paths.state_dir.display()
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(SERVER_THREADS)
        .thread_name("server")
        .enable_all()
        .build()?;
    // Before anything is started that an orderly stop has to end.
    let signals = {
        let _entered = runtime.enter();
        Signals::caught()?
    };
    let (limits_now, limits) = watch::channel(config.limits.clone());
    let (engine, run_engine) = engine::prepare(Parts {
        core,
        writer: store.writer(),
        reader: store.reader()?,
        runner: Whereabouts {
            socket: paths.runner_socket.clone(),
            state_dir: paths.state_dir.clone(),
            start: config.runner.start,
        },
        config: config.clone(),
        notify: Notify::from_env(),
    });
    let shared = Arc::new(Shared {
        engine: engine.clone(),
        readers: Readers::new(store.readers()),
        schedules: Schedules::new(zones()),
        local_zone: local_zone(),
        owner,
        limits,
        log: Arc::clone(log),
        state_dir: paths.state_dir.clone(),
        started_at: clock::now(),
        editing: tokio::sync::Mutex::new(()),
        importing: Arc::default(),
    });
    let (ended, engine_ended) = oneshot::channel();
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
    runtime.block_on(async {
        let (stop, stopping) = watch::channel(false);
        let listener = UnixListener::from_std(listener)?;
        let serving = tokio::spawn(server::serve(listener, Arc::clone(&shared), stopping));
        tokio::select! {
            () = signals.heed(engine, reload) => {}
            _ = engine_ended => {}
        }
        // Nobody is served who would wait for an engine that is gone.
        let _ = stop.send(true);
        let _ = serving.await;
        tokio::time::sleep(FAREWELL).await;
        anyhow::Ok(())
    })?;
    // Its name is ours as long as the state directory is locked.
    let _ = std::fs::remove_file(&paths.socket);
    runtime.shutdown_timeout(FAREWELL);
    if engine_thread.is_finished() {
        match engine_thread.join() {
            Ok(result) => result.context("the engine failed")?,
            Err(_) => bail!("the engine panicked"),
        }
    }
    store.close()?;
    Ok(ExitCode::SUCCESS)
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
                self.shared
                    .schedules
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .reset();
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

/// The signals that the daemon heeds.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// From now on they do not end the process; those that come are heeded later.
    fn caught() -> std::io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Stops at TERM or INT, at once at the second INT; reads the configuration anew at HUP. Ends at the second INT.
    async fn heed(mut self, engine: Engine, reload: Reload<'_>) {
        let mut interrupted = false;
        loop {
            tokio::select! {
                Some(()) = self.terminate.recv() => {
                    tracing::info!(signal = "TERM", "asked to stop");
                    engine.stop(false).await;
                }
                Some(()) = self.interrupt.recv() => {
                    tracing::info!(signal = "INT", "asked to stop");
                    engine.stop(interrupted).await;
                    if interrupted {
                        return;
                    }
                    interrupted = true;
                }
                Some(()) = self.hangup.recv() => reload.now().await,
            }
        }
    }
}

/// Where the output of an attempt is.
fn output_of(state_dir: &Path, attempt: taskd_core::run::AttemptKey) -> PathBuf {
    let key = AttemptKey {
        task: attempt.run.task.0,
        run: attempt.run.n,
        attempt: attempt.attempt,
    };
    taskd_runner::output_path(state_dir, &key)
}

/// Removes the output of runs whose history is no longer kept.
fn output_remover(state_dir: &Path) -> impl Fn(&[taskd_core::run::AttemptKey]) + Send + use<> {
    let state_dir = state_dir.to_owned();
    move |attempts| {
        for attempt in attempts {
            let path = output_of(&state_dir, *attempt);
            // Most runs have none.
            if let Err(error) = std::fs::remove_file(&path)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(error = %error, path = %path.display(), "old output could not be removed");
            }
            if let Some(dir) = path.parent() {
                // It stays as long as it holds the output of another run.
                let _ = std::fs::remove_dir(dir);
            }
        }
    }
}

/// How many bytes the output of an attempt takes.
fn output_size(state_dir: &Path) -> impl Fn(taskd_core::run::AttemptKey) -> Option<u64> + Send + use<> {
    let state_dir = state_dir.to_owned();
    move |attempt| {
        use std::os::unix::fs::MetadataExt as _;
        let found = std::fs::metadata(output_of(&state_dir, attempt)).ok()?;
        Some(found.blocks() * 512)
    }
}

/// The zone the machine is set to; UTC when it is set to none that has a name.
fn local_zone() -> String {
    jiff::tz::TimeZone::system().iana_name().unwrap_or("UTC").to_owned()
}

/// Randomness for trace ids.
fn seed() -> anyhow::Result<[u64; 2]> {
    let mut bytes = [0_u8; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).context("no randomness")?;
    let (first, second) = bytes.split_at(8);
    let word = |half: &[u8]| half.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
    Ok([word(first), word(second)])
}
