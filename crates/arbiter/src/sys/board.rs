//! A worker's board in memory that the arbiter reads while the worker writes.
//!
//! A sealed memfd with one page. The arbiter makes it before the fork and maps it; the worker inherits the mapping. As it
//! has a descriptor it can also be handed on: through an `exec`, or over a socket. Not for what the numbers mean.
//!
//! Invariant: the page is mapped as long as a reference to it can exist, and its file can never shrink under it.

use std::io;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use oxicorn_board::Board;
use rustix::mm::munmap;

use super::shared;

/// The file's size in bytes: room for later layouts, and not more than the smallest page.
const LENGTH: usize = 4096;
const _: () = assert!(size_of::<Board>() <= LENGTH);

/// A board, and the descriptor by which other processes can have it too.
#[derive(Debug)]
pub struct SharedBoard {
    fd: OwnedFd,
    map: Map,
}

#[derive(Debug)]
struct Map(NonNull<Board>);

// SAFETY: the page is memory like any other, not bound to a thread, and a board is made of atomics.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl SharedBoard {
    /// A new board, with nothing on it. The descriptor is close-on-exec.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE` or `ENOMEM` when there is no room; `ENOSYS` or `EPERM` where the call is not allowed.
    pub fn new() -> io::Result<Self> {
        let board = Self::mapped(shared::sealed("oxicorn-board", LENGTH)?)?;
        // It also makes the kernel find the memory now, when an error can still be told.
        board.begin();
        Ok(board)
    }

    /// The board behind a descriptor that came from another process, or from before an `exec`.
    ///
    /// # Errors
    /// `InvalidData` if it is none, or of another version; as [`new`](Self::new).
    pub fn of(fd: OwnedFd) -> io::Result<Self> {
        let fits = shared::fits(&fd, LENGTH)?;
        let board = fits.then(|| Self::mapped(fd)).transpose()?;
        let board = board.filter(|board| board.is_known());
        board.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The board for the rest of the process' life. Its descriptor is closed.
    pub fn keep(self) -> &'static Board {
        let map = ManuallyDrop::new(self.map);
        // SAFETY: the page is mapped, and from now on nobody can unmap it.
        unsafe { map.0.as_ref() }
    }

    fn mapped(fd: OwnedFd) -> io::Result<Self> {
        let map = Map(shared::map(&fd, LENGTH)?);
        Ok(Self { fd, map })
    }
}

impl Deref for SharedBoard {
    type Target = Board;

    fn deref(&self) -> &Board {
        // SAFETY: the page is mapped as long as `self` lives, is aligned to more than a board needs and large enough for
        // one, every pattern of bits is a valid one, and everybody who shares it has only atomics to write with.
        unsafe { self.map.0.as_ref() }
    }
}

impl AsFd for SharedBoard {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: mapped with this length in `mapped`; references to it ended with `self`.
        let unmapped = unsafe { munmap(self.0.as_ptr().cast(), LENGTH) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Fork;
    use crate::sys::process::fork;
    use oxicorn_board::Count;
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
    use rustix::process::{Pid, WaitOptions, waitpid};

    #[test]
    fn what_a_forked_process_counts_is_seen_here_also_when_it_is_gone() {
        let board = SharedBoard::new().unwrap();
        match fork().unwrap() {
            Fork::Child => {
                board.add(Count::Requests, 42);
                // SAFETY: _exit takes a number and does not return.
                unsafe { libc::_exit(0) }
            }
            Fork::Parent(pid) => waitpid(Pid::from_raw(pid), WaitOptions::empty()).unwrap(),
        };
        assert_eq!(board.number(Count::Requests), 42);
    }

    #[test]
    fn a_board_is_found_again_by_its_descriptor() {
        let board = SharedBoard::new().unwrap();
        let again = SharedBoard::of(board.as_fd().try_clone_to_owned().unwrap()).unwrap();
        board.set(Count::Threads, 4);
        assert_eq!(again.number(Count::Threads), 4);
        let kept = again.keep();
        drop(board);
        assert_eq!(kept.number(Count::Threads), 4);
    }

    #[test]
    fn what_is_no_board_is_refused() {
        let (pipe, _) = rustix::pipe::pipe().unwrap();
        assert!(SharedBoard::of(pipe).is_err());
        let blank = memfd_create("blank", MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&blank, LENGTH as u64).unwrap();
        assert!(SharedBoard::of(blank.try_clone().unwrap()).is_err());
        fcntl_add_seals(&blank, SealFlags::SHRINK).unwrap();
        let error = SharedBoard::of(blank).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
