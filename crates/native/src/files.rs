//! The files that `--reload` follows, for Python, which looks whether they have changed. Invariant: what is followed from now
//! on is looked at once more, since it may have changed before.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use oxicorn_watch::{Watch, tells_everything};
use pyo3::prelude::*;

/// How long nothing may happen: an editor saves in several steps.
const CALM: Duration = Duration::from_millis(50);

/// One descriptor that is readable when files may have changed: ask `is_due` then.
#[pyclass(frozen, module = "oxicorn._native")]
#[derive(Debug)]
pub(crate) struct FileWatch(Mutex<Watch>);

impl FileWatch {
    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl FileWatch {
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Self(Mutex::new(Watch::new(CALM)?)))
    }

    fn fileno(&self) -> RawFd {
        self.watch().as_fd().as_raw_fd()
    }

    /// Follows these files as well. Whether every change of them will be told.
    #[expect(clippy::needless_pass_by_value, reason = "made from Python's list")]
    fn follow(&self, files: Vec<PathBuf>) -> bool {
        let mut watch = self.watch();
        let mut all = true;
        for file in &files {
            let tells = file.parent().is_some_and(tells_everything_here);
            all &= watch.follow(file) && tells;
        }
        if !files.is_empty() {
            watch.arm();
        }
        all
    }

    /// Follows whatever is in these directories, or will be. Whether every change in them will be told.
    #[expect(clippy::needless_pass_by_value, reason = "made from Python's list")]
    fn follow_all_in(&self, directories: Vec<PathBuf>) -> bool {
        let mut watch = self.watch();
        let mut all = true;
        for directory in &directories {
            all &= watch.follow_all_in(directory) && tells_everything_here(directory);
        }
        if !directories.is_empty() {
            watch.arm();
        }
        all
    }

    /// Whether something is not followed because there are no more watches for this user.
    fn is_full(&self) -> bool {
        self.watch().is_full()
    }

    /// Takes notice of what has happened. Whether the files are to be looked at now.
    fn is_due(&self) -> bool {
        self.watch().is_due()
    }
}

fn tells_everything_here(directory: &Path) -> bool {
    if directory.as_os_str().is_empty() {
        return tells_everything(Path::new("."));
    }
    tells_everything(directory)
}
