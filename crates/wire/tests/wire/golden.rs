//! The bytes of everything that is said, kept in `tests/golden.txt`. A line there is a promise to programs already
//! installed.

use std::collections::BTreeMap;

use taskd_wire::basic::{Answer, Ask, Basic};
use taskd_wire::frame::{Payload, read_payload};
use taskd_wire::hello::{Hello, HelloReader};

use crate::samples;

const GOLDEN: &str = include_str!("../golden.txt");

fn golden() -> BTreeMap<&'static str, Vec<u8>> {
    let mut lines = BTreeMap::new();
    for line in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
        let (name, hex) = line.split_once(' ').unwrap();
        assert!(
            lines.insert(name, unhex(hex)).is_none(),
            "{name} stands twice in golden.txt"
        );
    }
    lines
}

fn unhex(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "odd number of digits in {hex}");
    (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn basics() -> Vec<(&'static str, Basic)> {
    vec![
        ("Basic::Ask::Ping", Basic::Ask(Ask::Ping)),
        ("Basic::Ask::Version", Basic::Ask(Ask::Version)),
        ("Basic::Ask::StatusBrief", Basic::Ask(Ask::StatusBrief)),
        ("Basic::Ask::Stop", Basic::Ask(Ask::Stop)),
        ("Basic::Ask::Unknown", Basic::Ask(Ask::Unknown(100))),
        ("Basic::Answer::Pong", Basic::Answer(Answer::Pong)),
        (
            "Basic::Answer::Version",
            Basic::Answer(Answer::Version {
                text: "1.2.3".to_owned(),
            }),
        ),
        (
            "Basic::Answer::StatusBrief",
            Basic::Answer(Answer::StatusBrief {
                pid: 300,
                started_ms: -2,
                tasks: 1_000_000,
                running: 12,
            }),
        ),
        ("Basic::Answer::Stopping", Basic::Answer(Answer::Stopping)),
        ("Basic::Answer::Unsupported", Basic::Answer(Answer::Unsupported)),
    ]
}

fn hello() -> Hello {
    Hello {
        min: 1,
        max: 0x0203,
        caps: 0x0102_0304_0506_0708,
        version: "1.2.3-rc.1".to_owned(),
    }
}

/// Every name with the bytes that this version makes.
fn present() -> Vec<(String, Vec<u8>)> {
    let mut all = vec![("Hello".to_owned(), hello().encode())];
    all.extend(
        basics()
            .into_iter()
            .map(|(name, message)| (name.to_owned(), message.encode())),
    );
    all.extend(samples::all().into_iter().map(|sample| (sample.name, sample.bytes)));
    all
}

#[test]
fn every_message_encodes_to_its_golden_bytes() {
    let mut golden = golden();
    let mut wrong = Vec::new();
    for (name, bytes) in present() {
        if golden.remove(name.as_str()).as_ref() != Some(&bytes) {
            wrong.push(format!("{name} {}", hex(&bytes)));
        }
    }
    assert!(
        wrong.is_empty(),
        "golden.txt has not these bytes for these names:\n{}",
        wrong.join("\n")
    );
    golden.retain(|name, _| !name.contains('~'));
    assert!(
        golden.is_empty(),
        "golden.txt has lines without a sample: {:?}",
        golden.keys()
    );
}

#[test]
fn golden_bytes_decode_to_what_encodes_to_them() {
    let golden = golden();
    for sample in samples::all() {
        let bytes = &golden[sample.name.as_str()];
        assert_eq!((sample.again)(bytes).as_ref(), Ok(bytes), "{}", sample.name);
    }
    for (name, message) in basics() {
        assert_eq!(read_payload(&golden[name]), Ok(Payload::Basic(message)), "{name}");
    }
    let mut reader = HelloReader::new();
    reader.push(&golden["Hello"]);
    assert_eq!(reader.next(), Ok(Some(hello())));
    assert!(reader.into_rest().is_empty());
}

#[test]
fn bytes_of_earlier_versions_decode() {
    let samples = samples::all();
    for (name, bytes) in golden() {
        let Some((name, version)) = name.split_once('~') else {
            continue;
        };
        let sample = samples.iter().find(|sample| sample.name == name).unwrap();
        (sample.again)(&bytes).unwrap_or_else(|error| panic!("{name} of version {version}: {error}"));
    }
}

#[test]
fn every_variant_has_a_golden_line() {
    let golden = golden();
    for (of, count) in samples::variants() {
        let prefix = format!("{of}::");
        let kept: Vec<u8> = golden
            .iter()
            .filter(|(name, _)| name.starts_with(&prefix))
            .map(|(_, bytes)| bytes[0])
            .collect();
        for variant in 0..count {
            assert!(
                kept.contains(&variant),
                "variant {variant} of {of} has no line in golden.txt"
            );
        }
    }
}

#[test]
fn the_fields_of_the_frozen_formats_are_where_they_were() {
    let bytes = hello().encode();
    assert_eq!(&bytes[..4], b"TSKD");
    assert_eq!(bytes[4..8], [1, 0, 3, 2]);
    assert_eq!(bytes[8..16], [8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(bytes[16], 10);
    assert_eq!(&bytes[17..], b"1.2.3-rc.1");
    for (name, message) in basics() {
        let code = match message {
            Basic::Ask(Ask::Ping) => 1,
            Basic::Ask(Ask::Version) => 2,
            Basic::Ask(Ask::StatusBrief) => 3,
            Basic::Ask(Ask::Stop) => 4,
            Basic::Ask(Ask::Unknown(code)) => code,
            Basic::Answer(Answer::Pong) => 129,
            Basic::Answer(Answer::Version { .. }) => 130,
            Basic::Answer(Answer::StatusBrief { .. }) => 131,
            Basic::Answer(Answer::Stopping) => 132,
            Basic::Answer(Answer::Unsupported) => 255,
        };
        assert_eq!(message.encode()[..2], [0, code], "{name}");
    }
}
