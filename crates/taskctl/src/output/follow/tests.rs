//! Files that come, grow, are replaced and are followed by others.

use super::*;
use crate::output::printer::Style;
use crate::testing::Captured;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::{File, create_dir_all, rename, write};
use std::io::Write;

fn line(n: u32, text: &str) -> String {
    format!("{{\"log\":\"{text}\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-23T10:00:00.{n:09}Z\"}}\n")
}

fn gap(n: u32) -> String {
    line(n, "")
        .replace("\\n", "")
        .replace("}\n", ",\"gap\":{\"bytes\":7}}\n")
}

struct Scene {
    dir: tempfile::TempDir,
    captured: Captured,
    out: Out,
    err: Out,
    printer: Printer,
    changes: Changes,
}

impl Scene {
    fn new() -> Self {
        let captured = Captured::default();
        Scene {
            dir: tempfile::tempdir().expect("a directory"),
            out: Out::to(captured.clone()),
            err: Out::to(Captured::default()),
            captured,
            printer: Printer::new(Style::default()),
            changes: Changes::new().expect("inotify is there"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("7").join(name)
    }

    fn print(&mut self, followed: &mut Followed, ended: bool) -> String {
        followed
            .print(
                0,
                ended,
                Some(&mut self.changes),
                &mut self.printer,
                &mut self.out,
                &mut self.err,
            )
            .expect("files can be read");
        self.out.flush().expect("memory takes it");
        self.captured.text()
    }

    fn told(&self) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(self.changes.fd(), PollFlags::IN)];
        let ready = poll(&mut fds, Some(&Timespec { tv_sec: 5, tv_nsec: 0 })).expect("poll works") > 0;
        self.changes.clear();
        ready
    }
}

#[test]
fn a_file_is_followed_from_before_it_is_there_to_the_end_of_the_run() {
    // The last lines are those of what was there, and there was nothing.
    for tail in [None, Some(0)] {
        let mut scene = Scene::new();
        let path = scene.path("1.1.jsonl");
        let mut followed = Followed::new(Vec::new(), tail);
        assert_eq!(scene.print(&mut followed, false), "");
        followed.know(vec![path.clone()]);
        assert_eq!(scene.print(&mut followed, false), "");

        create_dir_all(path.parent().expect("it has one")).expect("room");
        assert!(scene.told());
        assert_eq!(scene.print(&mut followed, false), "");

        let mut file = File::create(&path).expect("room");
        assert!(scene.told());
        write!(file, "{}{}", line(1, "a"), &line(2, "b")[..10]).expect("room");
        assert_eq!(scene.print(&mut followed, false), "a\n");

        write!(file, "{}", &line(2, "b")[10..]).expect("room");
        assert!(scene.told());
        assert_eq!(scene.print(&mut followed, true), "a\nb\n");
    }
}

#[test]
fn a_tail_leaves_out_nothing_of_a_file_that_comes_later() {
    let mut scene = Scene::new();
    let path = scene.path("1.1.jsonl");
    let mut followed = Followed::new(vec![path.clone()], Some(1));
    assert_eq!(scene.print(&mut followed, false), "");
    create_dir_all(path.parent().expect("it has one")).expect("room");
    write(&path, line(1, "a") + &line(2, "b")).expect("room");
    assert_eq!(scene.print(&mut followed, true), "a\nb\n");
}

#[test]
fn attempts_follow_each_other() {
    let mut scene = Scene::new();
    create_dir_all(scene.path("")).expect("room");
    let (first, second, third) = (
        scene.path("1.1.jsonl"),
        scene.path("1.2.jsonl"),
        scene.path("1.3.jsonl"),
    );
    write(&first, line(1, "one")).expect("room");
    let mut followed = Followed::new(vec![first.clone()], None);
    assert_eq!(scene.print(&mut followed, false), "one\n");
    // The second attempt wrote nothing and has no file.
    followed.know(vec![first, second, third.clone()]);
    write(&third, line(2, "three")).expect("room");
    assert_eq!(scene.print(&mut followed, true), "one\nthree\n");
}

#[test]
fn of_a_file_put_in_place_at_the_end_only_what_is_new_is_shown() {
    let mut scene = Scene::new();
    create_dir_all(scene.path("")).expect("room");
    let (path, new) = (scene.path("1.1.jsonl"), scene.path("new"));
    write(&path, line(1, "head") + &line(2, "middle")).expect("room");
    let mut followed = Followed::new(vec![path.clone()], None);
    assert_eq!(scene.print(&mut followed, false), "head\nmiddle\n");

    write(&new, line(1, "head") + &gap(5) + &line(6, "tail")).expect("room");
    rename(&new, &path).expect("the same directory");
    assert_eq!(
        scene.print(&mut followed, true),
        "head\nmiddle\n[taskd: 7 B of output was not kept here]\ntail\n"
    );
}

#[test]
fn a_file_put_in_place_that_was_shown_already_adds_nothing() {
    let mut scene = Scene::new();
    create_dir_all(scene.path("")).expect("room");
    let (path, new) = (scene.path("1.1.jsonl"), scene.path("new"));
    write(&path, line(1, "head") + &line(2, "middle") + &line(3, "tail")).expect("room");
    let mut followed = Followed::new(vec![path.clone()], None);
    scene.print(&mut followed, false);
    write(&new, line(1, "head") + &gap(9) + &line(3, "tail")).expect("room");
    rename(&new, &path).expect("the same directory");
    assert_eq!(scene.print(&mut followed, true), "head\nmiddle\ntail\n");
}

#[test]
fn a_tail_begins_near_the_end() {
    let mut scene = Scene::new();
    create_dir_all(scene.path("")).expect("room");
    let path = scene.path("1.1.jsonl");
    write(&path, (0..100).map(|n| line(n, &n.to_string())).collect::<String>()).expect("room");
    let mut followed = Followed::new(vec![path], Some(2));
    assert_eq!(scene.print(&mut followed, false), "98\n99\n");
}

#[test]
fn of_a_tail_nothing_before_it_is_shown_when_the_file_is_replaced() {
    for tail in [0, 1] {
        let mut scene = Scene::new();
        create_dir_all(scene.path("")).expect("room");
        let (path, new) = (scene.path("1.1.jsonl"), scene.path("new"));
        write(&path, line(1, "head") + &line(2, "middle") + &line(3, "tail")).expect("room");
        let mut followed = Followed::new(vec![path.clone()], Some(tail));
        let shown = ["", "tail\n"][tail];
        assert_eq!(scene.print(&mut followed, false), shown);
        write(&new, line(1, "head") + &gap(9) + &line(3, "tail")).expect("room");
        rename(&new, &path).expect("the same directory");
        assert_eq!(scene.print(&mut followed, true), shown);
    }
}

#[test]
fn a_line_that_is_not_whole_when_it_is_begun_with_is_none_of_the_last() {
    let mut scene = Scene::new();
    create_dir_all(scene.path("")).expect("room");
    let path = scene.path("1.1.jsonl");
    write(&path, line(1, "one") + &line(2, "two")[..10]).expect("room");
    let mut followed = Followed::new(vec![path.clone()], Some(0));
    assert_eq!(scene.print(&mut followed, false), "");
    write(&path, line(1, "one") + &line(2, "two") + &line(3, "three")).expect("room");
    assert_eq!(scene.print(&mut followed, true), "three\n");
}

#[test]
fn a_file_put_in_place_while_the_run_goes_on_is_followed() {
    let mut scene = Scene::new();
    create_dir_all(scene.path("")).expect("room");
    let (path, new) = (scene.path("1.1.jsonl"), scene.path("new"));
    let mut old = File::create(&path).expect("room");
    write!(old, "{}{}", line(1, "head"), line(2, "middle")).expect("room");
    let mut followed = Followed::new(vec![path.clone()], None);
    scene.print(&mut followed, false);
    scene.changes.clear();

    // What came to the old file just before, and what comes to the new one from then on; two lines of one instant.
    write!(old, "{}{}", line(3, "a"), line(3, "b")).expect("room");
    let mut file = File::create(&new).expect("room");
    write!(file, "{}{}{}", line(1, "head"), gap(4), line(3, "b")).expect("room");
    scene.changes.clear();
    rename(&new, &path).expect("the same directory");
    assert!(scene.told(), "the rename");
    assert_eq!(scene.print(&mut followed, false), "head\nmiddle\na\nb\n");

    write!(file, "{}", line(5, "c")).expect("room");
    assert!(scene.told(), "the new file");
    // The clock was set back.
    write!(file, "{}", line(2, "d")).expect("room");
    assert_eq!(scene.print(&mut followed, true), "head\nmiddle\na\nb\nc\nd\n");
}
