use super::*;

fn fault(text: &str) -> Fault {
    Config::parse(text).expect_err("the text is wrong")
}

#[test]
fn nothing_means_the_defaults() {
    assert_eq!(Config::parse("").unwrap(), Config::default());
    assert_eq!(Config::parse("[limits]\n[log]\n[runner]\n").unwrap(), Config::default());
    let limits = Limits::default();
    assert_eq!(Config::default().store_limits(), taskd_store::Limits::default());
    assert_eq!((limits.definition_bytes, limits.arguments_bytes), (65_536, 131_072));
    assert_eq!((limits.output_bytes, limits.output_total_bytes), (16 << 20, 2 << 30));
    assert_eq!((limits.running, limits.connections), (512, 64));
    assert_eq!(limits.tasks_per_owner(Owner(0)), 1_000_000);
    assert_eq!(limits.tasks_per_owner(Owner(1000)), 10_000);
}

#[test]
fn the_example_of_the_manual_is_the_default() {
    let source = include_str!("mod.rs");
    let example: String = source
        .lines()
        .skip_while(|line| *line != "//! ```toml")
        .skip(1)
        .take_while(|line| *line != "//! ```")
        .map(|line| {
            format!(
                "{}\n",
                line.strip_prefix("//!").expect("the example is in the module's head")
            )
        })
        .collect();
    assert!(example.contains("[runner]"), "{example}");
    assert_eq!(Config::parse(&example).unwrap(), Config::default());
}

#[test]
fn every_key_is_read() {
    let config = Config::parse(
        r#"
        [limits]
        definition_bytes = 2048
        arguments_bytes = "2 KiB"
        tasks_per_owner_root = 3
        tasks_per_owner = 4
        running = 5
        output_bytes = "6 MiB"
        output_total_bytes = "7GiB"
        output_compress_bytes = "13 KiB"
        history_runs = 8
        history_days = 9
        connections = 10
        [log]
        level = "debug"
        files = 11
        file_bytes = "12 kib"
        [runner]
        start = false
        grace = "1m 30s"
        cgroups = "off"
        socket = "/run/x.sock"
        "#,
    )
    .unwrap();
    let expected = Config {
        limits: Limits {
            definition_bytes: 2048,
            arguments_bytes: 2048,
            tasks_of_root: 3,
            tasks_of_others: 4,
            running: 5,
            output_bytes: 6 << 20,
            output_total_bytes: 7 << 30,
            output_compress_bytes: 13 << 10,
            history_runs: 8,
            history_days: 9,
            connections: 10,
        },
        log: LogConfig {
            level: LevelFilter::DEBUG,
            files: 11,
            file_bytes: 12 << 10,
        },
        runner: RunnerConfig {
            start: false,
            grace: Duration::from_secs(90),
            cgroups: Cgroups::Off,
            socket: Some("/run/x.sock".into()),
        },
    };
    assert_eq!(config, expected);
}

#[test]
fn a_misspelt_key_is_an_error_with_its_place_and_the_nearest_key() {
    assert_eq!(
        fault("[limits]\nruning = 4\n").to_string(),
        "2:1: there is no key `runing` here\n  |\n2 | runing = 4\n  | ^^^^^^\nhint: did you mean `running`?"
    );
    assert_eq!(
        fault("[limit]\n").hint.as_deref(),
        Some("did you mean `limits`?"),
        "sections too"
    );
    assert_eq!(
        fault("[log]\nfile-bytes = 1\n").hint.as_deref(),
        Some("did you mean `file_bytes`?")
    );
    assert_eq!(
        fault("[log]\nzebra = 1\n").hint.as_deref(),
        Some("the keys here are `level`, `files`, `file_bytes`")
    );
    assert_eq!(
        fault("zebra = 1\n").hint.as_deref(),
        Some("the keys here are `limits`, `log`, `runner`")
    );
}

#[test]
fn a_value_outside_its_range_names_its_key() {
    let cases = [
        (
            "[limits]\nrunning = 0\n",
            "`limits.running` must lie between 1 and 32768; 0 does not",
        ),
        (
            "[limits]\nconnections = -1\n",
            "`limits.connections` must lie between 1 and 4096; -1 does not",
        ),
        (
            "[limits]\ndefinition_bytes = 10\n",
            "`limits.definition_bytes` must lie between 1 KiB and 384 KiB; 10 B does not",
        ),
        (
            "[log]\nfile_bytes = \"5 GiB\"\n",
            "`log.file_bytes` must lie between 4 KiB and 4 GiB; 5 GiB does not",
        ),
        (
            "[runner]\ngrace = \"2h\"\n",
            "`runner.grace` must lie between 0s and 3600s; 7200s does not",
        ),
        (
            "[runner]\nsocket = \"x.sock\"\n",
            "`runner.socket` must be an absolute path",
        ),
    ];
    for (text, message) in cases {
        let fault = fault(text);
        assert_eq!((fault.message.as_str(), fault.line), (message, 2), "{text}");
    }
    assert_eq!(
        fault("[limits]\n  running =   0 # none\n").to_string(),
        "2:15: `limits.running` must lie between 1 and 32768; 0 does not\n  |\n2 |   running =   0 # none\n  |               ^"
    );
}

#[test]
fn ranges_include_their_ends() {
    for (text, good) in [
        ("running = 1", true),
        ("running = 32768", true),
        ("running = 32769", false),
        ("definition_bytes = 1024", true),
        ("definition_bytes = 1023", false),
        ("definition_bytes = \"384 KiB\"", true),
        ("definition_bytes = 393217", false),
    ] {
        assert_eq!(Config::parse(&format!("[limits]\n{text}\n")).is_ok(), good, "{text}");
    }
}

#[test]
fn a_value_of_the_wrong_kind_says_what_is_expected() {
    let cases = [
        ("[limits]\noutput_bytes = \"many\"\n", "a size such as 4096"),
        ("[limits]\noutput_bytes = \"16 MB\"\n", "a size such as 4096"),
        ("[limits]\noutput_bytes = \"99999999 TiB\"\n", "a size such as 4096"),
        ("[limits]\noutput_bytes = -4\n", "a size such as 4096"),
        ("[limits]\nrunning = \"4\"\n", "expected"),
        ("[log]\nlevel = \"loud\"\n", "one of \"error\""),
        ("[runner]\ngrace = 10\n", "a duration such as \"10s\""),
        ("[runner]\ngrace = \"-1s\"\n", "a duration such as \"10s\""),
        ("[runner]\nstart = 1\n", "boolean"),
        ("[runner]\ncgroups = \"on\"\n", "`auto` or `off`"),
    ];
    for (text, expected) in cases {
        let fault = fault(text);
        assert!(fault.message.contains(expected), "{text}: {fault}");
        assert_eq!(fault.line, 2, "{text}: {fault}");
    }
}

#[test]
fn what_is_no_toml_is_shown_where_it_ends_to_be() {
    let fault = fault("[log]\nlevel = \n");
    assert_eq!(fault.line, 2, "{fault}");
    assert!(fault.to_string().contains("2 | level = "), "{fault}");
    // Twice the same key, which a reader that merges would hide.
    assert!(Config::parse("[log]\nfiles = 1\nfiles = 2\n").is_err());
}

#[test]
fn a_fault_is_safe_to_print() {
    let fault = fault("[log]\nlevel = \"\u{9b}31m\" \u{1b}\n");
    assert!(
        fault.to_string().chars().all(|c| c == '\n' || !c.is_control()),
        "{:?}",
        fault.to_string()
    );
}

#[test]
fn an_absent_file_is_the_default_only_where_nobody_named_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("taskd.toml");
    assert_eq!(Config::load(&path, false).unwrap(), Config::default());
    assert!(matches!(
        Config::load(&path, true),
        Err(ConfigError::Unreadable { source, .. }) if source.kind() == ErrorKind::NotFound
    ));
    std::fs::write(&path, "[limits]\nrunning = 7\n").unwrap();
    assert_eq!(Config::load(&path, false).unwrap().limits.running, 7);
    std::fs::write(&path, "[limits]\nrunnin = 7\n").unwrap();
    let error = Config::load(&path, false).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("{}:2:1: there is no key", path.display())),
        "{error}"
    );
}

#[test]
fn a_file_that_is_no_configuration_is_not_taken_for_an_empty_one() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        Config::load(dir.path(), false),
        Err(ConfigError::Unreadable { .. })
    ));
    let path = dir.path().join("long");
    std::fs::write(&path, vec![b'#'; usize::try_from(FILE_MAX).unwrap() + 1]).unwrap();
    assert!(matches!(Config::load(&path, false), Err(ConfigError::TooLong { .. })));
    std::fs::write(&path, vec![b'#'; usize::try_from(FILE_MAX).unwrap()]).unwrap();
    assert!(Config::load(&path, false).is_ok());
    std::fs::write(&path, b"\xff\xfe").unwrap();
    assert!(matches!(
        Config::load(&path, false),
        Err(ConfigError::Unreadable { .. })
    ));
}
