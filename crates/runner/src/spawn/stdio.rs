//! What a child reads from and writes to.

use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, OFlags};
use rustix::pipe::PipeFlags;
use rustix::process::{Gid, Uid};

use super::{SpawnError, failed};
use crate::sys::{Identity, Step};

/// A text to read. Nobody has to write it meanwhile: it is whole in memory of its own.
pub(super) fn in_memory(bytes: &[u8]) -> Result<OwnedFd, SpawnError> {
    written(bytes).map_err(|errno| failed(errno, Step::Stdin))
}

fn written(mut bytes: &[u8]) -> rustix::io::Result<OwnedFd> {
    let memory = rustix::fs::memfd_create("taskd-stdin", MemfdFlags::CLOEXEC)?;
    let mut at = 0;
    // Not by its position, which is where the child begins to read.
    while !bytes.is_empty() {
        let written = rustix::io::pwrite(&memory, bytes, at)?;
        at += written as u64;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(memory)
}

/// A pipe: our end, which does not block, and the child's, which is of the user that it becomes: what is open there has names
/// in `/dev` too.
pub(super) fn pipe(identity: Option<&Identity>) -> Result<(File, OwnedFd), SpawnError> {
    let failed = |errno| failed(errno, Step::Pipe);
    let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
    rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK).map_err(failed)?;
    if let Some(Identity { uid, gid, .. }) = identity {
        let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
        rustix::fs::fchown(&theirs, Some(uid), Some(gid)).map_err(failed)?;
    }
    Ok((File::from(ours), theirs))
}
