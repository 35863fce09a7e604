//! `taskctl completions`: scripts for three shells, which ask the daemon for names.

use std::path::Path;
use std::process::Command;

use crate::harness::{Ran, World, run, wait_for};

#[test]
fn the_scripts_kept_are_the_ones_printed() {
    let world = World::new();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions");
    for (shell, file) in [("bash", "taskctl.bash"), ("zsh", "_taskctl"), ("fish", "taskctl.fish")] {
        let script = world.ctl(&["completions", shell]).ok();
        let kept = std::fs::read_to_string(kept.join(file)).expect("it is kept");
        assert_eq!(script, kept, "taskctl completions {shell} >completions/{file}");
    }
    let said = world.ctl(&["completions", "bsh"]).refused(2);
    assert!(said.contains("bash"), "{said}");
}

/// What bash would offer for these words, the last of them being typed.
fn bash(world: &World, words: &[&str]) -> Vec<String> {
    let taskctl = world.taskctl(&[]);
    let program = Path::new(taskctl.get_program());
    let mut bash = Command::new("bash");
    let script = "source <(taskctl completions bash)\n\
                  function=$(complete -p taskctl | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n\
                  COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1)) COMP_TYPE=9\n\
                  COMP_LINE=\"$*\" COMP_POINT=${#COMP_LINE}\n\
                  \"$function\" taskctl \"${!#}\" \"${COMP_WORDS[COMP_CWORD - 1]}\" 2>/dev/null\n\
                  printf '%s\\n' \"${COMPREPLY[@]}\"";
    bash.env_clear()
        .envs(taskctl.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let dir = program.parent().expect("a directory");
    bash.env("PATH", format!("{}:/usr/bin:/bin", dir.display()));
    let Ran { stdout, .. } = run(bash.args(["-c", script, "bash"]).args(words));
    stdout
        .lines()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

#[test]
fn bash_completes_verbs_flags_tasks_and_runs() {
    let world = World::served();
    for name in ["backup", "bake", "other"] {
        world.ctl(&["add", "--name", name, "--manual", "--", "true"]).ok();
    }
    world.ctl(&["run", "--wait", "bake"]).ok();
    world.ctl(&["run", "--wait", "bake"]).ok();
    assert_eq!(bash(&world, &["taskctl", "expo"]), ["export"]);
    assert_eq!(bash(&world, &["taskctl", "run", "--wa"]), ["--wait"]);
    // Whoever presses a key is not kept waiting: a daemon that is slow to answer gives no names this time.
    let offers = |words: &[&str], expected: &[&str]| {
        wait_for(&format!("{expected:?} to be offered"), || {
            let mut offered = bash(&world, words);
            offered.sort();
            (offered == expected).then_some(())
        });
    };
    offers(&["taskctl", "show", "ba"], &["backup", "bake"]);
    offers(&["taskctl", "cancel", "bake/"], &["bake/1", "bake/2"]);
    assert_eq!(
        bash(&world, &["taskctl", "add", "--tz", "Europe/Berl"]),
        ["Europe/Berlin"]
    );
}

#[test]
fn without_a_daemon_there_are_no_names_and_no_noise() {
    let world = World::new();
    assert_eq!(bash(&world, &["taskctl", "show", "ba"]), [""; 0]);
    assert_eq!(bash(&world, &["taskctl", "sho"]), ["show"]);
    let mut command = world.taskctl(&["--", "taskctl", "show", "ba"]);
    let ran = run(command.envs([
        ("COMPLETE", "bash"),
        ("_CLAP_COMPLETE_INDEX", "2"),
        ("_CLAP_COMPLETE_COMP_TYPE", "9"),
    ]));
    assert_eq!((ran.code(), ran.stdout.trim(), ran.stderr.as_str()), (0, "", ""));
}
