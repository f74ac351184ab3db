//! Where the control socket is, and making it there if that can be.
//!
//! Invariant: whatever is wrong with the place, the server starts.

use std::env;
use std::path::{Path, PathBuf};

use crate::core::Pid;
use crate::fatal::Fatal;
use crate::sockets::{Listener, SocketOptions, bind_path};
use crate::translate::TARGET;

/// What the operator asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ControlSocket {
    /// Where (`control_socket`, `control_socket_disable`).
    pub place: ControlPlace,
    /// The file's permission bits (`control_socket_mode`). With 0600 only the user that the server
    /// runs as, and root, are listened to; with a mode that lets others write, everybody whom it
    /// lets in.
    pub mode: u32,
}

/// Where a control socket is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ControlPlace {
    /// There is none.
    #[default]
    Nowhere,
    /// This path.
    Path(PathBuf),
    /// `$XDG_RUNTIME_DIR/oxicorn-PID.ctl` or `/run/oxicorn/oxicorn-PID.ctl`, whichever can be made.
    RuntimeDirectory,
}

const BACKLOG: i32 = 64;
const SYSTEM: &str = "/run/oxicorn";

/// The socket; where it cannot be, the log says so, as a warning if the path was asked for.
pub(super) fn bind(socket: &ControlSocket, pid: Pid) -> Option<Listener> {
    let options = SocketOptions {
        backlog: BACKLOG,
        umask: !socket.mode & 0o777,
        ..SocketOptions::default()
    };
    match &socket.place {
        ControlPlace::Nowhere => None,
        ControlPlace::Path(path) => made(bind_path(path, &options), log::Level::Warn),
        ControlPlace::RuntimeDirectory => candidates(pid)
            .iter()
            .find_map(|path| made(bind_path(path, &options), log::Level::Debug)),
    }
}

fn made(bound: Result<Listener, Fatal>, level: log::Level) -> Option<Listener> {
    match bound {
        Ok(listener) => {
            log::info!(target: TARGET, "Control socket listening at {}", listener.local);
            Some(listener)
        }
        Err(error) => {
            log::log!(target: TARGET, level, "There is no control socket: {error}");
            None
        }
    }
}

fn candidates(pid: Pid) -> Vec<PathBuf> {
    let name = format!("oxicorn-{pid}.ctl");
    let own = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let own = own.filter(|folder| folder.is_absolute());
    let folders = own.into_iter().chain([PathBuf::from(SYSTEM)]);
    let existing = folders.filter(|folder| Path::is_dir(folder));
    existing.map(|folder| folder.join(&name)).collect()
}
