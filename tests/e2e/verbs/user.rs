//! Whom a command runs as: `--user`.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

use serde_json::json;

use crate::harness::{World, wait_for};
use crate::verbs::export;

fn is_root() -> bool {
    let is = rustix::process::geteuid().is_root();
    if !is {
        eprintln!("skipped: only root can run a command as another user");
    }
    is
}

/// What the system says of nobody.
fn id(what: &str) -> String {
    let output = Command::new("id").args([what, "nobody"]).output().expect("a system");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

fn add(world: &World, name: &str, options: &[&str], line: &str) {
    world
        .ctl(&[&["add", "--name", name, "--manual"], options, &["--shell", line]].concat())
        .ok();
}

#[test]
fn a_command_runs_as_its_user_and_has_no_rights_of_root() {
    if !is_root() {
        return;
    }
    let world = World::served();
    let open = tempfile::tempdir().expect("room");
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o777)).expect("it is ours");
    let secret = open.path().join("secret");
    fs::write(&secret, "hunter2").expect("room");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let line = "id -u; id -g; id -G; echo $USER $LOGNAME; cat secret; echo made > made";
    let options = ["--user", "nobody", "--cwd", open.path().to_str().expect("text")];
    add(&world, "a", &options, line);
    let ran = world.ctl(&["run", "--wait", "a"]);
    let said = format!("{}\n{}\n{}\nnobody nobody\n", id("-u"), id("-g"), id("-G"));
    assert_eq!((ran.code(), ran.stdout.as_str()), (0, said.as_str()), "{ran:?}");
    assert!(ran.stderr.contains("secret: Permission denied"), "{ran:?}");
    let made = fs::metadata(open.path().join("made")).expect("it was made");
    assert_eq!(made.uid().to_string(), id("-u"));

    let user = || world.ctl(&["show", "a", "--json"]).json()["process"]["user"].clone();
    assert_eq!(user(), json!("nobody"));
    assert!(world.ctl(&["show", "a"]).ok().contains("user nobody"));
    export::is_whole(&world, &[]);
    // What another user leaves behind is ended as well.
    let line =
        "(setsid sh -c 'echo $$ > escaped; exec sleep 1000' &); until [ -s escaped ]; do sleep 0.01; done; echo $HOME";
    world.ctl(&["edit", "a", "--shell", line]).ok();
    assert_eq!(world.ctl(&["run", "--wait", "a"]).ok(), home_of_nobody());
    let escaped = fs::read_to_string(open.path().join("escaped")).expect("it was made");
    let environment = format!("/proc/{}/environ", escaped.trim());
    wait_for("it to be gone", || {
        let is_there = fs::read(&environment).is_ok_and(|found| !found.is_empty());
        (!is_there).then_some(())
    });

    world.ctl(&["edit", "a", "--user", "0065534", "--shell", "id -u"]).ok();
    assert_eq!(user(), json!("65534"));
    assert_eq!(world.ctl(&["run", "--wait", "a"]).ok(), "65534\n");
    world.ctl(&["edit", "a", "--user", ""]).ok();
    assert_eq!(user(), json!(null));
    assert_eq!(world.ctl(&["run", "--wait", "a"]).ok(), "0\n");
    if std::env::var_os("TASKD_TEST_NO_MOUNT").is_none() {
        let options = ["--user", "nobody", "--private-tmp", "--cwd", "/tmp"];
        add(&world, "t", &options, "id -u; : > own && stat -c %u own; ls");
        let uid = id("-u");
        let said = format!("{uid}\n{uid}\nown\n");
        assert_eq!(world.ctl(&["run", "--wait", "t"]).ok(), said);
    }
}

fn home_of_nobody() -> String {
    let output = Command::new("getent")
        .args(["passwd", "nobody"])
        .output()
        .expect("a system");
    let entry = String::from_utf8(output.stdout).expect("text");
    format!("{}\n", entry.trim().split(':').nth(5).expect("it has one"))
}

#[test]
fn a_user_is_looked_up_at_each_start() {
    if !is_root() || std::env::var_os("TASKD_TEST_NO_MOUNT").is_some() {
        eprintln!("skipped: it takes accounts of the test's own, mounted in the place of the system's");
        return;
    }
    let mut world = World::new();
    let write = |world: &World, passwd: &str, group: &str| {
        let root = "root:x:0:0:root:/root:/bin/sh\n";
        fs::write(world.path("passwd"), format!("{root}{passwd}")).expect("room");
        fs::write(world.path("group"), format!("root:x:0:\nown:x:12346:\n{group}")).expect("room");
    };
    let tester = "tester:x:12345:12346::/usr/bin:/bin/false\n";
    write(&world, tester, "db:x:12347:tester\nweb:x:12348:root\n");
    let mount = |name: &str| format!("mount --bind '{}' /etc/{name}", world.path(name).display());
    let mounts = format!("{} && {}", mount("passwd"), mount("group"));
    let taskd = world.after(&mounts, &world.taskd());
    let taskd = world.after("exec unshare --mount \"$0\" \"$@\"", &taskd);
    world.spawn(taskd);
    world.wait_served();

    let line = "id -u; id -G; echo $HOME $SHELL $USER; pwd";
    add(&world, "a", &["--user", "tester"], line);
    let told = |world: &World| world.ctl(&["run", "--wait", "a"]).ok();
    let of_account = "/usr/bin /bin/false tester\n/usr/bin\n";
    assert_eq!(told(&world), format!("12345\n12346 12347\n{of_account}"));
    write(&world, tester, "db:x:12347:\nweb:x:12348:tester\n");
    assert_eq!(told(&world), format!("12345\n12346 12348\n{of_account}"));

    write(&world, "", "");
    let ran = world.ctl(&["run", "--wait", "a"]);
    assert!(
        ran.stderr
            .contains("spawn-failed: user tester, there is no such account")
            && ran
                .stderr
                .contains("hint: make the account, or choose another user with `taskctl edit a --user"),
        "{ran:?}"
    );
    let options = ["add", "--name", "b", "--manual", "--user", "tester", "--", "true"];
    let said = world.ctl(&options).refused(2);
    assert!(said.contains("--user tester: there is no such account"), "{said}");
    // What does not touch the user may be changed meanwhile.
    world.ctl(&["edit", "a", "--description", "later"]).ok();
    write(&world, tester, "");
    assert_eq!(told(&world), format!("12345\n12346\n{of_account}"));
}

#[test]
fn a_user_that_cannot_be_is_refused() {
    let world = World::served();
    for (user, says) in [
        ("a b", "  --user a b\n          ^\nhint: write the name of an account"),
        ("4294967295", "number of no user"),
        ("-1", "this is no name of a user"),
    ] {
        let said = world
            .ctl(&["add", "--manual", &format!("--user={user}"), "--", "true"])
            .refused(2);
        assert!(said.contains(says), "{said}");
    }
    if is_root() {
        for (user, says) in [
            (
                "nobodi",
                "--user nobodi: there is no such account\nhint: did you mean nobody?",
            ),
            (
                "4294967290",
                "there is no such account\nhint: name one that `getent passwd` shows",
            ),
        ] {
            let add = ["add", "--name", "a", "--manual", "--user", user, "--", "true"];
            let said = world.ctl(&add).refused(2);
            assert!(said.contains(says), "{said}");
        }
    }
    world.ctl(&["add", "--name", "a", "--manual", "--", "true"]).ok();
    let edit = world.ctl(&["edit", "a", "--user", "no-such-user-here"]).refused(2);
    assert!(edit.contains("--user no-such-user-here"), "{edit}");
    assert_eq!(
        world.ctl(&["show", "a", "--json"]).json()["process"]["user"],
        json!(null)
    );
}

#[test]
fn who_is_not_root_runs_commands_as_itself_alone() {
    let mut world = World::new();
    let taskd = world.taskd();
    // Root without the right to become another is as anybody else.
    let taskd = match is_root() {
        true => world.after("exec setpriv --bounding-set=-setuid \"$0\" \"$@\"", &taskd),
        false => taskd,
    };
    world.spawn(taskd);
    world.wait_served();
    let other = ["--user", "nobody"];
    let said = world
        .ctl(&[["add", "--manual"].as_slice(), &other, &["--", "true"]].concat())
        .refused(2);
    let says = "--user nobody: only root may run commands as another user\nhint: leave it out, or give the task to the system's";
    assert!(said.contains(says), "{said}");
    let own = rustix::process::geteuid().as_raw().to_string();
    add(&world, "own", &["--user", &own, "--cwd", "/"], "id -u");
    assert_eq!(world.ctl(&["run", "--wait", "own"]).ok(), format!("{own}\n"));
    let edit = world.ctl(&[["edit", "own"].as_slice(), &other].concat()).refused(2);
    assert!(edit.contains("only root"), "{edit}");
    let definition = world
        .ctl(&["export", "own"])
        .ok()
        .replace(&format!("\"user\":\"{own}\""), "\"user\":\"nobody\"");
    let import = world.ctl_reading(&["import", "-"], &definition.replace("\"own\"", "\"other\""));
    assert!(import.refused(1).contains("only root"));
}
