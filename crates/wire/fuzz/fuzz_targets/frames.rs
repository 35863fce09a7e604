//! A connection's bytes, from the hello on: in one piece and in many, they must give the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use taskd_wire::frame::{FrameReader, Payload, put_basic, read_payload};
use taskd_wire::hello::{Hello, HelloReader, agree};

/// The hello and the payloads, as far as they are right.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Option<Hello>, Vec<Vec<u8>>, bool) {
    let mut hellos = Some(HelloReader::new());
    let mut frames = FrameReader::new();
    let (mut hello, mut payloads) = (None, Vec::new());
    for piece in pieces {
        match hellos.take() {
            Some(mut reader) => {
                reader.push(piece);
                match reader.next() {
                    Ok(None) => hellos = Some(reader),
                    Ok(got) => {
                        hello = got;
                        frames.push(&reader.into_rest());
                    }
                    Err(_) => return (hello, payloads, false),
                }
            }
            None => frames.push(piece),
        }
        loop {
            match frames.next() {
                Ok(Some(payload)) => payloads.push(payload),
                Ok(None) => break,
                Err(_) => return (hello, payloads, false),
            }
        }
    }
    (hello, payloads, true)
}

fuzz_target!(|input: &[u8]| {
    // The first byte is how large the pieces are, less one.
    let Some((&size, bytes)) = input.split_first() else {
        return;
    };
    let whole = read(std::iter::once(bytes));
    assert_eq!(whole, read(bytes.chunks(usize::from(size) + 1)));
    let (hello, payloads, _) = whole;
    if let Some(hello) = hello {
        let _ = agree(&Hello::ours(), &hello);
        let mut reader = HelloReader::new();
        reader.push(&hello.encode());
        assert_eq!(reader.next(), Ok(Some(hello)));
    }
    for payload in payloads {
        if let Ok(Payload::Basic(message)) = read_payload(&payload) {
            let mut out = Vec::new();
            put_basic(&mut out, &message);
            assert_eq!(read_payload(&out[4..]), Ok(Payload::Basic(message)));
        }
    }
});
