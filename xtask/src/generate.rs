//! The files that are made from the table of settings.

use std::fs;
use std::path::Path;

use oxicorn_settings::render::{COPIES, Rendered};

use crate::failure;

/// Writes every file that is not as it should be.
pub(crate) fn write(root: &Path) -> Result<String, String> {
    let stale = stale(root)?;
    for (name, render) in &stale {
        let path = root.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| failure(folder, &error))?;
        }
        fs::write(&path, render()).map_err(|error| failure(&path, &error))?;
    }
    Ok(format!(
        "generate: {} of {} files written",
        stale.len(),
        COPIES.len()
    ))
}

/// Tells which files are not as they should be.
pub(crate) fn check(root: &Path) -> Result<String, String> {
    let stale = stale(root)?;
    if stale.is_empty() {
        return Ok(format!("generate: {} files are fresh", COPIES.len()));
    }
    let lines: Vec<_> = stale
        .iter()
        .map(|(name, _)| format!("{name}: generated: stale"))
        .collect();
    Err(format!(
        "{}\n    fix: run `cargo xtask generate`",
        lines.join("\n")
    ))
}

fn stale(root: &Path) -> Result<Vec<Rendered>, String> {
    let mut stale = Vec::new();
    for copy in COPIES {
        if current(&root.join(copy.0))?.as_deref() != Some(copy.1().as_str()) {
            stale.push(copy);
        }
    }
    Ok(stale)
}

/// The file's text; nothing if there is no such file.
fn current(path: &Path) -> Result<Option<String>, String> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failure(path, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copies_in_the_repository_are_fresh() {
        assert_eq!(
            check(&crate::root()),
            Ok(format!("generate: {} files are fresh", COPIES.len()))
        );
    }

    #[test]
    fn a_missing_copy_is_written_and_then_fresh() {
        let root = std::env::temp_dir().join(format!("xtask-generate-{}", std::process::id()));
        assert!(
            check(&root)
                .unwrap_err()
                .starts_with("docs/reference/settings.md: generated: stale")
        );
        write(&root).unwrap();
        let outcome = check(&root);
        fs::remove_dir_all(&root).unwrap();
        assert!(outcome.is_ok(), "{outcome:?}");
    }
}
