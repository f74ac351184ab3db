//! What the tests of this crate share: a folder of their own.

use std::fs;
use std::path::{Path, PathBuf};

/// A folder that exists as long as the value does.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// An empty folder; `name` is unique among the tests.
    pub(crate) fn new(name: &str) -> Self {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind lies in the build folder and harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The text of the file at `path`.
pub(crate) fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}
