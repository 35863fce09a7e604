//! A definition as a line of JSON, the form of `export` and `import`.

use taskd_wire::definition::{ActionSpec, ScheduleSpec, TaskSpec};

use crate::samples::{self, Said};

const WHOLE: &str = r#"{"name":"backup","schedule":{"kind":"cron","expr":"30 2 * * *","tz":"Europe/Berlin"},"action":{"kind":"exec","argv":["/usr/bin/restic","backup","/home"]},"cwd":"/var/backups","env":[{"name":"LEVEL","value":"9=ü"}],"description":"nightly","enabled":true,"misfire":"once","misfire_within_ms":7200000,"dst_gap":"skip","dst_overlap":"second","also":[{"kind":"boot"}],"jitter_ms":600000,"start":"2026-12-01T00:00:00Z","end":"2027-12-01T00:00:00Z","count":100,"calendars":[{"name":"holidays","keep":"only"}],"labels":["db"],"timeout_ms":60000,"deadline_ms":600000,"grace_ms":5000,"kill_signal":"INT","retries":3,"backoff":{"initial_ms":2000,"max_ms":60000,"factor_percent":150,"jitter":true},"retry_on":["timed-out","exit:75"],"success_codes":[0,2],"concurrency":"queue:4","group":"db","priority":-10,"locks":["disk"],"on_leftover":"leave","process":{"umask":"027","nice":-5,"ionice":"best-effort:7","oom_score_adjust":500,"limits":["nofile=1024:4096"],"no_new_privileges":true,"clear_env":true,"env_files":["-/etc/backup.env"],"stdin":"@/var/lib/in","private_tmp":true,"user":"backup","memory_max":"512M","cpu_max":"150%","pids_max":64},"output_max":1048576,"keep_runs":50,"keep_for_ms":86400000,"output":"file","mask":["token=.*"],"gates":{"only_if":"test -e /mnt/backup","max_load":"2.5","min_memory":"2G","on_ac_power":true,"gate_wait_ms":600000},"requires":["extract","snapshot:26h"]}"#;

fn parse(json: &str) -> Result<TaskSpec, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

/// Asserts that a definition is refused with a message that has all of these words.
fn assert_refused(json: &str, words: &[&str]) {
    let message = parse(json).unwrap_err();
    for word in words {
        assert!(message.contains(word), "{json}: {message}");
    }
}

#[test]
fn the_form_is_what_exports_already_written_have() {
    assert_eq!(serde_json::to_string(&samples::spec()).unwrap(), WHOLE);
    assert_eq!(parse(WHOLE), Ok(samples::spec()));
}

#[test]
fn every_schedule_and_action_comes_back_as_it_was() {
    for schedule in ScheduleSpec::samples() {
        for action in ActionSpec::samples() {
            let spec = TaskSpec {
                schedule: schedule.clone(),
                action,
                ..TaskSpec::default()
            };
            let json = serde_json::to_string(&spec).unwrap();
            assert!(!json.contains('\n'), "{json}");
            assert_eq!(parse(&json), Ok(spec), "{json}");
        }
    }
}

#[test]
fn only_schedule_and_action_must_be_said() {
    let spec = parse(r#"{"schedule":{"kind":"manual"},"action":{"kind":"shell","line":"true"}}"#).unwrap();
    let action = ActionSpec::Shell {
        line: "true".to_owned(),
    };
    assert_eq!(
        spec,
        TaskSpec {
            action,
            enabled: true,
            ..TaskSpec::default()
        }
    );
    assert_refused(
        r#"{"action":{"kind":"shell","line":"true"}}"#,
        &["missing field `schedule`"],
    );
    assert_refused(r#"{"schedule":{"kind":"manual"}}"#, &["missing field `action`"]);
    assert_refused(
        r#"{"schedule":{"kind":"cron"},"action":{"kind":"shell","line":""}}"#,
        &["missing field `expr`"],
    );
}

#[test]
fn an_unknown_field_is_refused_at_every_level() {
    assert_refused(&WHOLE.replace("\"cwd\"", "\"dir\""), &["unknown field `dir`", "`cwd`"]);
    assert_refused(&WHOLE.replace("\"tz\"", "\"zone\""), &["unknown field `zone`", "`tz`"]);
    assert_refused(
        &WHOLE.replace("\"argv\":", "\"stdin\":\"\",\"argv\":"),
        &["unknown field `stdin`", "`argv`"],
    );
    assert_refused(
        &WHOLE.replace("{\"name\":\"LEVEL\"", "{\"x\":1,\"name\":\"LEVEL\""),
        &["unknown field `x`"],
    );
    assert_refused(
        r#"{"schedule":{"kind":"manual","expr":"@daily"},"action":{"kind":"shell","line":""}}"#,
        &["unknown field `expr`"],
    );
}

#[test]
fn an_unknown_kind_is_refused_with_those_that_exist() {
    assert_refused(
        &WHOLE.replace("\"cron\"", "\"solar\""),
        &["`solar`", "`manual`", "`cron`", "`every`", "`at`", "`in`"],
    );
    assert_refused(&WHOLE.replace("\"exec\"", "\"http\""), &["`http`", "`exec`", "`shell`"]);
}

#[test]
fn a_field_said_twice_is_refused() {
    assert_refused(
        &WHOLE.replace("\"cwd\"", "\"name\":\"b\",\"cwd\""),
        &["duplicate field `name`"],
    );
}
