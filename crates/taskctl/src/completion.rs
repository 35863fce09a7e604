//! Completion of what is being typed. The scripts of the shells call `taskctl` itself with `COMPLETE` set; names of
//! tasks and runs come from the daemon, if it answers soon, and otherwise there are none.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use clap_complete::engine::CompletionCandidate;
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};
use taskd_wire::client::{Request, Response, RunFilter};
use taskd_wire::codec::Rec;

use crate::args::Shell;
use crate::client::{Client, Patience};
use crate::places::Places;
use crate::render::task;

/// The variable that asks for completion.
pub const VARIABLE: &str = "COMPLETE";

/// How long a daemon may take; who presses a key does not wait longer.
const PATIENCE: Duration = Duration::from_millis(300);

/// Most candidates asked for.
const MOST: u32 = 500;

/// The script that makes a shell complete `taskctl`.
pub fn script(shell: Shell) -> String {
    let completer: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    let mut script = Vec::new();
    completer
        .write_registration(VARIABLE, "taskctl", "taskctl", "taskctl", &mut script)
        .expect("memory takes every write");
    let script = String::from_utf8_lossy(&script);
    let script = format!("{}\n", script.trim());
    match shell {
        Shell::Bash => whole_words(&script),
        Shell::Zsh => loadable(&script),
        Shell::Fish => script,
    }
}

/// Bash breaks words at `=`, `:` and `@` too, and replaces only the last piece; clap knows whole words only.
const WHOLE_WORDS: &str = r#"
# Words as they stand in the line: bash breaks them at =, : and @ too, and --tz=UTC would come as three.
_taskctl() {
    local whole=() rest=$COMP_LINE piece i last=-1
    for ((i = 0; i <= COMP_CWORD; i++)); do
        piece=${COMP_WORDS[i]}
        if [[ $i -eq 0 || $rest == [[:space:]]* || $rest != "$piece"* ]]; then
            last=$((last + 1))
        fi
        rest=${rest#*"$piece"}
        # What stands behind the cursor is not asked about.
        if [[ $i -eq $COMP_CWORD && $piece != [=:@]* ]]; then
            piece=$2
        fi
        whole[last]+=$piece
    done
    local COMP_WORDS=("${whole[@]}") COMP_CWORD=$last
    local kept=${whole[last]%"$2"}
    _clap_complete_taskctl "$1" "${whole[last]}" "$3"
    COMPREPLY=("${COMPREPLY[@]#"$kept"}")
}
"#;

/// The script for bash, with its function called through another that puts words together.
fn whole_words(script: &str) -> String {
    let called = script.replace("-F _clap_complete_taskctl ", "-F _taskctl ");
    match called.find("\nif ") {
        Some(end) if called != script => {
            format!("{}\n{}{}", &called[..end], WHOLE_WORDS.trim_start(), &called[end + 1..])
        }
        _ => script.to_owned(),
    }
}

/// The script for zsh registers a function, which suits `source`. When zsh loads it from its path instead, it runs the
/// file for the first completion, so the file must then complete too.
fn loadable(script: &str) -> String {
    let function = "_clap_dynamic_completer_taskctl";
    let register = format!("compdef {function} taskctl\n");
    let either = format!(
        "if [[ \"${{funcstack[1]}}\" == \"_taskctl\" ]]; then\n    {function} \"$@\"\nelse\n    {register}fi\n"
    );
    match script.strip_suffix(&register) {
        Some(head) => head.to_owned() + &either,
        None => script.to_owned(),
    }
}

/// Names of tasks that begin so.
pub fn tasks(typed: &OsStr) -> Vec<CompletionCandidate> {
    let request = Request::List {
        names: matching(typed),
        after: None,
        limit: MOST,
    };
    let Some(Response::Tasks { tasks, .. }) = ask(&request) else {
        return Vec::new();
    };
    tasks
        .into_iter()
        .map(|Rec(task)| {
            let spec = task.spec.0;
            let help = spec.description.clone().unwrap_or_else(|| task::schedules(&spec));
            CompletionCandidate::new(spec.name).help(Some(help.into()))
        })
        .collect()
}

/// Names of tasks and, once a task is named, of its runs.
pub fn runs(typed: &OsStr) -> Vec<CompletionCandidate> {
    let Some((task, _)) = typed.to_str().and_then(|typed| typed.split_once('/')) else {
        return tasks(typed);
    };
    let filter = RunFilter {
        targets: vec![task.to_owned()],
        ..RunFilter::default()
    };
    let Some(Response::Runs { runs, .. }) = ask(&Request::Runs {
        filter: Rec(filter),
        before: None,
        limit: MOST,
    }) else {
        return Vec::new();
    };
    let prefix = typed.to_string_lossy();
    let runs = runs
        .into_iter()
        .map(|run| run.0)
        .filter(|run| run.run.starts_with(&*prefix));
    runs.map(|run| CompletionCandidate::new(&run.run).help(Some(task::fate(&run).0.into())))
        .collect()
}

/// Names of time zones that begin so.
pub fn zones(typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy().to_lowercase();
    let names: BTreeSet<String> = jiff::tz::db()
        .available()
        .map(|name| name.to_string())
        .filter(|name| name.to_lowercase().starts_with(&typed))
        .collect();
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// A pattern for what was typed; none that could match where something was typed that is in no name.
fn matching(typed: &OsStr) -> Vec<String> {
    match typed.to_str() {
        None | Some("") => Vec::new(),
        Some(typed) => vec![format!("{typed}*")],
    }
}

fn ask(request: &Request) -> Option<Response> {
    let places = Places::of_process(typed_socket().as_deref());
    Client::connect_with(&places, Patience::Silence(PATIENCE))
        .ok()?
        .request(request)
        .ok()
}

/// What follows `--socket` in the line that is being completed.
fn typed_socket() -> Option<PathBuf> {
    let mut words = std::env::args_os().skip_while(|word| word != "--").skip(1);
    while let Some(word) = words.next() {
        if word == "--" {
            return None;
        }
        if word == "--socket" {
            return words.next().map(PathBuf::from);
        }
        if let Some(path) = word.to_str().and_then(|word| word.strip_prefix("--socket=")) {
            return Some(path.into());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_checked_in_are_the_ones_generated() {
        let dir = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../completions"));
        for (shell, file) in [
            (Shell::Bash, "taskctl.bash"),
            (Shell::Zsh, "_taskctl"),
            (Shell::Fish, "taskctl.fish"),
        ] {
            let kept = std::fs::read_to_string(dir.join(file)).unwrap_or_default();
            let name = format!("{shell:?}").to_lowercase();
            assert_eq!(
                script(shell),
                kept,
                "write it anew: taskctl completions {name} > completions/{file}"
            );
        }
    }

    #[test]
    fn bash_is_asked_about_whole_words() {
        let script = script(Shell::Bash);
        assert!(script.contains("\n_taskctl() {\n") && script.matches("-F _taskctl taskctl\n").count() == 2);
    }

    #[test]
    fn zsh_can_load_its_script_from_the_path() {
        assert!(script(Shell::Zsh).contains("_clap_dynamic_completer_taskctl \"$@\"\nelse\n"));
    }

    #[test]
    fn zones_are_found_whatever_their_case() {
        let names: Vec<String> = zones(OsStr::new("europe/ber"))
            .iter()
            .map(|c| c.get_value().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["Europe/Berlin"]);
    }
}
