//! Taking over descriptors that this process inherited by number: `fd://N` and socket activation.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

/// The numbers handed out so far: a number is adopted at most once in the life of a process.
static ADOPTED: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// Takes ownership of the inherited descriptor `number`, and sets its close-on-exec flag.
///
/// Meant for numbers that the operator or the service manager named, before anything else was
/// opened.
///
/// # Errors
/// `EBADF` if it is not open, `EEXIST` if it was adopted before, `EINVAL` for the standard streams.
pub fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    if number <= libc::STDERR_FILENO {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: F_GETFD takes no pointer and changes nothing; a bad number gives EBADF.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    if !ADOPTED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(number)
    {
        return Err(io::Error::from_raw_os_error(libc::EEXIST));
    }
    // SAFETY: the descriptor is open, and `ADOPTED` shows that no other `OwnedFd` was made of it
    // here; that nothing else in the process owns it is what the operator stated by naming it.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd)
}

/// Another descriptor, of our own, for what is open under this number; close-on-exec.
///
/// # Errors
/// `EBADF` if it is not open, `EMFILE` when there is no number left.
pub fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: F_DUPFD_CLOEXEC takes a number; a bad one gives EBADF.
    let fd = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, libc::STDERR_FILENO + 1) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::IntoRawFd;

    fn spare_descriptor() -> RawFd {
        // A number where no other test opens files.
        let end = rustix::pipe::pipe().unwrap().0;
        rustix::io::fcntl_dupfd_cloexec(&end, 500)
            .unwrap()
            .into_raw_fd()
    }

    #[test]
    fn a_descriptor_is_adopted_only_once() {
        let number = spare_descriptor();
        let first = adopt(number).unwrap();
        assert_eq!(
            adopt(number).unwrap_err().raw_os_error(),
            Some(libc::EEXIST)
        );
        drop(first);
    }

    #[test]
    fn a_closed_descriptor_is_refused() {
        assert_eq!(
            adopt(900_000).unwrap_err().raw_os_error(),
            Some(libc::EBADF)
        );
    }

    #[test]
    fn the_standard_streams_are_refused() {
        assert_eq!(adopt(2).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
