//! What was typed: the command line and the variables that stand in for it; or said in Python, to
//! `oxicorn.run`.

use std::path::Path;

use crate::cli;
use crate::invalid::{ARGUMENTS, COMMAND_LINE, Invalid, Warning};
use crate::setting::Setting;
use crate::shlex;
use crate::sources;
use crate::spelling::{Said, Spelling};
use crate::table;
use crate::usage::{Exit, complaint};
use crate::value::Value;

/// What a command line amounts to.
#[derive(Debug, Clone)]
pub enum CommandLine {
    /// Go on with what was typed.
    Run(Typed),
    /// Print a text and leave: help, the version, or what was wrong.
    Exit {
        /// The exit code: 0, or 2 for a command line that cannot be understood.
        code: u8,
        /// The text, with its line end.
        text: String,
        /// Whether it belongs on standard error rather than standard output.
        to_stderr: bool,
    },
}

/// The settings that were typed, each checked by itself, with where they were typed.
#[derive(Debug, Clone, Default)]
pub struct Typed {
    pub(crate) given: Vec<Given>,
    pub(crate) application: Option<String>,
    pub(crate) warnings: Vec<Warning>,
    /// It was said in Python: no configuration file is looked for.
    pub(crate) scripted: bool,
    environment: Early,
}

/// What the environment says of settings that count before the configuration file is read.
#[derive(Debug, Clone, Default)]
struct Early {
    config: Option<String>,
    chdir: Option<String>,
    gunicorn_shim: Option<String>,
}

impl Early {
    fn read(env: &dyn Fn(&str) -> Option<String>) -> Self {
        let variable = |name: &str| env(name).filter(|text| !text.trim().is_empty());
        Self {
            config: variable("OXICORN_CONFIG"),
            chdir: variable("OXICORN_CHDIR"),
            gunicorn_shim: variable("OXICORN_GUNICORN_SHIM"),
        }
    }
}

/// Why the arguments of `oxicorn.run` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// There is no such argument.
    Unknown {
        /// What there is not.
        name: String,
        /// The nearest one that there is.
        nearest: Option<&'static str>,
    },
    /// One has a value that it cannot have.
    Invalid(Invalid),
}

/// One value, checked, and its source.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    pub(crate) setting: &'static Setting,
    pub(crate) value: Value,
    pub(crate) source: String,
}

/// Reads the command line (`args` without the program's name) and, below it, `GUNICORN_CMD_ARGS` and
/// `OXICORN_CMD_ARGS`, the latter of which wins.
pub fn parse_command_line(args: &[String], env: &dyn Fn(&str) -> Option<String>) -> CommandLine {
    match Typed::read(args, env) {
        Ok(typed) => CommandLine::Run(typed),
        Err(Exit {
            code,
            text,
            to_stderr,
        }) => CommandLine::Exit {
            code,
            text,
            to_stderr,
        },
    }
}

impl Typed {
    fn read(args: &[String], env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Exit> {
        let variable = |name| env(name).filter(|text| !text.trim().is_empty());
        let mut typed = Self {
            environment: Early::read(env),
            ..Self::default()
        };
        for name in ["GUNICORN_CMD_ARGS", "OXICORN_CMD_ARGS"] {
            if let Some(line) = variable(name) {
                typed.add_variable(name, &line)?;
            }
        }
        typed.add_command_line(args)?;
        Ok(typed)
    }

    /// Takes what is said in Python, by names of settings and by the words of others for them; `None`
    /// says nothing. Variables with pieces of command line are not read, nor is a configuration file
    /// that nobody has named.
    ///
    /// # Errors
    /// The first argument that cannot be used.
    pub fn from_arguments(
        application: &str,
        arguments: impl IntoIterator<Item = (String, Value)>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Unusable> {
        let mut all: Vec<(&'static Setting, Said)> = Vec::new();
        for (name, value) in arguments {
            let (setting, word) = table::argument(&name).ok_or_else(|| Unusable::Unknown {
                nearest: table::nearest(&name),
                name,
            })?;
            if says_nothing(setting, word, &value) {
                continue;
            }
            match all.iter_mut().find(|(known, _)| known.name == setting.name) {
                Some((_, said)) => said.0.push((word, value)),
                None => all.push((setting, Said(vec![(word, value)]))),
            }
        }
        let given = all.into_iter().map(|(setting, said)| {
            let value = said.value(setting);
            let value =
                value.map_err(|problem| Unusable::Invalid(said.invalid(ARGUMENTS, problem)));
            Ok(Given {
                setting,
                value: value?,
                source: ARGUMENTS.into(),
            })
        });
        Ok(Self {
            given: given.collect::<Result<_, _>>()?,
            application: Some(application.to_owned()),
            scripted: true,
            environment: Early::read(env),
            ..Self::default()
        })
    }

    fn add_variable(&mut self, name: &str, line: &str) -> Result<(), Exit> {
        let words = shlex::split(line).map_err(|why| Exit::usage(&format!("{name}: {why}")))?;
        let positional = self.add(&words, name)?;
        self.ignore(&positional, name);
        Ok(())
    }

    fn add_command_line(&mut self, args: &[String]) -> Result<(), Exit> {
        let mut positional = self.add(args, COMMAND_LINE)?;
        if !positional.is_empty() {
            self.application = Some(positional.remove(0));
        }
        self.ignore(&positional, COMMAND_LINE);
        Ok(())
    }

    /// Adds what some words say; returns those that belong to no option.
    fn add(&mut self, args: &[String], source: &str) -> Result<Vec<String>, Exit> {
        let words = cli::read(args).map_err(|error| Exit::from_parser(&error, source))?;
        for (setting, said) in words.given {
            let value = said
                .value(setting)
                .map_err(|problem| Exit::usage(&complaint(setting, &said, source, problem)))?;
            self.given.push(Given {
                setting,
                value,
                source: source.into(),
            });
        }
        Ok(words.positional)
    }

    fn ignore(&mut self, words: &[String], source: &str) {
        self.warnings.extend(words.iter().map(|word| {
            Warning::new(format!(
                "'{word}' ({source}) is ignored: it belongs to no option"
            ))
        }));
    }

    /// The configuration file to read, as `PATH`, `file:PATH` or `python:MODULE`, and whether
    /// somebody named it. One that nobody named exists in the current directory: ask before
    /// changing to another.
    pub fn config_file(&self) -> Option<(String, bool)> {
        let named = self.named_file().map(|name| (name.to_owned(), true));
        named.or_else(|| {
            let found = self.found_files().first().copied()?;
            Some((found.to_owned(), false))
        })
    }

    /// The files that would be read if [`Self::config_file`] were not there.
    pub fn overlooked_files(&self) -> Vec<&'static str> {
        match self.named_file() {
            Some(_) => Vec::new(),
            None => self.found_files().into_iter().skip(1).collect(),
        }
    }

    fn named_file(&self) -> Option<&str> {
        self.text("config").or(self.environment.config.as_deref())
    }

    fn found_files(&self) -> Vec<&'static str> {
        if self.scripted {
            return Vec::new();
        }
        sources::default_config_files(Path::new("."))
    }

    /// The directory to change to, as far as it is known without the configuration file.
    pub fn chdir(&self) -> Option<&str> {
        self.text("chdir").or(self.environment.chdir.as_deref())
    }

    /// `gunicorn_shim`, as far as it is known without the configuration file.
    pub fn gunicorn_shim(&self) -> Option<String> {
        let said = self.text("gunicorn_shim");
        let text = said.or(self.environment.gunicorn_shim.as_deref())?;
        // What is wrong is told when everything is resolved.
        let value = table::find("gunicorn_shim")?
            .check(&Value::text(text))
            .ok()?;
        value.as_text().map(str::to_owned)
    }

    /// Whether it was said in Python, not typed.
    pub fn is_scripted(&self) -> bool {
        self.scripted
    }

    /// The application that the command line names.
    pub fn app(&self) -> Option<&str> {
        self.application.as_deref()
    }

    fn text(&self, name: &str) -> Option<&str> {
        let given = self
            .given
            .iter()
            .rev()
            .find(|given| given.setting.name == name)?;
        given.value.as_text()
    }
}

/// `None` says nothing, and `False` for what is refused says what is so anyway.
fn says_nothing(setting: &Setting, word: &str, value: &Value) -> bool {
    let spelling = setting.spellings.iter().find(|one| one.argument == word);
    let denied = spelling.is_some_and(|one| !one.is_accepted()) && *value == Value::Bool(false);
    denied || *value == Value::None || spelling.is_some_and(Spelling::says_nothing)
}
