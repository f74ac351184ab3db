//! The file that the state travels in: without a name, written once and sealed.
//!
//! The text's first line says which format it is; the rest are the entries of `core/ledger.rs`,
//! written and read by whatever they speak of. A format is read by the versions that know it and by
//! no other: what an unknown one means cannot be guessed.
//!
//! Invariant: a sealed state does not change any more, whoever has it open.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

/// The number of the format. To be raised with every change of the entries, of `core/snapshot.rs` and of
/// `run/upgrade.rs`.
pub(crate) const VERSION: u32 = 1;
const GREETING: &str = "oxicorn-state";
/// So much is read of a state at most.
pub(super) const MOST_BYTES: u64 = 16 * 1024 * 1024;

/// The entries in a file, which is close-on-exec and is read from its beginning.
pub(crate) fn sealed(version: u32, entries: &str) -> io::Result<OwnedFd> {
    let mut file = memory_file("oxicorn-state")?;
    file.write_all(format!("{GREETING} {version}\n{entries}").as_bytes())?;
    fcntl_add_seals(
        &file,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )?;
    file.rewind()?;
    Ok(file.into())
}

/// A file without a name, which is close-on-exec and can be sealed. Where the system wants to be told
/// that nothing in it is executed (`vm.memfd_noexec`), it is told; older ones do not know the word.
pub(super) fn memory_file(name: &str) -> rustix::io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let made = match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create(name, flags),
        settled => settled,
    };
    made.map(File::from)
}

/// The entries of a text of the known format.
pub(super) fn entries(text: &str) -> Result<&str, String> {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let Some((GREETING, version)) = first.split_once(' ') else {
        return Err("this is no state of an arbiter".to_owned());
    };
    if version != VERSION.to_string() {
        return Err(format!(
            "the state is of format {version}, and this version knows format {VERSION} only: stop \
             the server and start it again"
        ));
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_state_is_read_as_it_was_written_and_cannot_be_changed() {
        let mut file = File::from(sealed(VERSION, "target 3\n").unwrap());
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(entries(&text), Ok("target 3\n"));
        assert_eq!(
            file.write(b"x").unwrap_err().raw_os_error(),
            Some(libc::EPERM)
        );
    }

    #[test]
    fn another_format_is_refused_with_both_numbers() {
        let refusal = entries("oxicorn-state 99\nanything").unwrap_err();
        assert!(refusal.contains("format 99") && refusal.contains("format 1"));
        for text in ["", "oxicorn-state", "target 3\n"] {
            assert!(entries(text).is_err(), "{text:?}");
        }
    }
}
