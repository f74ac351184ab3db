//! What can be wrong with a configuration, in words for whoever wrote it.

use std::fmt;

use crate::value::Value;

/// A setting has a value that it cannot have. Displays as
/// `workers = 'many' (from gunicorn.conf.py): expected a whole number from 1 to 4096`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    name: &'static str,
    value: String,
    source: String,
    problem: String,
}

impl Invalid {
    /// `name` is the setting's, or another word that was used for it.
    pub(crate) fn new(name: &'static str, value: &Value, source: &str, problem: String) -> Self {
        let (value, source) = (value.to_string(), source.into());
        Self {
            name,
            value,
            source,
            problem,
        }
    }

    /// The setting's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Who set it, as [`Config::source`](crate::Config::source) says it.
    pub fn origin(&self) -> &str {
        &self.source
    }

    /// What is wrong, and what is allowed.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let article = if self.source == COMMAND_LINE {
            "the "
        } else {
            ""
        };
        let Self {
            name,
            value,
            source,
            problem,
        } = self;
        write!(f, "{name} = {value} (from {article}{source}): {problem}")
    }
}

impl std::error::Error for Invalid {}

/// Something that is probably not meant, but does not keep the server from running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    text: String,
    is_unknown_name: bool,
}

impl Warning {
    pub(crate) fn new(text: String) -> Self {
        Self {
            text,
            is_unknown_name: false,
        }
    }

    /// A file has a name that is none of a setting.
    pub(crate) fn of_unknown_name(text: String) -> Self {
        Self {
            text,
            is_unknown_name: true,
        }
    }

    /// Whether it is about a name that is none of a setting, which `strict_config` refuses.
    pub fn is_unknown_name(&self) -> bool {
        self.is_unknown_name
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The source of what was typed.
pub(crate) const COMMAND_LINE: &str = "command line";
/// The source of what is said in Python.
pub(crate) const ARGUMENTS: &str = "oxicorn.run";
/// The source of what nobody set.
pub(crate) const DEFAULT: &str = "default";
