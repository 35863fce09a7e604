//! Any bytes as each message: refused, or what is read says itself again as it was understood.

#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use taskd_wire::client::{Request, Response};
use taskd_wire::codec::{CodecError, decode, encode, encoded_len};
use taskd_wire::runner::{FromRunner, ToRunner};

macro_rules! check {
    ($bytes:expr, $($message:ty),+) => {
        $(check_one::<$message>($bytes, decode, encode, encoded_len);)+
    };
}

fn check_one<T: Debug + PartialEq>(
    bytes: &[u8],
    decode: fn(&[u8]) -> Result<T, CodecError>,
    encode: fn(&T) -> Result<Vec<u8>, CodecError>,
    encoded_len: fn(&T) -> usize,
) {
    let Ok(message) = decode(bytes) else { return };
    let again =
        encode(&message).expect("what is understood of the bytes is no longer than they are");
    assert_eq!(again.len(), encoded_len(&message));
    assert_eq!(decode(&again), Ok(message));
}

fuzz_target!(|bytes: &[u8]| {
    check!(bytes, Request, Response, ToRunner, FromRunner);
});
