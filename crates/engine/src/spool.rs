//! Bytes that may grow: in memory up to a limit, then in an unlinked file. Used for request bodies; the response queue uses
//! only its file half. Invariant: the file has no name, so nothing is left behind by a crash.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// A request body on its way in.
#[derive(Debug, Default)]
pub(crate) struct Spool {
    memory: Vec<u8>,
    file: Option<File>,
    len: u64,
}

impl Spool {
    /// Room for `expected` bytes if they fit the memory limit.
    pub(crate) fn with_capacity(expected: usize) -> Self {
        Self {
            memory: Vec::with_capacity(expected),
            file: None,
            len: 0,
        }
    }

    /// A body that begins with the first `len` bytes of `file`.
    pub(crate) fn stored(file: File, len: u64) -> Self {
        Self {
            memory: Vec::new(),
            file: Some(file),
            len,
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The bytes in memory; none once there is a file.
    pub(crate) fn memory(&self) -> &[u8] {
        &self.memory
    }

    /// The file that holds the bytes, if they are in one.
    pub(crate) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// Appends; moves to a file in `dir` once `limit` bytes are exceeded.
    pub(crate) fn push(&mut self, data: &[u8], limit: usize, dir: &Path) -> io::Result<()> {
        if self.file.is_none() && self.memory.len() + data.len() > limit {
            let file = unlinked_file(dir)?;
            file.write_all_at(&self.memory, 0)?;
            self.memory = Vec::new();
            self.file = Some(file);
        }
        match &self.file {
            Some(file) => file.write_all_at(data, self.len)?,
            None => self.memory.extend_from_slice(data),
        }
        self.len += data.len() as u64;
        Ok(())
    }

    /// The finished body: its file if it has one, else its bytes.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Option<File>, u64) {
        (self.memory, self.file, self.len)
    }
}

/// A file without a name in `dir`.
pub(crate) fn unlinked_file(dir: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR) {
        Ok(fd) => Ok(File::from(fd)),
        // File systems without O_TMPFILE (overlayfs before 6.x, NFS): make one and unlink it.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => {
            named_then_unlinked(dir)
        }
        Err(error) => Err(error.into()),
    }
}

fn named_then_unlinked(dir: &Path) -> io::Result<File> {
    let pid = rustix::process::getpid();
    for attempt in 0..100u32 {
        let path = dir.join(format!("oxicorn-{pid:?}-{attempt}.spool"));
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        match rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR) {
            Ok(fd) => {
                std::fs::remove_file(&path)?;
                return Ok(File::from(fd));
            }
            Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_over_the_limit_moves_to_a_file_whole() {
        let mut spool = Spool::with_capacity(4);
        spool.push(b"abcd", 6, &std::env::temp_dir()).unwrap();
        spool.push(b"efgh", 6, &std::env::temp_dir()).unwrap();
        spool.push(b"ij", 6, &std::env::temp_dir()).unwrap();
        let (memory, file, len) = spool.into_parts();
        assert!(memory.is_empty());
        assert_eq!(len, 10);
        let mut got = [0; 10];
        file.unwrap().read_exact_at(&mut got, 0).unwrap();
        assert_eq!(&got, b"abcdefghij");
    }

    #[test]
    fn a_directory_that_does_not_exist_is_an_error() {
        assert!(unlinked_file(Path::new("/nonexistent-oxicorn")).is_err());
    }

    #[test]
    fn the_fallback_leaves_no_name_behind() {
        let dir = std::env::temp_dir().join(format!("oxicorn-spool-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        named_then_unlinked(&dir).unwrap();
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
        std::fs::remove_dir(&dir).unwrap();
    }
}
