//! Binding Unix sockets: what to do with a path that exists, and whose path it is to remove.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Gid, Mode, Uid};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind as bind_socket, connect, listen,
    socket_with,
};
use rustix::process::umask;

use super::address::readable;
use super::{Listener, SocketOptions};
use crate::core::ledger::{Damaged, Word, Words};
use crate::fatal::Fatal;

/// The file that our bind made, by its identity.
#[derive(Debug)]
pub(super) struct Claim {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Claim {
    pub(super) fn on(path: &Path) -> io::Result<Self> {
        let file = fs::symlink_metadata(path)?;
        // The path is removed at the end, when the working directory may be another one.
        let path = std::path::absolute(path)?;
        Ok(Self {
            path,
            device: file.dev(),
            inode: file.ino(),
        })
    }

    pub(super) fn words(&self) -> [String; 3] {
        [self.path.write(), self.device.write(), self.inode.write()]
    }

    pub(super) fn read(words: &mut Words<'_>) -> Result<Option<Self>, Damaged> {
        let path: Option<PathBuf> = words.take()?;
        let (device, inode) = (words.take::<Option<_>>()?, words.take::<Option<_>>()?);
        let claim = path.zip(device).zip(inode);
        Ok(claim.map(|((path, device), inode)| Self {
            path,
            device,
            inode,
        }))
    }

    /// Gives the file another name; what had it is replaced.
    pub(super) fn rename(&mut self, path: &Path) -> io::Result<()> {
        let path = std::path::absolute(path)?;
        fs::rename(&self.path, &path)?;
        self.path = path;
        Ok(())
    }

    /// Removes the file unless another one has its name by now.
    pub(super) fn release(self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|file| file.dev() == self.device && file.ino() == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            log::warn!(target: "oxicorn", "Can't remove socket {}: {error}", self.path.display());
        }
    }
}

/// Listens on `path`. A socket file that nobody listens on any more is removed first.
pub(crate) fn bind(path: &Path, options: &SocketOptions) -> Result<Listener, Fatal> {
    if is_abstract(path) {
        return bind_free(path, options).map_err(|source| failed(path, source));
    }
    match fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => {
            return Err(Fatal::NotASocket {
                path: path.to_owned(),
            });
        }
        Ok(_) => remove_stale(path).map_err(|source| failed(path, source))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(failed(path, source)),
    }
    bind_free(path, options).map_err(|source| failed(path, source))
}

fn failed(path: &Path, source: io::Error) -> Fatal {
    Fatal::Bind {
        address: format!("unix:{}", readable(path.as_os_str())),
        source,
    }
}

/// Whether the name of a listening socket still leads to a socket.
pub(super) fn reach(path: &Path) -> io::Result<()> {
    if is_abstract(path) || fs::symlink_metadata(path)?.file_type().is_socket() {
        return Ok(());
    }
    Err(io::ErrorKind::NotFound.into())
}

fn is_abstract(path: &Path) -> bool {
    path.as_os_str().as_bytes().first() == Some(&0)
}

/// Only a refused connection proves that nobody listens; a full queue, for one, proves the
/// contrary.
fn remove_stale(path: &Path) -> io::Result<()> {
    match connect(stream_socket()?, &address(path)?) {
        Err(Errno::CONNREFUSED) => fs::remove_file(path),
        Err(Errno::NOENT) => Ok(()),
        Err(Errno::ACCESS | Errno::PERM) => Err(Errno::ACCESS.into()),
        Ok(()) | Err(_) => Err(Errno::ADDRINUSE.into()),
    }
}

fn bind_free(path: &Path, options: &SocketOptions) -> io::Result<Listener> {
    let socket = stream_socket()?;
    let address = address(path)?;
    bind_masked(&socket, &address, options.umask)?;
    if is_abstract(path) {
        listen(&socket, options.backlog)?;
        return Listener::new(socket, None);
    }
    let claim = Claim::on(path)?;
    match give_away(path, options).and_then(|()| Ok(listen(&socket, options.backlog)?)) {
        Ok(()) => Listener::new(socket, Some(claim)),
        Err(error) => {
            claim.release();
            Err(error)
        }
    }
}

/// The mask is the whole process': one thread at a time changes it and puts it back.
fn bind_masked(socket: &OwnedFd, address: &SocketAddrUnix, mask: u32) -> rustix::io::Result<()> {
    static MASK: Mutex<()> = Mutex::new(());
    let _alone = MASK.lock().unwrap_or_else(PoisonError::into_inner);
    let before = umask(Mode::from_raw_mode(mask));
    let bound = bind_socket(socket, address);
    umask(before);
    bound
}

fn give_away(path: &Path, options: &SocketOptions) -> io::Result<()> {
    if let Some((user, group)) = options.owner {
        rustix::fs::chown(path, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
    }
    Ok(())
}

fn stream_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        flags,
        None,
    )?)
}

fn address(path: &Path) -> io::Result<SocketAddrUnix> {
    let bytes = path.as_os_str().as_bytes();
    let address = match bytes.split_first() {
        Some((0, name)) => SocketAddrUnix::new_abstract_name(name)?,
        _ => SocketAddrUnix::new(bytes)?,
    };
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{UnixListener, UnixStream};

    fn socket(scratch: &Scratch) -> PathBuf {
        scratch.folder().join("web.sock")
    }

    #[test]
    fn a_stale_socket_is_replaced() {
        let scratch = Scratch::new("stale");
        drop(UnixListener::bind(socket(&scratch)).unwrap());
        let _listener = bind(&socket(&scratch), &SocketOptions::default()).unwrap();
        UnixStream::connect(socket(&scratch)).unwrap();
    }

    #[test]
    fn a_socket_that_answers_is_left_alone() {
        let scratch = Scratch::new("live");
        let _other = UnixListener::bind(socket(&scratch)).unwrap();
        let refusal = bind(&socket(&scratch), &SocketOptions::default()).unwrap_err();
        let Fatal::Bind { source, .. } = refusal else {
            panic!("{refusal:?}")
        };
        assert_eq!(source.raw_os_error(), Some(libc::EADDRINUSE));
        UnixStream::connect(socket(&scratch)).unwrap();
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let scratch = Scratch::new("file");
        fs::write(socket(&scratch), "precious").unwrap();
        let refusal = bind(&socket(&scratch), &SocketOptions::default()).unwrap_err();
        assert!(matches!(refusal, Fatal::NotASocket { .. }), "{refusal:?}");
        assert_eq!(fs::read_to_string(socket(&scratch)).unwrap(), "precious");
    }

    #[test]
    fn the_umask_shapes_its_mode() {
        let scratch = Scratch::new("mode");
        let options = SocketOptions {
            umask: 0o117,
            ..SocketOptions::default()
        };
        let _listener = bind(&socket(&scratch), &options).unwrap();
        let mode = fs::metadata(socket(&scratch)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
    }

    #[test]
    fn its_path_goes_with_it_but_not_the_one_of_a_follower() {
        let scratch = Scratch::new("path");
        let listener = bind(&socket(&scratch), &SocketOptions::default()).unwrap();
        listener.try_clone().unwrap().retire();
        assert!(socket(&scratch).exists(), "a clone does not own the path");
        listener.retire();
        assert!(!socket(&scratch).exists());

        let listener = bind(&socket(&scratch), &SocketOptions::default()).unwrap();
        // A follower makes its socket beside ours, which exists, and so has another inode.
        let beside = scratch.folder().join("next.sock");
        let _follower = UnixListener::bind(&beside).unwrap();
        fs::rename(&beside, socket(&scratch)).unwrap();
        listener.retire();
        assert!(socket(&scratch).exists());
    }

    #[test]
    fn a_path_that_is_too_long_is_an_error_not_a_cut() {
        let path = PathBuf::from(format!("/tmp/{}", "x".repeat(120)));
        let text = bind(&path, &SocketOptions::default())
            .unwrap_err()
            .to_string();
        assert!(text.contains("107 bytes"), "{text}");
    }

    #[test]
    fn an_abstract_name_leaves_no_file() {
        let name = PathBuf::from(format!("\0oxicorn-test-{}", std::process::id()));
        let listener = bind(&name, &SocketOptions::default()).unwrap();
        assert_eq!(
            listener.local.to_string(),
            format!("unix:@oxicorn-test-{}", std::process::id())
        );
        listener.retire();
    }
}
