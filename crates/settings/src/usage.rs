//! How the server ends when the command line asks for a text or cannot be understood.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::invalid::COMMAND_LINE;
use crate::setting::Setting;
use crate::spelling::Said;
use crate::table;

/// What to print instead of running, and how to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) code: u8,
    pub(crate) text: String,
    pub(crate) to_stderr: bool,
}

impl Exit {
    fn with(text: String) -> Self {
        Self {
            code: 0,
            text,
            to_stderr: false,
        }
    }

    /// A command line that cannot be understood.
    pub(crate) fn usage(problem: &str) -> Self {
        let text = format!(
            "usage: oxicorn [OPTIONS] MODULE[:VARIABLE]\n\
             oxicorn: error: {problem}\n\
             Try 'oxicorn --help' for all options.\n"
        );
        Self {
            code: 2,
            text,
            to_stderr: true,
        }
    }

    /// What the parser ended with, in our words; `source` is where the words came from.
    pub(crate) fn from_parser(error: &clap::Error, source: &str) -> Self {
        match error.kind() {
            ErrorKind::DisplayHelp => Self::with(error.to_string()),
            ErrorKind::DisplayVersion => {
                Self::with(format!("oxicorn (version {})\n", env!("CARGO_PKG_VERSION")))
            }
            _ => Self::usage(&format!("{}{}", problem(error), place(source))),
        }
    }
}

/// What is wrong with the value of a setting, after the flags that it was typed with.
pub(crate) fn complaint(setting: &Setting, said: &Said, source: &str, problem: String) -> String {
    let flags = said.flags(setting);
    let own = said.0.iter().all(|(word, _)| *word == setting.name);
    if own {
        return format!("argument {flags}: {}", said.invalid(source, problem));
    }
    format!("argument {flags}: {problem}{}", place(source))
}

fn place(source: &str) -> String {
    if source == COMMAND_LINE {
        String::new()
    } else {
        format!(" (in {source})")
    }
}

fn problem(error: &clap::Error) -> String {
    let argument = text(error, ContextKind::InvalidArg).unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => unknown(&argument, text(error, ContextKind::SuggestedArg)),
        ErrorKind::InvalidValue => format!("argument {}: expected one argument", flags(&argument)),
        ErrorKind::TooManyValues => format!("argument {}: takes no value", flags(&argument)),
        _ => first_line(&error.to_string()),
    }
}

fn unknown(argument: &str, suggestion: Option<String>) -> String {
    let candidates = long_flags_starting_with(argument);
    if candidates.len() > 1 {
        return format!(
            "ambiguous option: {argument} could match {}",
            candidates.join(", ")
        );
    }
    let hint = suggestion
        .map(|flag| format!("; did you mean {flag}?"))
        .unwrap_or_default();
    format!("unrecognized argument: {argument}{hint}")
}

fn long_flags_starting_with(argument: &str) -> Vec<&'static str> {
    let prefix = argument.split('=').next().unwrap_or(argument);
    if !prefix.starts_with("--") || prefix.len() < 3 {
        return Vec::new();
    }
    table::settings()
        .flat_map(Setting::flags)
        .chain(["--help", "--version"])
        .filter(|flag| flag.starts_with(prefix))
        .collect()
}

/// All flags of the setting that the parser calls `--bind <ADDRESS>`, as `-b/--bind`.
fn flags(argument: &str) -> String {
    let name = argument
        .split(' ')
        .next()
        .unwrap_or(argument)
        .trim_end_matches("...");
    table::settings()
        .find(|setting| setting.cli.contains(&name))
        .map_or_else(|| name.into(), |setting| setting.cli.join("/"))
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    }
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").into()
}
