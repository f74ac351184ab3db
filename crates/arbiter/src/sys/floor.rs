//! The workers' floor: memory that the arbiter maps before it forks anybody, so that every worker has it, whoever forks it.
//! By its descriptor the next version of the arbiter finds it again. Not for what is shown there.
//!
//! Invariant: a floor stays mapped for the rest of the process' life, and its file can never shrink under it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use oxicorn_board::Floor;

use super::shared;

/// The floor, and the descriptor by which another program can have it.
#[derive(Debug)]
pub struct SharedFloor {
    fd: OwnedFd,
    floor: &'static Floor,
}

impl SharedFloor {
    /// A new floor, with nobody on it. The descriptor is close-on-exec. To be made once: it is never unmapped.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE` or `ENOMEM` when there is no room; `ENOSYS` or `EPERM` where the call is not allowed.
    pub fn new() -> io::Result<Self> {
        let made = Self::mapped(shared::sealed("oxicorn-floor", size_of::<Floor>())?)?;
        made.floor.begin();
        Ok(made)
    }

    /// The floor behind a descriptor from before an `exec`.
    ///
    /// # Errors
    /// `InvalidData` if it is none, or of another version; as [`new`](Self::new).
    pub fn of(fd: OwnedFd) -> io::Result<Self> {
        let fits = shared::fits(&fd, size_of::<Floor>())?;
        let found = fits.then(|| Self::mapped(fd)).transpose()?;
        let found = found.filter(|found| found.floor.is_known());
        found.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// What is shown there, for the rest of the process' life.
    pub fn floor(&self) -> &'static Floor {
        self.floor
    }

    fn mapped(fd: OwnedFd) -> io::Result<Self> {
        let page = shared::map::<Floor>(&fd, size_of::<Floor>())?;
        // SAFETY: the memory is mapped and nobody unmaps it; it is a page's start, and so aligned to more than a floor needs,
        // and long enough for one; every pattern of bits is a valid one, and whoever shares it has only atomics to write with.
        let floor = unsafe { page.as_ref() };
        Ok(Self { fd, floor })
    }
}

impl AsFd for SharedFloor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Pid, WaitOptions, waitpid};

    use super::*;
    use crate::host::Fork;
    use crate::sys::process::fork;

    #[test]
    fn what_a_forked_process_shows_is_seen_here() {
        let shared = SharedFloor::new().unwrap();
        match fork().unwrap() {
            Fork::Child => {
                if let Some(place) = shared.floor().enter(7) {
                    place.show_waiting(3);
                }
                // SAFETY: _exit takes a number and does not return.
                unsafe { libc::_exit(0) }
            }
            Fork::Parent(pid) => waitpid(Pid::from_raw(pid), WaitOptions::empty()).unwrap(),
        };
        let seen: Vec<_> = shared.floor().look().collect();
        assert_eq!(
            seen.iter()
                .map(|s| (s.worker, s.waiting))
                .collect::<Vec<_>>(),
            [(7, 3)]
        );
        shared.floor().leave(7);
        assert_eq!(shared.floor().look().count(), 0);
    }

    #[test]
    fn a_floor_is_found_again_by_its_descriptor() {
        let shared = SharedFloor::new().unwrap();
        let again = SharedFloor::of(shared.as_fd().try_clone_to_owned().unwrap()).unwrap();
        shared.floor().enter(1);
        assert_eq!(again.floor().look().count(), 1);
    }

    #[test]
    fn what_is_no_floor_is_refused() {
        let (pipe, _) = rustix::pipe::pipe().unwrap();
        assert!(SharedFloor::of(pipe).is_err());
        let blank = shared::sealed("blank", size_of::<Floor>()).unwrap();
        let error = SharedFloor::of(blank).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let short = shared::sealed("short", 64).unwrap();
        let error = SharedFloor::of(short).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
