//! Hello, frames and protocol 0, with bytes that come in pieces.

use taskd_wire::basic::{Answer, Ask, Basic, BasicError};
use taskd_wire::client::{Request, Response};
use taskd_wire::codec::{CodecError, FRAME_MAX, MESSAGE_MAX, decode, encode, encoded_len};
use taskd_wire::frame::{
    FrameError, FrameReader, KIND_MESSAGE, Payload, WireError, put_basic, put_frame, put_message, read_payload,
};
use taskd_wire::hello::{Hello, HelloError, HelloReader, Mismatch, PROTOCOL_MAX, Side, agree};

fn hello(min: u16, max: u16) -> Hello {
    Hello {
        min,
        max,
        caps: 5,
        version: format!("{max}.0.0"),
    }
}

#[test]
fn a_hello_may_come_split_at_each_byte() {
    let want = hello(1, 3);
    let mut bytes = want.encode();
    let len = bytes.len();
    bytes.extend_from_slice(b"rest");
    for split in 0..=bytes.len() {
        let mut reader = HelloReader::new();
        reader.push(&bytes[..split]);
        let early = reader.next().unwrap();
        assert_eq!(early.is_some(), split >= len, "split at {split}");
        reader.push(&bytes[split..]);
        let got = early.or_else(|| reader.next().unwrap());
        assert_eq!(got.as_ref(), Some(&want), "split at {split}");
        assert_eq!(reader.into_rest(), b"rest", "split at {split}");
    }
}

#[test]
fn a_stranger_is_refused_at_the_first_wrong_byte() {
    for wrong in 0..4 {
        let mut bytes = hello(1, 1).encode();
        bytes[wrong] ^= 0x20;
        let mut reader = HelloReader::new();
        reader.push(&bytes[..wrong]);
        assert_eq!(reader.next(), Ok(None));
        reader.push(&bytes[wrong..=wrong]);
        assert_eq!(reader.next(), Err(HelloError::Magic));
    }
    let mut reader = HelloReader::new();
    reader.push(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(reader.next(), Err(HelloError::Magic));
}

#[test]
fn a_hello_that_makes_no_sense_is_refused() {
    let read = |bytes: &[u8]| {
        let mut reader = HelloReader::new();
        reader.push(bytes);
        reader.next()
    };
    assert_eq!(read(&hello(3, 2).encode()), Err(HelloError::Range { min: 3, max: 2 }));
    let mut bytes = hello(1, 1).encode();
    *bytes.last_mut().unwrap() = 0x1b;
    assert_eq!(read(&bytes), Err(HelloError::Version));
    assert_eq!(read(&[b"TSKD".as_slice(), &[0xff; 13]].concat()), Ok(None));
}

#[test]
fn a_version_that_does_not_fit_is_cut_and_made_printable() {
    let version = "ü\n".to_owned() + &"x".repeat(300);
    let bytes = Hello {
        version,
        ..Hello::ours()
    }
    .encode();
    let mut reader = HelloReader::new();
    reader.push(&bytes);
    let got = reader.next().unwrap().unwrap();
    assert_eq!(got.version, "??".to_owned() + &"x".repeat(253));
    assert!(reader.into_rest().is_empty());
}

#[test]
fn both_sides_agree_on_the_highest_common_protocol() {
    for (a, b, want) in [
        (hello(1, 1), hello(1, 1), 1),
        (hello(1, 3), hello(2, 5), 3),
        (hello(1, 9), hello(4, 4), 4),
        (hello(0, u16::MAX), hello(7, 8), 8),
    ] {
        assert_eq!(agree(&a, &b), Ok(want));
        assert_eq!(agree(&b, &a), Ok(want));
    }
    assert_eq!(agree(&Hello::ours(), &Hello::ours()), Ok(PROTOCOL_MAX));
}

#[test]
fn without_a_common_protocol_both_sides_know_which_is_older() {
    let (old, new) = (hello(1, 2), hello(3, 4));
    let seen_by_old = agree(&old, &new).unwrap_err();
    let seen_by_new = agree(&new, &old).unwrap_err();
    assert_eq!(
        seen_by_old,
        Mismatch {
            older: Side::Ours,
            ours: old.clone(),
            theirs: new.clone()
        }
    );
    assert_eq!(
        seen_by_new,
        Mismatch {
            older: Side::Theirs,
            ours: new,
            theirs: old
        }
    );
    assert_eq!(
        seen_by_new.to_string(),
        "version 4.0.0 speaks protocols 3 to 4, the other side has version 2.0.0 and speaks 1 to 2; \
         the other side is older"
    );
}

#[test]
fn frames_come_out_as_they_went_in_whatever_the_pieces() {
    let payloads: Vec<Vec<u8>> = vec![vec![1], vec![2; 300], vec![3; 5], vec![4; 70_000], vec![5]];
    let mut bytes = Vec::new();
    for payload in &payloads {
        put_frame(&mut bytes, payload).unwrap();
    }
    for size in [1, 2, 3, 4, 5, 7, 64, 4096, bytes.len()] {
        let mut reader = FrameReader::new();
        let mut got = Vec::new();
        for piece in bytes.chunks(size) {
            reader.push(piece);
            while let Some(payload) = reader.next().unwrap() {
                got.push(payload);
            }
        }
        assert!(got == payloads, "pieces of {size}");
        assert!(!reader.is_partial());
    }
}

#[test]
fn a_reader_knows_that_it_was_cut_off() {
    let mut bytes = Vec::new();
    put_frame(&mut bytes, b"abc").unwrap();
    for len in 0..bytes.len() {
        let mut reader = FrameReader::new();
        reader.push(&bytes);
        assert!(reader.next().unwrap().is_some());
        reader.push(&bytes[..len]);
        assert_eq!(reader.next(), Ok(None));
        assert_eq!(reader.is_partial(), len > 0);
    }
}

#[test]
fn a_frame_over_the_limit_is_refused_by_its_header_alone() {
    let mut reader = FrameReader::new();
    reader.push(&u32::MAX.to_le_bytes());
    let error = FrameError::TooLong {
        len: u32::MAX as usize,
        limit: FRAME_MAX,
    };
    assert_eq!(reader.next(), Err(error));
    reader.push(&[0; 100]);
    assert_eq!(reader.next(), Err(error), "an error is final");

    let header = |len: usize| u32::try_from(len).unwrap().to_le_bytes();
    let mut reader = FrameReader::new();
    reader.push(&header(FRAME_MAX));
    assert_eq!(reader.next(), Ok(None));
    let mut reader = FrameReader::new();
    reader.push(&header(FRAME_MAX + 1));
    assert_eq!(
        reader.next(),
        Err(FrameError::TooLong {
            len: FRAME_MAX + 1,
            limit: FRAME_MAX
        })
    );
}

#[test]
fn an_empty_frame_is_refused_both_ways() {
    let mut reader = FrameReader::new();
    reader.push(&[0; 4]);
    assert_eq!(reader.next(), Err(FrameError::Empty));
    assert_eq!(put_frame(&mut Vec::new(), &[]), Err(FrameError::Empty));
    assert_eq!(read_payload(&[]), Err(WireError::Frame(FrameError::Empty)));
}

#[test]
fn what_does_not_fit_a_frame_is_not_sent_at_all() {
    let mut out = b"before".to_vec();
    let error = put_frame(&mut out, &vec![0; FRAME_MAX + 1]).unwrap_err();
    assert_eq!(
        error,
        FrameError::TooLong {
            len: FRAME_MAX + 1,
            limit: FRAME_MAX
        }
    );
    assert_eq!(out, b"before");
    put_frame(&mut out, &vec![0; FRAME_MAX]).unwrap();

    // Variant, length of the list, length of the text as 5 bytes.
    let fits = Response::Done(vec!["x".repeat(MESSAGE_MAX - 7)]);
    assert_eq!(encoded_len(&fits), MESSAGE_MAX);
    let mut out = b"before".to_vec();
    put_message(&mut out, &fits).unwrap();
    assert_eq!(out.len(), b"before".len() + 4 + FRAME_MAX);
    let mut reader = FrameReader::new();
    reader.push(&out[b"before".len()..]);
    let payload = reader.next().unwrap().unwrap();
    let Ok(Payload::Message(bytes)) = read_payload(&payload) else {
        panic!("not a message")
    };
    assert_eq!(decode(bytes), Ok(fits));

    let over = Response::Done(vec!["x".repeat(MESSAGE_MAX - 6)]);
    let error = CodecError::TooLong {
        len: MESSAGE_MAX + 1,
        limit: MESSAGE_MAX,
    };
    assert_eq!(encode(&over), Err(error.clone()));
    let mut out = b"before".to_vec();
    assert_eq!(put_message(&mut out, &over), Err(WireError::Codec(error)));
    assert_eq!(out, b"before");
    assert_eq!(encoded_len(&over), MESSAGE_MAX + 1);
}

#[test]
fn a_payload_says_what_it_is() {
    assert_eq!(read_payload(&[KIND_MESSAGE, 11]), Ok(Payload::Message(&[11])));
    assert_eq!(decode(&[11]), Ok(Request::Status));
    assert_eq!(read_payload(&[2, 11]), Err(WireError::UnknownKind(2)));
    let mut out = Vec::new();
    put_basic(&mut out, &Basic::Ask(Ask::Stop));
    assert_eq!(out, [2, 0, 0, 0, 0, 4]);
    assert_eq!(read_payload(&out[4..]), Ok(Payload::Basic(Basic::Ask(Ask::Stop))));
}

#[test]
fn an_ask_of_a_later_version_can_be_answered() {
    for code in [0, 5, 127] {
        let later = Ok(Payload::Basic(Basic::Ask(Ask::Unknown(code))));
        assert_eq!(read_payload(&[0, code]), later);
        assert_eq!(read_payload(&[0, code, 1, 2, 3]), later);
    }
}

#[test]
fn basic_messages_are_exact() {
    let refused = |payload: &[u8]| match read_payload(payload) {
        Err(WireError::Basic(error)) => error,
        other => panic!("{payload:?}: {other:?}"),
    };
    let whole = Basic::Answer(Answer::StatusBrief {
        pid: 1,
        started_ms: 2,
        tasks: 3,
        running: 4,
    })
    .encode();
    for len in 1..whole.len() {
        assert_eq!(refused(&whole[..len]), BasicError::Truncated);
    }
    assert_eq!(refused(&[whole, vec![0]].concat()), BasicError::Trailing(1));
    assert_eq!(refused(&[0, 1, 9, 9]), BasicError::Trailing(2));
    assert_eq!(refused(&[0, 130, 2, b'1']), BasicError::Truncated);
    assert_eq!(refused(&[0, 130, 1, 0x1b]), BasicError::Text);
    for code in [128, 133, 254] {
        assert_eq!(refused(&[0, code]), BasicError::UnknownAnswer(code));
    }
}
