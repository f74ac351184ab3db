//! Becoming another program in the same process (`execve(2)`), prepared so that it can be done from
//! a signal handler.
//!
//! Invariant: [`Image::enter`] allocates nothing and only makes async-signal-safe calls.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use libc::c_char;

/// A program with its arguments and environment, and the descriptors that it is to inherit.
#[derive(Debug)]
pub struct Image {
    program: CString,
    /// Ends in a null pointer, as do those of the environment; the strings are in `owned`.
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
    directory: CString,
    inherited: Vec<RawFd>,
    /// What the pointers point to, which never moves: a string's bytes are on the heap.
    _owned: Vec<CString>,
}

impl Image {
    /// Prepares everything. `arguments` includes the program's own name; a variable is `NAME=VALUE`.
    ///
    /// # Errors
    /// If a text contains a NUL byte.
    pub fn new(
        program: &OsStr,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        environment: impl IntoIterator<Item = impl AsRef<OsStr>>,
        directory: &Path,
        inherited: Vec<RawFd>,
    ) -> io::Result<Self> {
        let mut owned = Vec::new();
        let arguments = pointers(arguments, &mut owned)?;
        let environment = pointers(environment, &mut owned)?;
        Ok(Self {
            program: CString::new(program.as_bytes())?,
            arguments,
            environment,
            directory: CString::new(directory.as_os_str().as_bytes())?,
            inherited,
            _owned: owned,
        })
    }

    /// Becomes the program, in its directory, or in the present one if that is gone. Comes back only
    /// if that cannot be, with the reason; then nothing has changed.
    pub fn enter(&self) -> io::Error {
        set_inherited(&self.inherited, true);
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
        // SAFETY: open is async-signal-safe, and the path ends in NUL.
        let here = unsafe { libc::open(c".".as_ptr(), flags) };
        // SAFETY: chdir is async-signal-safe, and the path ends in NUL.
        unsafe { libc::chdir(self.directory.as_ptr()) };
        // SAFETY: execve is async-signal-safe; program, arguments and environment are texts that end
        // in NUL, and both lists end in a null pointer.
        unsafe {
            libc::execve(
                self.program.as_ptr(),
                self.arguments.as_ptr(),
                self.environment.as_ptr(),
            )
        };
        let error = io::Error::last_os_error();
        // SAFETY: fchdir and close are async-signal-safe; `here` is ours, and a bad one gives EBADF.
        unsafe {
            libc::fchdir(here);
            libc::close(here);
        }
        set_inherited(&self.inherited, false);
        error
    }
}

/// Whether the descriptors with these numbers survive `execve`. One that is closed stays so.
pub fn set_inherited(numbers: &[RawFd], inherited: bool) {
    let flags = if inherited { 0 } else { libc::FD_CLOEXEC };
    for number in numbers {
        // SAFETY: F_SETFD takes no pointer and is async-signal-safe; a bad number gives EBADF.
        unsafe { libc::fcntl(*number, libc::F_SETFD, flags) };
    }
}

fn pointers(
    texts: impl IntoIterator<Item = impl AsRef<OsStr>>,
    owned: &mut Vec<CString>,
) -> io::Result<Vec<*const c_char>> {
    let mut pointers = Vec::new();
    for text in texts {
        let text = CString::new(text.as_ref().as_bytes())?;
        pointers.push(text.as_ptr());
        owned.push(text);
    }
    pointers.push(std::ptr::null());
    Ok(pointers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Fork;
    use crate::sys::process::fork;
    use rustix::process::{Pid, WaitOptions, waitpid};
    use std::io::Read;
    use std::os::fd::AsRawFd;

    #[test]
    fn another_program_inherits_what_it_is_meant_to_and_nothing_else() {
        let (reader, writer) = io::pipe().unwrap();
        let (_, other) = io::pipe().unwrap();
        let script = format!(
            "exec >&{}; echo $0 $COLOUR $(pwd); test -e /proc/$$/fd/{} || echo closed",
            writer.as_raw_fd(),
            other.as_raw_fd()
        );
        let image = Image::new(
            OsStr::new("/bin/sh"),
            ["name", "-c", script.as_str(), "zero"],
            ["COLOUR=green"],
            Path::new("/"),
            vec![writer.as_raw_fd()],
        )
        .unwrap();
        let child = fork().unwrap();
        if matches!(child, Fork::Child) {
            let _ = image.enter();
            // SAFETY: _exit takes a number and does not return.
            unsafe { libc::_exit(1) }
        }
        drop(writer);
        let mut said = String::new();
        let mut reader = reader;
        reader.read_to_string(&mut said).unwrap();
        assert_eq!(said, "zero green /\nclosed\n");
        if let Fork::Parent(pid) = child {
            waitpid(Pid::from_raw(pid), WaitOptions::empty()).unwrap();
        }
    }

    #[test]
    fn a_program_that_is_not_there_leaves_everything_as_it_was() {
        let (reader, _writer) = io::pipe().unwrap();
        let number = reader.as_raw_fd();
        let none = [""; 0];
        let (nowhere, root) = (OsStr::new("/nowhere/at/all"), Path::new("/"));
        let image = Image::new(nowhere, none, none, root, vec![number]).unwrap();
        let here = std::env::current_dir().unwrap();
        assert_eq!(image.enter().raw_os_error(), Some(libc::ENOENT));
        assert_eq!(std::env::current_dir().unwrap(), here);
        let flags = rustix::io::fcntl_getfd(&reader).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }

    #[test]
    fn a_text_that_no_program_can_be_given_is_refused() {
        let none = [""; 0];
        assert!(
            Image::new(
                OsStr::new("/bin/sh"),
                ["a\0b"],
                none,
                Path::new("/"),
                Vec::new()
            )
            .is_err()
        );
    }
}
