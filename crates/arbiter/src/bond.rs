//! Processes that end with their parent: those that run code which does not listen to anybody, such as
//! an import, and so would not hear that nobody waits for them any more.
//!
//! Not for one that can be told: that its channel has ended is enough, and lets it finish what it has.
//!
//! Invariant: whoever is bound when its parent is gone already learns of that at once. (The kernel
//! tells only of an end that is still to come, and forgets the bond when the process changes its user.)

use std::io;

use rustix::io::Errno;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::core::Pid;

/// From here on this process is killed when `parent` ends. To be called by the thread that also lets
/// it go.
///
/// # Errors
/// `EPIPE` if this is not, or not any more, the parent.
pub(crate) fn bind_to(parent: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if is_child_of(parent) {
        Ok(())
    } else {
        Err(Errno::PIPE.into())
    }
}

/// Ends the bond.
///
/// # Errors
/// What the system says.
pub(crate) fn let_go() -> io::Result<()> {
    Ok(set_parent_process_death_signal(None)?)
}

/// Whether it is this process' parent now.
pub(crate) fn is_child_of(parent: Pid) -> bool {
    getppid().map(|pid| pid.as_raw_nonzero().get()) == Some(parent)
}
