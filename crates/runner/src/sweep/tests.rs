use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use super::*;

#[test]
fn once_the_first_process_is_reaped_its_id_tells_nothing() {
    let mut shell = Command::new("sh")
        .args(["-c", "sleep 1000 & echo $!; wait"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a system");
    let mut line = String::new();
    let stdout = shell.stdout.take().expect("it is piped");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let child = line.trim().parse().ok().and_then(Pid::from_raw).expect("its id");
    let first = Pid::from_child(&shell);
    let search = Search::below(rustix::process::getppid());
    let table = search.look().expect("room");
    let found = |family: &Family| {
        let members = family.members(&table);
        members.iter().map(|member| member.pid).collect::<Vec<_>>()
    };

    let family = Family::new("none".to_owned(), first, None);
    family.recognise();
    assert_eq!(found(&family), [child]);
    // As if another one had had the id before.
    let earlier = Family::new("none".to_owned(), first, None);
    let other = Process::read(rustix::process::getpid()).expect("room").expect("this");
    earlier.first_known.set(other.known).expect("it is new");
    assert_eq!(found(&earlier), []);
    // Who was found before is still known by itself.
    shell.kill().expect("it is there");
    shell.wait().expect("a child");
    assert_eq!(found(&family), [child]);

    let _ = rustix::process::kill_process(child, Signal::KILL);
}
