//! The manual pages of `completions/man/`: made here from what can be typed, so that a page says what `--help` says, and
//! compared with those that are kept. [`WRITE`] writes them anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};

/// The variable that asks for the pages to be written instead of compared.
const WRITE: &str = "TASKD_WRITE_PAGES";

/// What stands in the text of `--help` and gets a section of its own.
const EXIT_CODES: &str = "Exit codes: ";
const SIGNALS: &str = "Signals: ";

const CTL_ENVIRONMENT: [(&str, &str); 1] = [(
    "TASKD_SOCKET",
    "Socket of the daemon to talk to, where --socket does not say.",
)];

const CTL_FILES: [(&str, &str); 2] = [
    (
        "$XDG_RUNTIME_DIR/taskd/taskd.sock",
        "Socket of your own daemon. It is asked first; root asks the system's first.",
    ),
    ("/run/taskd/taskd.sock", "Socket of the system's daemon."),
];

const DAEMON_ENVIRONMENT: [(&str, &str); 3] = [
    ("TASKD_SOCKET", "Where to listen, if --socket does not say."),
    (
        "CONFIGURATION_DIRECTORY, STATE_DIRECTORY, RUNTIME_DIRECTORY, LOGS_DIRECTORY",
        "Where systemd wants things to be. An argument overrides each.",
    ),
    (
        "NOTIFY_SOCKET, WATCHDOG_USEC",
        "How systemd is told that the daemon serves, reloads and lives.",
    ),
];

/// Root's place, another user's, and what is there.
const DAEMON_FILES: [(&str, &str, &str); 4] = [
    (
        "/etc/taskd/taskd.toml",
        "~/.config/taskd/taskd.toml",
        "The configuration, in TOML. It need not exist.",
    ),
    (
        "/var/lib/taskd/",
        "~/.local/state/taskd/",
        "Tasks and history (store.db, in SQLite), the output of runs, and the runner's socket. Only the daemon's user \
         may write there.",
    ),
    (
        "/run/taskd/taskd.sock",
        "$XDG_RUNTIME_DIR/taskd/taskd.sock",
        "The socket that taskctl speaks to.",
    ),
    (
        "/var/log/taskd/taskd.log",
        "~/.local/state/taskd/log/taskd.log",
        "The daemon log: JSON lines, rotated by size and day.",
    ),
];

const DAEMON_SIGNALS: [(&str, &str); 3] = [
    (
        "SIGTERM, SIGINT",
        "Stop in order. A runner that this daemon started ends its runs: TERM, and KILL after their grace. Runs of a \
         runner that is a service of its own go on.",
    ),
    (
        "SIGINT, a second time",
        "Stop at once: the runs that end with it get no more grace.",
    ),
    (
        "SIGHUP",
        "Read the configuration again and reopen the daemon log. A configuration that is wrong is refused in the log, \
         and the old one stays.",
    ),
];

const DAEMON_STATUS: [(&str, &str); 3] = [
    (
        "0",
        "It has stopped in order; or, with --check-config, nothing is wrong.",
    ),
    ("1", "It could not start or go on. Standard error says why."),
    ("2", "What was typed is wrong."),
];

/// All pages, by the names of their files.
fn pages() -> BTreeMap<String, String> {
    let mut ctl = taskd_cli::command()
        .disable_help_subcommand(true)
        .subcommand_value_name("VERB")
        .subcommand_help_heading("VERBS");
    ctl.build();
    let codes = paragraphs(&ctl)
        .iter()
        .find_map(|paragraph| Some(paragraph.strip_prefix(EXIT_CODES)?.to_owned()))
        .expect("the help of taskctl says its exit codes");
    let codes: Vec<(&str, &str)> = codes
        .trim_end_matches('.')
        .split("; ")
        .map(|code| code.split_once(' ').expect("a code and what it means"))
        .collect();

    let mut pages = BTreeMap::new();
    let verbs: Vec<Command> = ctl
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set())
        .cloned()
        .collect();
    for verb in verbs {
        let name = format!("taskctl-{}", verb.get_name());
        let mut more = Roff::new();
        list(&mut more, "EXIT STATUS", codes.iter().copied());
        see_also(&mut more, &["taskctl(1)", "taskd(8)"]);
        pages.insert(format!("{name}.1"), page(verb, "1", &more));
    }
    let mut more = Roff::new();
    list(&mut more, "EXIT STATUS", codes);
    list(&mut more, "ENVIRONMENT", CTL_ENVIRONMENT);
    list(&mut more, "FILES", CTL_FILES);
    see_also(&mut more, &["taskd(8)", "crontab(5)"]);
    pages.insert("taskctl.1".to_owned(), page(ctl, "1", &more));

    let whole = taskd_daemon::command();
    // Without the programs beside it, which nobody starts by hand.
    let daemon = Command::new("taskd")
        .version(env!("CARGO_PKG_VERSION"))
        .about(whole.get_about().cloned().unwrap_or_default())
        .after_help(whole.get_after_help().cloned().unwrap_or_default())
        .args(whole.get_arguments().cloned());
    let mut more = Roff::new();
    more.control("SH", ["CONFIGURATION"]);
    more.text([roman("Every key may be left out. These are the defaults:")]);
    code(&mut more, configuration().lines());
    let files: Vec<(String, &str)> = DAEMON_FILES
        .iter()
        .map(|(root, user, what)| (format!("{root}, {user}"), *what))
        .collect();
    list(
        &mut more,
        "FILES",
        files.iter().map(|(places, what)| (places.as_str(), *what)),
    );
    more.control("PP", []);
    more.text([roman("The first place is root's, the second another user's.")]);
    list(&mut more, "ENVIRONMENT", DAEMON_ENVIRONMENT);
    list(&mut more, "SIGNALS", DAEMON_SIGNALS);
    list(&mut more, "EXIT STATUS", DAEMON_STATUS);
    see_also(&mut more, &["taskctl(1)", "systemctl(1)"]);
    pages.insert("taskd.8".to_owned(), page(daemon, "8", &more));
    pages
}

/// A page: what clap knows, the examples and remarks of the help, and more sections.
fn page(command: Command, section: &str, more: &Roff) -> String {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_uppercase();
    let mut own = Roff::new();
    let mut examples = Roff::new();
    let mut remarks = Roff::new();
    for text in paragraphs(&command) {
        let (head, indented) = text.split_once('\n').unwrap_or((&text, ""));
        if head.ends_with(':') && indented.starts_with("  ") {
            if !head.starts_with("Example") {
                paragraph(&mut examples);
                examples.text([roman(head)]);
            }
            code(
                &mut examples,
                indented.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)),
            );
        } else if !head.starts_with(EXIT_CODES) && !head.starts_with(SIGNALS) {
            paragraph(&mut remarks);
            remarks.text([roman(text.replace('\n', " "))]);
        }
    }
    for (heading, body) in [("EXAMPLES", examples), ("NOTES", remarks)] {
        if body != Roff::new() {
            own.control("SH", [heading]);
            own.extend([body]);
        }
    }
    let mut made = Vec::new();
    Man::new(described(command.after_help(None::<&str>)))
        .section(section)
        .render(&mut made)
        .expect("memory takes every write");
    let made = String::from_utf8(made).expect("it is text");
    // Each page bears the version in its last line anyhow.
    let made = made.split(".SH VERSION\n").next().unwrap_or_default();
    // The title that is made leaves out the date it does not have, and what follows would be taken for one.
    let (preamble, rest) = made.split_once(".TH ").expect("a page has a title");
    let (_, rest) = rest.split_once('\n').expect("more follows the title");
    let version = env!("CARGO_PKG_VERSION");
    let title = format!(".TH {name} {section} \"\" \"taskd {version}\" \"taskd\"\n");
    let text = [preamble, &title, rest, &plain(&own), &plain(more)].concat();
    let mut literal = false;
    let lines = text.lines().map(|line| {
        literal = line == ".nf" || (literal && line != ".fi");
        typeset(line, literal)
    });
    lines.map(|line| line + "\n").collect()
}

/// The source without the preamble, which a page has once.
fn plain(roff: &Roff) -> String {
    let preamble = Roff::new().render();
    let text = roff.render();
    text.strip_prefix(&preamble).expect("every source begins so").to_owned()
}

/// A line with what stands in backquotes in bold, and characters that are typed kept from becoming typography.
fn typeset(line: &str, literal: bool) -> String {
    if line.starts_with('.') {
        return line.to_owned();
    }
    let mut line = line.to_owned();
    if !literal && line.matches('`').count().is_multiple_of(2) {
        while line.contains('`') {
            line = line.replacen('`', r"\fB", 1).replacen('`', r"\fR", 1);
        }
    }
    line.replace('`', r"\(ga").replace('~', r"\(ti").replace('^', r"\(ha")
}

/// What follows the options in the help, by its empty lines.
fn paragraphs(command: &Command) -> Vec<String> {
    let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    text.split("\n\n")
        .map(|paragraph| paragraph.trim_end().to_owned())
        .collect()
}

/// The command with what a page shows of it: the usage that `--help` shows, and a description that does not begin with
/// what stands under NAME, but ends with what else the command is called.
fn described(mut command: Command) -> Command {
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim().to_owned();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let long = command.get_long_about().map(ToString::to_string).unwrap_or_default();
    let mut text = match long.strip_prefix(&format!("{about}\n\n")) {
        Some(rest) => rest.to_owned(),
        None if long.is_empty() => about + ".",
        None => long,
    };
    for alias in command.get_visible_aliases() {
        text += &format!("\n\n`taskctl {alias}` is the same.");
    }
    command.override_usage(usage).long_about(text)
}

/// The configuration with its defaults, which a test of the daemon holds against the code.
fn configuration() -> String {
    let source = std::fs::read_to_string(top().join("crates/taskd/src/config/mod.rs")).expect("it is there");
    source
        .lines()
        .skip_while(|line| *line != "//! ```toml")
        .skip(1)
        .take_while(|line| *line != "//! ```")
        .map(|line| format!("{}\n", line.trim_start_matches("//!").trim_start()))
        .collect()
}

fn list<'a>(roff: &mut Roff, heading: &str, items: impl IntoIterator<Item = (&'a str, &'a str)>) {
    roff.control("SH", [heading]);
    for (term, text) in items {
        roff.control("TP", []);
        roff.text([bold(term)]);
        roff.text([roman(text)]);
    }
}

/// Parts what follows from what is there.
fn paragraph(roff: &mut Roff) {
    if *roff != Roff::new() {
        roff.control("PP", []);
    }
}

fn code<'a>(roff: &mut Roff, lines: impl Iterator<Item = &'a str>) {
    paragraph(roff);
    roff.control("RS", ["4"]);
    roff.control("nf", []);
    for line in lines {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff.control("RE", []);
}

fn see_also(roff: &mut Roff, pages: &[&str]) {
    roff.control("SH", ["SEE ALSO"]);
    let mut line: Vec<Inline> = Vec::new();
    for (i, page) in pages.iter().enumerate() {
        let (name, section) = page.split_once('(').expect("a page and its section");
        if i > 0 {
            line.push(roman(", "));
        }
        line.extend([bold(name), roman(format!("({section}"))]);
    }
    roff.text(line);
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

#[test]
fn the_pages_kept_are_the_ones_made() {
    let dir = top().join("completions/man");
    let made = pages();
    if std::env::var_os(WRITE).is_some() {
        for (name, text) in &made {
            std::fs::write(dir.join(name), text).expect("it can be written");
        }
    }
    let mut kept = BTreeMap::new();
    for entry in std::fs::read_dir(&dir).expect("the pages are kept there").flatten() {
        let text = std::fs::read_to_string(entry.path()).expect("it is text");
        kept.insert(entry.file_name().to_string_lossy().into_owned(), text);
    }
    let names = |pages: &BTreeMap<String, String>| pages.keys().cloned().collect::<Vec<_>>();
    let again = format!("write them anew: {WRITE}=1 cargo test --test e2e pages");
    assert_eq!(names(&made), names(&kept), "{again}");
    for (name, text) in made {
        assert_eq!(text, kept[&name], "{name}: {again}");
    }
}

#[test]
fn every_verb_has_a_page_that_says_what_its_help_says() {
    let pages = pages();
    assert!(
        pages["taskctl-add.1"].contains(r"\-\-cron"),
        "{}",
        pages["taskctl-add.1"]
    );
    for (name, text) in pages {
        for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXAMPLES", "EXIT STATUS", "SEE ALSO"] {
            let line = match heading.contains(' ') {
                true => format!("\n.SH \"{heading}\"\n"),
                false => format!("\n.SH {heading}\n"),
            };
            assert_eq!(text.matches(&line).count(), 1, "{heading} of {name}");
        }
        assert!(!text.contains('`') && !text.contains(EXIT_CODES), "{name}: {text}");
    }
}
