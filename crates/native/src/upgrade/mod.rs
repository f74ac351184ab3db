//! Upgrades, for Python: how this process began, and what is kept of the package that runs, so that it can be run again when
//! its files have been replaced. What an upgrade is, is `oxicorn-arbiter`'s. Invariant: what is kept is what was on the disk
//! when the server was started.

use std::ffi::OsString;
use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oxicorn_arbiter::{Beginning, Kept, Predecessor};
use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict};

use crate::config::{Config, ConfigError};

/// What the script that is kept does with the files that it carries.
const BOOT: &str = include_str!("boot.py");
const PACKAGE: &str = "oxicorn";

static BEGUN: Mutex<Begun> = Mutex::new(Begun {
    how: "start",
    predecessor: None,
});

/// How this process began.
struct Begun {
    how: &'static str,
    /// Until it is taken.
    predecessor: Option<Predecessor>,
}

fn lock() -> MutexGuard<'static, Begun> {
    BEGUN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads and removes the variable that says how this process begins.
pub(crate) fn begin(py: Python<'_>) -> PyResult<()> {
    let environ = py.import("os")?.getattr("environ")?;
    let value: Option<String> = environ
        .call_method1("pop", (Beginning::VARIABLE, py.None()))?
        .extract()?;
    let (how, predecessor) =
        match Beginning::of(value.as_deref()).map_err(PyImportError::new_err)? {
            Beginning::Start => ("start", None),
            Beginning::Check => ("check", None),
            Beginning::Resume(predecessor) => ("resume", Some(predecessor)),
        };
    if how == "resume" {
        let hook = wrap_pyfunction!(leave, py)?;
        py.import("sys")?.setattr("excepthook", hook)?;
    }
    *lock() = Begun { how, predecessor };
    Ok(())
}

/// How this process began: `start`, `check` (a state of another version's) or `resume` (in the place of another version).
#[pyfunction]
pub(crate) fn beginning() -> &'static str {
    lock().how
}

/// Checks the state on standard input: what to print if this version can go on from it.
#[pyfunction]
pub(crate) fn check_state(py: Python<'_>) -> PyResult<String> {
    let mut state = Vec::new();
    std::io::stdin().read_to_end(&mut state)?;
    oxicorn_arbiter::check(&mut state.as_slice()).map_err(ConfigError::new_err)?;
    Ok(oxicorn_arbiter::answer_check(&version(py)?))
}

/// Goes back to the former version, if this one began in its place and has not yet taken over; else does nothing.
#[pyfunction]
pub(crate) fn undo(reason: &str) {
    oxicorn_arbiter::undo(reason);
}

/// `sys.excepthook` until there is an arbiter: what nobody catches leaves the process to the former version.
#[pyfunction]
fn leave(
    kind: &Bound<'_, PyAny>,
    error: &Bound<'_, PyAny>,
    traceback: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let sys = kind.py().import("sys")?;
    sys.getattr("__excepthook__")?
        .call1((kind, error, traceback))?;
    let name = kind.getattr("__name__")?;
    oxicorn_arbiter::undo(&format!("{name}: {error}"));
    Ok(())
}

/// The state of the arbiter in whose place this process began; it can be had once.
pub(crate) fn take_predecessor(py: Python<'_>) -> PyResult<Option<Predecessor>> {
    let taken = lock().predecessor.take();
    if taken.is_some() {
        let sys = py.import("sys")?;
        sys.setattr("excepthook", sys.getattr("__excepthook__")?)?;
    }
    Ok(taken)
}

/// The package's version.
pub(crate) fn version(py: Python<'_>) -> PyResult<String> {
    py.import(PACKAGE)?.getattr("__version__")?.extract()
}

/// Keeps the package as it is on the disk now, unless this is a version that came back and has what it kept. Where it cannot
/// be kept, the server runs as well.
pub(crate) fn keep(
    py: Python<'_>,
    predecessor: Option<&Predecessor>,
    config: &Config,
) -> Option<Arc<Kept>> {
    // Of a script there is more than the package, so that running this again would not be going back.
    if config.scripted || predecessor.is_some_and(Predecessor::is_undone) {
        return None;
    }
    let kept = try_to_keep(py, config).inspect_err(|error| {
        ::log::info!(target: "oxicorn", "There can be no upgrade, for the program can't be kept: {error}");
    });
    kept.ok().map(Arc::new)
}

fn try_to_keep(py: Python<'_>, config: &Config) -> PyResult<Kept> {
    let package: PathBuf = py.import(PACKAGE)?.getattr("__file__")?.extract()?;
    let library: PathBuf = py
        .import("oxicorn._native")?
        .getattr("__file__")?
        .extract()?;
    let sys = py.import("sys")?;
    let command: Vec<OsString> = sys.getattr("orig_argv")?.extract()?;
    let arguments: Vec<OsString> = sys.getattr("argv")?.extract()?;
    let program: PathBuf = sys.getattr("executable")?.extract()?;
    let mut script = files(package.parent().unwrap_or(&package))?;
    script.push_str(&typed(&command, &arguments));
    script.push_str(&configuration(py, config)?);
    script.push_str(BOOT);
    let options = options(&command, arguments.len());
    let arguments = arguments.into_iter().skip(1).collect();
    let kept = Kept::new(program, options, script.as_bytes(), &library, arguments)?;
    Ok(kept)
}

/// The package's modules, each with its file and its source.
fn files(package: &Path) -> std::io::Result<String> {
    let mut text = String::from("FILES = {\n");
    add_files(package, PACKAGE, &mut text)?;
    text.push_str("}\n");
    Ok(text)
}

/// Those of a folder, which is the package `name`, and of the packages in it.
fn add_files(folder: &Path, name: &str, text: &mut String) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else {
            continue;
        };
        let module = match stem {
            "__init__" => name.to_owned(),
            stem => format!("{name}.{stem}"),
        };
        if path.join("__init__.py").exists() {
            add_files(&path, &module, text)?;
        }
        if path.extension().is_none_or(|kind| kind != "py") {
            continue;
        }
        let source = literal(&std::fs::read(&path)?);
        let file = literal(path.as_os_str().as_encoded_bytes());
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{module:?}: ({file}, {source}),");
    }
    Ok(())
}

/// The command as it was typed, and the program's name in it.
fn typed(command: &[OsString], arguments: &[OsString]) -> String {
    let mut text = String::from("COMMAND = [\n");
    for word in command {
        let _ = writeln!(text, "{},", literal(word.as_encoded_bytes()));
    }
    let name = arguments.first().cloned().unwrap_or_default();
    let _ = writeln!(text, "]\nNAME = {}", literal(name.as_encoded_bytes()));
    text
}

/// What the configuration file said; without what is no plain value.
fn configuration(py: Python<'_>, config: &Config) -> PyResult<String> {
    let dumps = py.import("marshal")?.getattr("dumps")?;
    let mut layers = Vec::new();
    for (label, values, is_program) in config.layers.iter() {
        let plain = PyDict::new(py);
        for (name, value) in values.bind(py) {
            if dumps.call1((&value,)).is_ok() {
                plain.set_item(name, value)?;
            }
        }
        layers.push((label, plain, *is_program));
    }
    let all: Vec<u8> = dumps.call1((layers,))?.extract()?;
    Ok(format!("CONFIGURATION = {}\n", literal(&all)))
}

/// The bytes as a Python literal.
fn literal(bytes: &[u8]) -> String {
    format!("b\"{}\"", bytes.escape_ascii())
}

/// The interpreter's own options: what stands before the script, or before `-m` and the module. `arguments` is the number of
/// those that the program sees, its name included.
fn options(command: &[OsString], arguments: usize) -> Vec<OsString> {
    let end = (command.len() + 1).saturating_sub(arguments);
    let mut options = command.get(1..end).unwrap_or_default().to_vec();
    let last = options.pop().unwrap_or_default();
    if last.as_encoded_bytes().starts_with(b"-") {
        // `-mMODULE`.
        return options;
    }
    if let Some(letters) = options.pop_if(|before| takes_program(before)) {
        let others = letters.to_string_lossy();
        let others = others.trim_end_matches(['m', 'c']);
        // As in `-Im MODULE`.
        if others != "-" {
            options.push(others.into());
        }
    }
    options
}

/// `-m`, `-c`, and either as the last of several letters.
fn takes_program(option: &OsString) -> bool {
    let option = option.as_encoded_bytes();
    option.starts_with(b"-") && matches!(option.last(), Some(b'm' | b'c'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options_of(command: &str, arguments: usize) -> String {
        let words: Vec<OsString> = command.split(' ').map(OsString::from).collect();
        let found = options(&words, arguments);
        let found: Vec<_> = found.iter().map(|word| word.to_string_lossy()).collect();
        found.join(" ")
    }

    #[test]
    fn the_interpreters_options_are_told_from_the_programs() {
        for (command, arguments, options) in [
            ("python -m oxicorn app -b :1", 4, ""),
            ("python /bin/oxicorn app", 2, ""),
            (
                "python -X dev -W error -m oxicorn app",
                2,
                "-X dev -W error",
            ),
            ("python -E /bin/oxicorn", 1, "-E"),
            ("python -Im oxicorn app", 2, "-I"),
            ("python -moxicorn app", 2, ""),
            ("python -s -c code a b", 3, "-s"),
            ("python", 1, ""),
        ] {
            assert_eq!(options_of(command, arguments), options, "{command}");
        }
    }

    #[test]
    fn a_literal_has_only_visible_characters() {
        assert_eq!(literal("a\"\n\\é".as_bytes()), r#"b"a\"\n\\\xc3\xa9""#);
    }
}
