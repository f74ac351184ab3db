//! The world that settings come from: the process's environment and the directory it started in.
//!
//! The only module that looks at either. Everything else takes an environment as a function from a
//! variable's name to its text, so that tests bring their own.

use std::path::Path;

use crate::toml_file::{has_table, is_pyproject};

/// The process's environment. Text that is not valid UTF-8 is repaired, so that a wrong value is
/// reported rather than overlooked.
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|text| text.to_string_lossy().into_owned())
}

/// The configuration files of a folder that are read when none is named: the first one is.
pub(crate) fn default_config_files(folder: &Path) -> Vec<&'static str> {
    DEFAULT_CONFIG_FILES
        .into_iter()
        .filter(|name| {
            let path = folder.join(name);
            path.is_file() && (!is_pyproject(name) || speaks_of_us(&path))
        })
        .collect()
}

const DEFAULT_CONFIG_FILES: [&str; 4] = [
    "./oxicorn.conf.py",
    "./gunicorn.conf.py",
    "./oxicorn.toml",
    "./pyproject.toml",
];

/// Most of these files belong to projects that have said nothing of this server in them.
fn speaks_of_us(path: &Path) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| has_table(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_default_files_are_preferred_to_others_and_python_to_toml() {
        let folder = std::env::temp_dir().join(format!("oxicorn-settings-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut found = vec![default_config_files(&folder)];
        for (name, text) in [
            ("pyproject.toml", "[tool.other]\noxicorn = 1\n"),
            ("pyproject.toml", "[tool.oxicorn]\nworkers = 2\n"),
            ("oxicorn.toml", ""),
            ("gunicorn.conf.py", ""),
            ("oxicorn.conf.py", ""),
        ] {
            std::fs::write(folder.join(name), text).unwrap();
            found.push(default_config_files(&folder));
        }
        std::fs::remove_dir_all(&folder).unwrap();
        let all = [
            "./oxicorn.conf.py",
            "./gunicorn.conf.py",
            "./oxicorn.toml",
            "./pyproject.toml",
        ];
        let expected = [
            &all[4..],
            &all[4..],
            &all[3..],
            &all[2..],
            &all[1..],
            &all[..],
        ];
        assert_eq!(found, expected);
    }
}
