//! A directory for our eyes only, which is gone when we are done with it.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::rand::{GetRandomFlags, getrandom};

/// Names drawn before giving up: the second will do, unless someone is playing tricks.
const TRIES: usize = 16;

/// A temporary directory, removed when dropped.
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes one, with a name that begins so.
    pub fn new(prefix: &str) -> io::Result<Self> {
        let mut result = Err(io::ErrorKind::AlreadyExists.into());
        for _ in 0..TRIES {
            let mut drawn = [0u8; 6];
            getrandom(&mut drawn, GetRandomFlags::empty())?;
            let name: String = drawn.iter().map(|byte| format!("{byte:02x}")).collect();
            let path = std::env::temp_dir().join(format!("{prefix}-{name}"));
            result = DirBuilder::new().mode(0o700).create(&path).map(|()| Scratch { path });
            match &result {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                _ => break,
            }
        }
        result
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // OK because a directory that cannot be removed has been removed by another.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn it_is_private_and_goes_away() {
        let scratch = Scratch::new("taskctl-test").expect("there is room");
        let path = scratch.path().to_owned();
        assert_eq!(std::fs::metadata(&path).expect("it is there").mode() & 0o777, 0o700);
        std::fs::write(path.join("x"), "x").expect("there is room");
        drop(scratch);
        assert!(!path.exists());
    }
}
