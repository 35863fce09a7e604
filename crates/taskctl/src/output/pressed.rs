//! Output that the daemon has compressed, after its run was over.

use std::fs::File;
use std::io::{self, Seek as _};
use std::path::{Path, PathBuf};

use crate::scratch::Scratch;

/// What the names of such files end with, behind the name of what they hold.
const EXTENSION: &str = "zst";

/// Where a file was before it was compressed; itself, if it is not.
pub fn plain(path: PathBuf) -> PathBuf {
    if path.extension().is_some_and(|extension| extension == EXTENSION) {
        path.with_extension("")
    } else {
        path
    }
}

/// Opens what a file held that has been compressed, by where it was before: a file without a name, as large as that was.
pub fn open(path: &Path) -> io::Result<File> {
    let mut place = path.to_owned().into_os_string();
    place.push(".");
    place.push(EXTENSION);
    let compressed = File::open(PathBuf::from(place))?;
    // Its name goes with the directory, at the end of this.
    let scratch = Scratch::new("taskctl-output")?;
    let mut plain = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(scratch.path().join("plain"))?;
    zstd::stream::copy_decode(&compressed, &plain)?;
    plain.set_modified(compressed.metadata()?.modified()?)?;
    plain.rewind()?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compressed_is_read_as_it_was() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("1.1.jsonl");
        let missing = open(&path).expect_err("it is not there");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        let text = "line\n".repeat(100_000);
        let packed = zstd::encode_all(text.as_bytes(), 3).expect("room");
        std::fs::write(dir.path().join("1.1.jsonl.zst"), &packed).expect("room");
        let mut file = open(&path).expect("it is there");
        assert_eq!(io::read_to_string(&mut file).expect("text"), text);
        std::fs::write(dir.path().join("1.1.jsonl.zst"), &packed[..packed.len() / 2]).expect("room");
        assert!(open(&path).is_err(), "half of it is no output");
        assert_eq!(plain(dir.path().join("1.1.jsonl.zst")), path);
        assert_eq!(plain(path.clone()), path);
    }
}
