//! A folder for a test's files, and how the probe is told of them.

use std::path::{Path, PathBuf};

/// A folder of the test's own, removed at its end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let folder = format!("oxicorn-arbiter-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `name=path` as an argument of the probe.
pub(crate) fn argument(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}
