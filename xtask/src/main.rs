//! Repository chores: `cargo xtask generate`, `cargo xtask generate --check` and `cargo xtask tidy`.
//!
//! For people and CI alike: each chore says which file is wrong, what is wrong with it and how to
//! mend it, and leaves with 1. Nothing here is part of the server.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool reports by printing"
)]

mod generate;
mod source;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["generate"] => generate::write(&root()),
        ["generate", "--check"] => generate::check(&root()),
        ["tidy"] => tidy::run(&root()),
        _ => Err(USAGE.into()),
    };
    match outcome {
        Ok(message) => {
            println!("{message}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

const USAGE: &str = "\
usage: cargo xtask CHORE

  generate          write the files that are made from the table of settings
  generate --check  tell which of them are stale
  tidy              check the invariants of ARCHITECTURE.md";

/// The repository's root: the parent of this crate's directory.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Why a file could not be read or written, with its name.
fn failure(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
