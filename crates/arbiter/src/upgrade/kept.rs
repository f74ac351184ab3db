//! What is kept of the running program, so that it can be executed again when its files have been
//! replaced: open descriptors, which lead to a file also when it has no name any more.
//!
//! Not for the interpreter's own libraries: those on the disk are used. Invariant: what is kept is
//! what runs.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open, stat};

use super::predecessor::duplicate;
use super::state::memory_file;
use crate::core::ledger::{Damaged, Entries, Ledger, Word, Words};

/// A program that is run by an interpreter: `PROGRAM OPTIONS SCRIPT LIBRARY ARGUMENTS`, where script
/// and library are paths of descriptors.
#[derive(Debug)]
pub struct Kept {
    /// The interpreter's name, and its file.
    program: PathBuf,
    executable: OwnedFd,
    options: Vec<OsString>,
    script: OwnedFd,
    library: OwnedFd,
    arguments: Vec<OsString>,
}

impl Kept {
    /// Keeps the running interpreter, which was started as `program`, the file `library` and the
    /// text of `script`, for which a file without a name is made.
    ///
    /// # Errors
    /// When the files cannot be opened or made; a system without `/proc`, for one.
    pub fn new(
        program: PathBuf,
        options: Vec<OsString>,
        script: &[u8],
        library: &Path,
        arguments: Vec<OsString>,
    ) -> io::Result<Self> {
        let mut file = memory_file("oxicorn")?;
        file.write_all(script)?;
        let flags = OFlags::CLOEXEC | OFlags::PATH;
        Ok(Self {
            program,
            executable: open("/proc/self/exe", flags, Mode::empty())?,
            options,
            script: file.into(),
            library: open(library, OFlags::CLOEXEC | OFlags::RDONLY, Mode::empty())?,
            arguments,
        })
    }

    pub(crate) fn write(&self, ledger: &mut Ledger) {
        let descriptors = [&self.executable, &self.script, &self.library];
        let [executable, script, library] = descriptors.map(|fd| ledger.inherit(fd.as_raw_fd()));
        ledger.put("kept", [self.program.write(), executable, script, library]);
        for option in &self.options {
            ledger.put("kept-option", [option.write()]);
        }
        for argument in &self.arguments {
            ledger.put("kept-argument", [argument.write()]);
        }
    }

    /// The same in the program that came back.
    pub(super) fn read(entries: &Entries<'_>) -> Result<Self, String> {
        let way = Way::read(entries).map_err(|damaged| damaged.to_string())?;
        Ok(Self {
            program: way.program,
            executable: duplicate(way.executable)?,
            options: way.options,
            script: duplicate(way.script)?,
            library: duplicate(way.library)?,
            arguments: way.arguments,
        })
    }
}

/// The way back to what another program has kept.
#[derive(Debug)]
pub(super) struct Way {
    program: PathBuf,
    executable: RawFd,
    options: Vec<OsString>,
    script: RawFd,
    library: RawFd,
    arguments: Vec<OsString>,
}

impl Way {
    pub(super) fn read(entries: &Entries<'_>) -> Result<Self, Damaged> {
        let (program, executable, script, library) = entries.one("kept", |words| {
            Ok((words.take()?, words.take()?, words.take()?, words.take()?))
        })?;
        Ok(Self {
            program,
            executable,
            options: entries.all("kept-option", Words::take)?,
            script,
            library,
            arguments: entries.all("kept-argument", Words::take)?,
        })
    }

    /// The interpreter's name while it is that of the file, so that the process keeps its name.
    pub(super) fn executable(&self) -> OsString {
        let by_number = path_of(self.executable);
        let same = stat(&self.program).ok().zip(stat(&by_number).ok());
        if same.is_some_and(|(one, two)| (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino)) {
            return self.program.clone().into();
        }
        by_number
    }

    pub(super) fn arguments(&self) -> Vec<OsString> {
        let name: &OsStr = self.program.as_ref();
        let files = [path_of(self.script), path_of(self.library)];
        let before = std::iter::once(name.to_owned()).chain(self.options.iter().cloned());
        let after = files.into_iter().chain(self.arguments.iter().cloned());
        before.chain(after).collect()
    }
}

fn path_of(number: RawFd) -> OsString {
    format!("/proc/self/fd/{number}").into()
}
