//! From all sources to one configuration.
//!
//! From the weakest to the strongest: defaults, the environment, what the application says of itself
//! (Paste), the configuration file, `GUNICORN_CMD_ARGS`, `OXICORN_CMD_ARGS`, the command line; or instead
//! of these three what is said to `oxicorn.run`. Every value that is named anywhere is checked, also one that a stronger source
//! overrules.

use std::collections::BTreeMap;

use crate::choices::WorkerClass;
use crate::config::{BLANK, Config, Origin};
use crate::invalid::{ARGUMENTS, COMMAND_LINE, DEFAULT, Invalid, Warning};
use crate::kind::Kind;
use crate::setting::Setting;
use crate::table;
use crate::typed::Typed;
use crate::value::Value;

/// What a configuration file says, or what else is between the environment and the command line.
#[derive(Debug, Clone, Default)]
pub struct FileValues {
    /// What to call the file in messages: `gunicorn.conf.py`.
    pub label: String,
    /// Its names and their values, in its own order, whether they are settings or not.
    pub values: Vec<(String, Value)>,
    /// It is a program, some of whose names are its own business.
    pub is_program: bool,
}

impl Typed {
    /// Makes the configuration out of what was typed, the files, the weakest first, and the environment.
    ///
    /// # Errors
    /// The first setting with a value that it cannot have, or that is not supported.
    pub fn resolve(
        self,
        files: Vec<FileValues>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Config, Vec<Warning>), Invalid> {
        let mut warnings = self.warnings;
        let source = if self.scripted {
            ARGUMENTS
        } else {
            COMMAND_LINE
        };
        let mut layers = Layers::defaults();
        layers.add_environment(env)?;
        if let Some(application) = &self.application {
            layers.name_application("default_proc_name", application, source)?;
        }
        for file in files {
            layers.add_file(file, &mut warnings)?;
        }
        for given in self.given {
            layers.put(given.setting, given.value, &given.source);
        }
        if let Some(application) = &self.application {
            layers.name_application("wsgi_app", application, source)?;
        }
        Ok((layers.build()?, warnings))
    }
}

/// What the server runs with when nobody sets anything.
impl Default for Config {
    fn default() -> Self {
        // A test applies every default, so that the fallback is never taken.
        Layers::defaults().build().unwrap_or(BLANK)
    }
}

/// The values so far; adding a stronger source replaces those of weaker ones.
struct Layers(BTreeMap<&'static str, Origin>);

impl Layers {
    fn defaults() -> Self {
        let origin = |setting: &Setting| Origin {
            value: setting.default.value(),
            source: DEFAULT.into(),
        };
        Self(
            table::settings()
                .map(|setting| (setting.name, origin(setting)))
                .collect(),
        )
    }

    /// A variable that is empty counts as not set.
    fn add_environment(&mut self, env: &dyn Fn(&str) -> Option<String>) -> Result<(), Invalid> {
        let variable = |name: &str| env(name).filter(|text| !text.trim().is_empty());
        for setting in table::settings() {
            if let Some(theirs) = setting.env
                && let Some(text) = variable(theirs.name)
            {
                self.check(
                    setting,
                    &(theirs.read)(&text),
                    &format!("environment {}", theirs.name),
                )?;
            }
            let ours = setting.variable();
            if let Some(text) = variable(&ours) {
                self.check(
                    setting,
                    &from_variable(setting, text),
                    &format!("environment {ours}"),
                )?;
            }
        }
        Ok(())
    }

    fn add_file(&mut self, file: FileValues, warnings: &mut Vec<Warning>) -> Result<(), Invalid> {
        for (name, value) in file.values {
            match table::find(&name) {
                Some(setting) => self.check(setting, &value, &file.label)?,
                None if file.is_program && !looks_like_a_setting(&name, &value) => {}
                None => warnings.push(unknown(&name, &file.label)),
            }
        }
        Ok(())
    }

    fn name_application(
        &mut self,
        name: &str,
        application: &str,
        source: &str,
    ) -> Result<(), Invalid> {
        match table::find(name) {
            Some(setting) => self.check(setting, &Value::text(application), source),
            None => Ok(()),
        }
    }

    fn check(
        &mut self,
        setting: &'static Setting,
        value: &Value,
        source: &str,
    ) -> Result<(), Invalid> {
        // A refusal of the whole setting tells more than one of this value.
        let invalid = |problem| {
            Invalid::new(
                setting.name,
                value,
                source,
                setting.refusal().unwrap_or(problem),
            )
        };
        let value = match value {
            Value::None if setting.refusal().is_some() => setting.default.value(),
            value => setting.check(value).map_err(invalid)?,
        };
        self.put(setting, value, source);
        Ok(())
    }

    fn put(&mut self, setting: &'static Setting, value: Value, source: &str) {
        self.0.insert(
            setting.name,
            Origin {
                value,
                source: source.into(),
            },
        );
    }

    fn build(self) -> Result<Config, Invalid> {
        let mut config = BLANK;
        for setting in table::settings() {
            let Some(Origin { value, source }) = self.0.get(setting.name) else {
                continue;
            };
            let invalid = |problem| Invalid::new(setting.name, value, source, problem);
            if let Some(refusal) = setting
                .refusal()
                .filter(|_| *value != setting.default.value())
            {
                return Err(invalid(refusal));
            }
            (setting.apply)(&mut config, value).map_err(invalid)?;
        }
        config.origins = self.0;
        if let Some((name, problem)) = incomplete(&config) {
            return Err(config.invalid(name, problem));
        }
        Ok(combined(config))
    }
}

/// A setting that is of no use without another one, and what it needs.
fn incomplete(config: &Config) -> Option<(&'static str, &'static str)> {
    if config.certfile.is_none() && config.keyfile.is_some() {
        return Some((
            "keyfile",
            "needs certfile, the certificate that it belongs to",
        ));
    }
    if config.certfile.is_some() && config.cert_reqs > 0 && config.ca_certs.is_none() {
        return Some((
            "cert_reqs",
            "needs ca_certs, the authorities that sign clients' certificates",
        ));
    }
    None
}

/// What follows from several settings together.
fn combined(mut config: Config) -> Config {
    config.check_config |= config.print_config;
    if config.threads > 1 && config.worker_class == WorkerClass::Sync {
        config.worker_class = WorkerClass::Gthread;
    }
    config
}

/// A list in a variable is separated by commas; its items may hold none.
fn from_variable(setting: &Setting, text: String) -> Value {
    match setting.kind {
        Kind::List => Value::texts(
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty()),
        ),
        _ => Value::Text(text),
    }
}

/// Functions, classes and modules are what a configuration file works with, not what it sets.
fn looks_like_a_setting(name: &str, value: &Value) -> bool {
    !name.starts_with('_') && !name.contains(char::is_uppercase) && value.is_plain()
}

fn unknown(name: &str, file: &str) -> Warning {
    let hint = nearest(&name.to_lowercase().replace('-', "_")).map_or_else(
        || " and is ignored".into(),
        |known| format!("; did you mean '{known}'?"),
    );
    Warning::of_unknown_name(format!("'{name}' in {file} is not a setting{hint}"))
}

/// The setting whose name, or whose flag, is the most like a name.
fn nearest(name: &str) -> Option<&'static str> {
    let spellings = table::settings().flat_map(|setting| {
        let flags = setting
            .cli
            .iter()
            .copied()
            .chain(setting.offered().map(|one| one.argument));
        let flags = flags.map(|flag| flag.trim_start_matches('-').replace('-', "_"));
        flags
            .chain([setting.name.into()])
            .map(move |spelling| (setting.name, spelling))
    });
    table::most_alike(name, spellings)
}
