//! The file that holds the arbiter's process id, as gunicorn writes it: mode 0644, the number and a
//! line end.
//!
//! Invariant: the file is written completely or not at all (a new file is renamed into place), and
//! only removed while it still holds our own number.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid as SystemPid, test_kill_process};

use crate::core::Pid;
use crate::core::ledger::{Damaged, Entries, Ledger, Word};
use crate::fatal::Fatal;

/// Bytes that are read of a file: a number and what may stand around it.
const LONGEST: u64 = 64;

/// A pidfile that this process wrote.
#[derive(Debug)]
pub struct Pidfile {
    path: PathBuf,
    pid: Pid,
}

impl Pidfile {
    /// Writes `pid` to `path`.
    ///
    /// # Errors
    /// [`Fatal::AlreadyRunning`] if the file names another living process, [`Fatal::Pidfile`] if it
    /// cannot be written.
    pub fn create(path: &Path, pid: Pid) -> Result<Self, Fatal> {
        let failed = |source| Fatal::Pidfile {
            path: path.to_owned(),
            source,
        };
        match living_owner(path).map_err(failed)? {
            Some(owner) if owner != pid => {
                return Err(Fatal::AlreadyRunning {
                    pid: owner,
                    path: path.to_owned(),
                });
            }
            _ => write(path, pid).map_err(failed)?,
        }
        Ok(Self {
            path: path.to_owned(),
            pid,
        })
    }

    /// Writes it down for the next version of the arbiter, which has the same process id.
    pub(crate) fn write(&self, ledger: &mut Ledger) {
        ledger.put("pidfile", [self.path.write()]);
    }

    /// The pidfile that an earlier version wrote.
    pub(crate) fn read(entries: &Entries<'_>, pid: Pid) -> Result<Option<Self>, Damaged> {
        entries.maybe("pidfile", |words| {
            let path = words.take()?;
            Ok(Self { path, pid })
        })
    }

    /// Takes another name, which a process had that has ended.
    ///
    /// If a third process has it, or it cannot be taken, the file stays as it is, and the log says so.
    pub(crate) fn inherit(&mut self, path: PathBuf, elder: Pid) {
        let owner = living_owner(&path).map(|owner| owner.filter(|pid| *pid != elder));
        let taken = match owner {
            Ok(Some(pid)) => Err(io::Error::other(format!("process {pid} has it"))),
            // The same number: renamed in one step, the file is never missing.
            Ok(None) => fs::rename(&self.path, &path),
            Err(error) => Err(error),
        };
        match taken {
            Ok(()) => self.path = path,
            Err(error) => {
                let (new, old) = (path.display(), self.path.display());
                log::error!(target: "oxicorn", "Can't rename pidfile '{old}' to '{new}': {error}");
            }
        }
    }

    /// Removes the file, unless another process has written its own since.
    pub fn remove(&self) {
        if recorded_pid(&self.path).is_ok_and(|recorded| recorded == Some(self.pid))
            && let Err(error) = fs::remove_file(&self.path)
        {
            let path = self.path.display();
            log::warn!(target: "oxicorn", "Can't remove pidfile '{path}': {error}");
        }
    }
}

/// The process that the file names, if it is alive; also if it belongs to somebody else.
fn living_owner(path: &Path) -> io::Result<Option<Pid>> {
    let recorded = recorded_pid(path)?;
    Ok(recorded.filter(|pid| {
        let positive = Some(*pid).filter(|pid| *pid > 0);
        positive
            .and_then(SystemPid::from_raw)
            .is_some_and(|pid| matches!(test_kill_process(pid), Ok(()) | Err(Errno::PERM)))
    }))
}

/// `None` if there is no file or no number in it. What is there and is no regular file is an error: it may have no end,
/// and as `/dev/null` must never be renamed over.
fn recorded_pid(path: &Path) -> io::Result<Option<Pid>> {
    match fs::metadata(path) {
        Ok(found) if !found.is_file() => Err(io::Error::other("it is not a regular file")),
        Ok(_) => Ok(String::from_utf8_lossy(&beginning(path)?)
            .trim()
            .parse()
            .ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn beginning(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write(path: &Path, pid: Pid) -> io::Result<()> {
    let name = path
        .file_name()
        .ok_or(io::ErrorKind::InvalidInput)?
        .to_string_lossy();
    let draft = path.with_file_name(format!(".{name}.{pid}"));
    // One that a killed process of the same number left.
    let _ = fs::remove_file(&draft);
    let written = draft_file(&draft, pid).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

fn draft_file(draft: &Path, pid: Pid) -> io::Result<()> {
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(draft)?;
    file.write_all(format!("{pid}\n").as_bytes())?;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    fn file(scratch: &Scratch) -> PathBuf {
        scratch.folder().join("server.pid")
    }

    fn own_pid() -> Pid {
        rustix::process::getpid().as_raw_nonzero().get()
    }

    #[test]
    fn it_holds_the_number_and_a_line_end_and_is_readable_by_all() {
        let scratch = Scratch::new("content");
        Pidfile::create(&file(&scratch), own_pid()).unwrap();
        assert_eq!(
            fs::read_to_string(file(&scratch)).unwrap(),
            format!("{}\n", own_pid())
        );
        assert_eq!(
            fs::metadata(file(&scratch)).unwrap().permissions().mode() & 0o777,
            0o644
        );
        assert_eq!(
            fs::read_dir(scratch.folder()).unwrap().count(),
            1,
            "the draft is gone"
        );
    }

    #[test]
    fn a_living_process_in_it_refuses_the_start() {
        let scratch = Scratch::new("living");
        fs::write(file(&scratch), "1\n").unwrap();
        let refusal = Pidfile::create(&file(&scratch), own_pid()).unwrap_err();
        let text = refusal.to_string();
        assert!(
            text.starts_with("Already running on PID 1 (or pid file '"),
            "{text}"
        );
        assert_eq!(fs::read_to_string(file(&scratch)).unwrap(), "1\n");
    }

    #[test]
    fn a_dead_process_or_nonsense_in_it_is_replaced() {
        let scratch = Scratch::new("stale");
        for stale in ["4194304\n", "nonsense", "", "-7"] {
            fs::write(file(&scratch), stale).unwrap();
            Pidfile::create(&file(&scratch), own_pid()).unwrap();
            assert_eq!(
                fs::read_to_string(file(&scratch)).unwrap(),
                format!("{}\n", own_pid())
            );
        }
    }

    #[test]
    fn what_is_no_regular_file_is_neither_read_nor_replaced() {
        let scratch = Scratch::new("special");
        for device in ["/dev/null", "/dev/zero"] {
            std::os::unix::fs::symlink(device, file(&scratch)).unwrap();
            let refusal = Pidfile::create(&file(&scratch), own_pid()).unwrap_err();
            let text = refusal.to_string();
            assert!(text.contains("it is not a regular file"), "{text}");
            assert_eq!(fs::read_link(file(&scratch)).unwrap(), Path::new(device));
            fs::remove_file(file(&scratch)).unwrap();
        }
    }

    #[test]
    fn it_is_removed_only_while_it_is_ours() {
        let scratch = Scratch::new("removal");
        let pidfile = Pidfile::create(&file(&scratch), own_pid()).unwrap();
        fs::write(file(&scratch), "12345\n").unwrap();
        pidfile.remove();
        assert!(file(&scratch).exists());
        fs::write(file(&scratch), format!("{}\n", own_pid())).unwrap();
        pidfile.remove();
        assert!(!file(&scratch).exists());
    }

    #[test]
    fn it_takes_the_name_of_the_dead_and_of_no_other() {
        let scratch = Scratch::new("inheritance");
        let second = scratch.folder().join("server.pid.2");
        let mut pidfile = Pidfile::create(&second, own_pid()).unwrap();
        fs::write(file(&scratch), "1\n").unwrap();
        pidfile.inherit(file(&scratch), 4_194_304);
        assert_eq!(fs::read_to_string(file(&scratch)).unwrap(), "1\n");
        assert!(second.exists());
        // A zombie may still be asked for.
        pidfile.inherit(file(&scratch), 1);
        let own = format!("{}\n", own_pid());
        assert_eq!(fs::read_to_string(file(&scratch)).unwrap(), own);
        assert!(!second.exists());
        pidfile.remove();
        assert!(!file(&scratch).exists());
    }

    #[test]
    fn a_missing_directory_is_named() {
        let path = Path::new("/nonexistent-directory/server.pid");
        let text = Pidfile::create(path, own_pid()).unwrap_err().to_string();
        assert!(
            text.contains("'/nonexistent-directory/server.pid'"),
            "{text}"
        );
    }
}
