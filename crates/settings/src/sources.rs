//! The world that settings come from: the process's environment and the directory it started in.
//!
//! The only module that looks at either. Everything else takes an environment as a function from a
//! variable's name to its text, so that tests bring their own.

use std::path::Path;

/// The process's environment. Text that is not valid UTF-8 is repaired, so that a wrong value is
/// reported rather than overlooked.
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|text| text.to_string_lossy().into_owned())
}

/// The configuration file that is read when none is named, if it exists in a folder.
pub(crate) fn default_config_file(folder: &Path) -> Option<&'static str> {
    DEFAULT_CONFIG_FILES
        .into_iter()
        .find(|name| folder.join(name).is_file())
}

const DEFAULT_CONFIG_FILES: [&str; 2] = ["./oxicorn.conf.py", "./gunicorn.conf.py"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_default_file_is_preferred_to_gunicorns() {
        let folder = std::env::temp_dir().join(format!("oxicorn-settings-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut found = vec![default_config_file(&folder)];
        for name in ["gunicorn.conf.py", "oxicorn.conf.py"] {
            std::fs::write(folder.join(name), "").unwrap();
            found.push(default_config_file(&folder));
        }
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(
            found,
            [None, Some("./gunicorn.conf.py"), Some("./oxicorn.conf.py")]
        );
    }
}
