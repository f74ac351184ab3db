//! The bell: ends the main thread's wait when the interpreter has noted a signal for a handler of the application. A signal
//! that comes just before the wait does not interrupt it, and its handler would run when something else happens, which on an
//! idle server is never. Invariant: an application that has such a descriptor of its own keeps it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use rustix::io::{Errno, read};
use rustix::pipe::{PipeFlags, pipe_with};

/// Readable when a signal was noted.
#[derive(Debug)]
pub(crate) struct Bell {
    rung: OwnedFd,
    /// The interpreter has its number.
    _rope: OwnedFd,
}

impl Bell {
    /// Asks the interpreter to ring (`signal.set_wakeup_fd`). For the main thread. `None` if it rings for somebody else.
    pub(crate) fn hung(py: Python<'_>) -> PyResult<Option<Self>> {
        let (rung, rope) =
            pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(std::io::Error::from)?;
        let set = py.import("signal")?.getattr("set_wakeup_fd")?;
        let quietly = PyDict::new(py);
        quietly.set_item("warn_on_full_buffer", false)?;
        let before: RawFd = set.call((rope.as_raw_fd(),), Some(&quietly))?.extract()?;
        if before >= 0 {
            set.call1((before,))?;
            return Ok(None);
        }
        Ok(Some(Self { rung, _rope: rope }))
    }

    /// Whoever was waiting is awake.
    pub(super) fn silence(&self) {
        let mut rings = [0; 64];
        while matches!(read(&self.rung, &mut rings), Ok(1..) | Err(Errno::INTR)) {}
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.rung.as_fd()
    }
}
