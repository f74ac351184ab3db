//! The command line and the configuration, as Python sees them. All rules are in `oxicorn-settings`. Invariant: one object
//! carries the whole configuration across the border.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use oxicorn_settings as settings;
use pyo3::exceptions::{PyAttributeError, PyException, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyString};

use crate::convert::{to_object, to_value};
use crate::tls;

pyo3::create_exception!(
    oxicorn._native,
    ConfigError,
    PyException,
    "A setting has a wrong value; the message names setting, value and source."
);

/// What was typed, checked value by value; no file has been read yet.
#[pyclass(frozen, module = "oxicorn._native")]
#[derive(Debug)]
pub(crate) struct CommandLine {
    line: settings::CommandLine,
    environ: HashMap<String, String>,
    /// What a script said, if one did.
    arguments: Option<Arc<Py<PyDict>>>,
}

#[pymethods]
impl CommandLine {
    #[new]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "values converted from Python belong to the call"
    )]
    fn new(args: Vec<String>, environ: HashMap<String, String>) -> Self {
        let line = settings::parse_command_line(&args, &|name| environ.get(name).cloned());
        Self {
            line,
            environ,
            arguments: None,
        }
    }

    /// What `oxicorn.run` was called with: the application's name, and the arguments by their names.
    #[staticmethod]
    fn from_arguments(
        application: &str,
        arguments: &Bound<'_, PyDict>,
        environ: HashMap<String, String>,
    ) -> PyResult<Self> {
        let values = pairs(arguments)?;
        let typed = settings::Typed::from_arguments(application, values, &|name| {
            environ.get(name).cloned()
        });
        let line = settings::CommandLine::Run(typed.map_err(|problem| unusable(&problem))?);
        Ok(Self {
            line,
            environ,
            arguments: Some(Arc::new(arguments.clone().unbind())),
        })
    }

    /// `(code, text, to_stderr)` if there is nothing to run: help, version, a usage error.
    #[getter]
    fn exit(&self) -> Option<(u8, String, bool)> {
        match &self.line {
            settings::CommandLine::Exit {
                code,
                text,
                to_stderr,
            } => Some((*code, text.clone(), *to_stderr)),
            settings::CommandLine::Run(_) => None,
        }
    }

    /// `(source, explicitly named)` of the configuration file.
    #[getter]
    fn config_file(&self) -> Option<(String, bool)> {
        self.typed().and_then(settings::Typed::config_file)
    }

    /// The directory to change to, if one was typed.
    #[getter]
    fn chdir(&self) -> Option<String> {
        self.typed()
            .and_then(|typed| typed.chdir().map(str::to_owned))
    }

    /// The configuration files that are there as well, and are not read.
    #[getter]
    fn overlooked_files(&self) -> Vec<&'static str> {
        self.typed()
            .map_or_else(Vec::new, settings::Typed::overlooked_files)
    }

    /// The setting of that name, as far as it is known before the configuration file is read.
    #[getter]
    fn gunicorn_shim(&self) -> Option<String> {
        self.typed()?.gunicorn_shim()
    }

    /// The whole configuration. `layers`: what is between the environment and the command line, the weakest first: what
    /// to call it in messages, its names, and whether it is a program with names of its own.
    fn resolve(&self, layers: Layers) -> PyResult<Config> {
        let typed = self.typed().cloned().unwrap_or_default();
        let scripted = typed.is_scripted();
        let files = Python::attach(|py| -> PyResult<Vec<_>> {
            let file = |(label, values, is_program): &(String, Py<PyDict>, bool)| {
                Ok(settings::FileValues {
                    label: label.clone(),
                    values: pairs(values.bind(py))?,
                    is_program: *is_program,
                })
            };
            layers.iter().map(file).collect()
        })?;
        let (config, warnings) = typed
            .resolve(files, &|name| self.environ.get(name).cloned())
            .map_err(|invalid| ConfigError::new_err(invalid.to_string()))?;
        Ok(Config {
            config: Arc::new(config),
            warnings,
            scripted,
            arguments: self.arguments.clone(),
            layers: Arc::new(layers),
            tls: tls::Stock::default(),
        })
    }
}

/// What to call a layer of settings, its names and values, and whether it is a program.
pub(crate) type Layers = Vec<(String, Py<PyDict>, bool)>;

impl CommandLine {
    fn typed(&self) -> Option<&settings::Typed> {
        match &self.line {
            settings::CommandLine::Run(typed) => Some(typed),
            settings::CommandLine::Exit { .. } => None,
        }
    }
}

/// Names and values of a dict.
fn pairs(values: &Bound<'_, PyDict>) -> PyResult<Vec<(String, settings::Value)>> {
    let pair = |(name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        let name = name.cast::<PyString>()?.to_string_lossy().into_owned();
        Ok((name, to_value(&value)?))
    };
    values.iter().map(pair).collect()
}

/// An argument that there is not is an error of the call, as with any function; a wrong value is one of the
/// configuration.
fn unusable(problem: &settings::Unusable) -> PyErr {
    match problem {
        settings::Unusable::Unknown { name, nearest } => {
            let hint = nearest.map(|known| format!(". Did you mean '{known}'?"));
            PyTypeError::new_err(format!(
                "run() got an unexpected keyword argument '{name}'{}",
                hint.unwrap_or_default()
            ))
        }
        settings::Unusable::Invalid(invalid) => ConfigError::new_err(invalid.to_string()),
    }
}

impl Config {
    /// The object that was given for a setting, where that is no plain data: a function.
    fn object<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let said = match &self.arguments {
            Some(said) => said.bind(py).get_item(name)?.filter(|one| !one.is_none()),
            None => None,
        };
        if let Some(object) = said {
            return Ok(object);
        }
        for (_, values, _) in self.layers.iter().rev() {
            if let Some(object) = values.bind(py).get_item(name)? {
                return Ok(object);
            }
        }
        Err(PyAttributeError::new_err(format!("'{name}' is gone")))
    }
}

/// All settings in force, each an attribute by gunicorn's name.
#[pyclass(frozen, module = "oxicorn._native")]
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_field_names,
    reason = "the settings themselves, and what is known about them"
)]
pub(crate) struct Config {
    pub(crate) config: Arc<settings::Config>,
    warnings: Vec<settings::Warning>,
    /// Whether a script said it, which is more of the program than the package.
    pub(crate) scripted: bool,
    /// What a script said, if one did.
    arguments: Option<Arc<Py<PyDict>>>,
    /// What it was made of beside the environment and the command line.
    pub(crate) layers: Arc<Layers>,
    /// The certificates, once they are read.
    pub(crate) tls: tls::Stock,
}

#[pymethods]
impl Config {
    /// What should be said about the configuration, though it is valid.
    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.warnings.iter().map(ToString::to_string).collect()
    }

    /// What was set though it does nothing here, with the reasons.
    #[getter]
    fn idle(&self) -> Vec<String> {
        self.config.idle()
    }

    /// What stands for something else than it says.
    #[getter]
    fn notices(&self) -> Vec<String> {
        self.config.notices()
    }

    /// Those of them that are about names in files that are no settings.
    #[getter]
    fn unknown_names(&self) -> Vec<String> {
        let unknown = self.warnings.iter().filter(|one| one.is_unknown_name());
        unknown.map(ToString::to_string).collect()
    }

    /// What to serve: `MODULE[:VARIABLE]`, or a `PasteDeploy` file.
    #[getter]
    fn app(&self) -> Option<String> {
        let paste = self.config.paste.as_ref();
        paste.or(self.config.wsgi_app.as_ref()).cloned()
    }

    /// Whether Python writes the logs.
    #[getter]
    fn logs_through_python(&self) -> bool {
        self.config.logs_through_python()
    }

    /// Reads the files of TLS, as the user that this process is; names may be relative to `directory`. What is doubtful in them.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "values converted from Python belong to the call"
    )]
    fn read_certificates(&self, directory: PathBuf) -> PyResult<Vec<String>> {
        let shelf = tls::stock(&self.config, &directory);
        if let Some(shelf) = shelf.map_err(|problem| ConfigError::new_err(problem.to_string()))? {
            self.tls.get_or_init(|| Arc::new(shelf));
        }
        Ok(tls::doubts(&self.tls))
    }

    /// The name of every setting.
    #[staticmethod]
    fn names() -> Vec<&'static str> {
        settings::table::settings()
            .map(|setting| setting.name)
            .collect()
    }

    /// `--print-config`.
    fn report(&self) -> String {
        self.config.report()
    }

    fn __getattr__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let value = match name {
            // In force may be another class than was asked for: `sync` with several threads.
            "worker_class" => Some(settings::Value::text(self.config.worker_class.name())),
            _ => self.config.value(name),
        };
        if value.as_ref().is_some_and(|value| !value.is_plain()) {
            return self.object(py, name);
        }
        match value {
            Some(value) => to_object(py, &value),
            None => Err(PyAttributeError::new_err(format!(
                "there is no setting '{name}'"
            ))),
        }
    }
}
