//! As much of the standard test harness as cargo and nextest need: filters, `--exact`, `--skip`, `--list`.

use std::collections::VecDeque;
use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;

/// A test and its name.
pub type Test = (&'static str, fn());

/// Names tests by what they are.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub const TESTS: [$crate::harness::Test; [$(stringify!($name)),*].len()] = [
            $((concat!(module_path!(), "::", stringify!($name)), $name)),*
        ];
    };
}

/// They wait more than they work.
const THREADS: usize = 4;

struct Wanted {
    filters: Vec<String>,
    skipped: Vec<String>,
    exact: bool,
    list: bool,
    ignored: bool,
}

impl Wanted {
    fn from_arguments() -> Self {
        let mut wanted = Wanted {
            filters: Vec::new(),
            skipped: Vec::new(),
            exact: false,
            list: false,
            ignored: false,
        };
        let mut arguments = env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--exact" => wanted.exact = true,
                "--list" => wanted.list = true,
                "--ignored" => wanted.ignored = true,
                "--skip" => wanted.skipped.extend(arguments.next()),
                "--format" | "--test-threads" | "--color" => drop(arguments.next()),
                option if option.starts_with('-') => {}
                _ => wanted.filters.push(argument),
            }
        }
        wanted
    }

    fn wants(&self, name: &str) -> bool {
        let matches = |filter: &String| {
            if self.exact {
                name == filter
            } else {
                name.contains(filter.as_str())
            }
        };
        // None of ours is ignored.
        !self.ignored
            && (self.filters.is_empty() || self.filters.iter().any(matches))
            && !self.skipped.iter().any(matches)
    }
}

/// Runs what the arguments of the program ask for.
pub fn run(groups: &[&[Test]]) -> ExitCode {
    let wanted = Wanted::from_arguments();
    let tests: VecDeque<Test> = groups
        .iter()
        .flat_map(|group| group.iter())
        .map(|(name, test)| (name.split_once("::").map_or(*name, |(_, rest)| rest), *test))
        .filter(|(name, _)| wanted.wants(name))
        .collect();
    if wanted.list {
        for (name, _) in tests {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let count = tests.len();
    println!("\nrunning {count} tests");
    let queue = Mutex::new(tests);
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("nobody panics with it").pop_front();
                    let Some((name, test)) = next else {
                        return;
                    };
                    let passed = panic::catch_unwind(AssertUnwindSafe(test)).is_ok();
                    println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
                    if !passed {
                        failed.lock().expect("nobody panics with it").push(name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("nobody panics with it");
    if failed.is_empty() {
        println!("\ntest result: ok. {count} passed; 0 failed\n");
        return ExitCode::SUCCESS;
    }
    println!(
        "\nfailures: {failed:#?}\n\ntest result: FAILED. {} passed; {} failed\n",
        count - failed.len(),
        failed.len()
    );
    ExitCode::from(101)
}
