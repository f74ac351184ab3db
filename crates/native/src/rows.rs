//! The table of settings, for Python: what there is to know of each, and whether a value can be one's. Invariant: nothing is
//! decided here; what a value may be is the table's business.

use oxicorn_settings::{self as settings, Kind, Value};
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict};

use crate::config::ConfigError;
use crate::convert::{to_object, to_value};

/// Every setting, in documentation order, as a dict: `name`, `section`, `cli` (its flags), `cli_off` (those
/// that say no), `takes` (what follows them: nothing,
/// one value, perhaps one, or one each time), `bare` (what the flag means without it), `meta`, `default`, `short`, `desc`.
#[pyfunction]
pub(crate) fn setting_rows(py: Python<'_>) -> PyResult<Vec<Bound<'_, PyDict>>> {
    let mut rows = Vec::new();
    for section in settings::table::SECTIONS {
        for row in section.rows {
            rows.push(described(py, section.title, row)?);
        }
    }
    Ok(rows)
}

fn described<'py>(
    py: Python<'py>,
    section: &str,
    row: &settings::Setting,
) -> PyResult<Bound<'py, PyDict>> {
    let described = PyDict::new(py);
    described.set_item("name", row.name)?;
    described.set_item("section", section)?;
    described.set_item("cli", row.cli)?;
    described.set_item("cli_off", row.cli_off)?;
    described.set_item("takes", takes(row))?;
    described.set_item("bare", row.cli_bare)?;
    described.set_item("meta", row.meta)?;
    described.set_item("default", to_object(py, &row.default.value())?)?;
    described.set_item("short", row.summary)?;
    described.set_item("desc", row.doc)?;
    Ok(described)
}

fn takes(row: &settings::Setting) -> &'static str {
    match row.kind {
        _ if !row.takes_value() => "nothing",
        Kind::List => "each",
        _ if row.cli_bare.is_some() => "perhaps",
        _ => "one",
    }
}

/// The value in the form that the setting has; a [`ConfigError`] says why there is none.
#[pyfunction]
pub(crate) fn check_setting<'py>(
    name: &str,
    value: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = value.py();
    let Some(row) = settings::table::find(name) else {
        return Err(PyKeyError::new_err(name.to_owned()));
    };
    let said = to_value(value)?;
    let wrong = |problem: String| ConfigError::new_err(format!("{name} = {said}: {problem}"));
    let checked = row.check(&said);
    let checked = checked.map_err(|problem| wrong(row.refusal().unwrap_or(problem)))?;
    match row.refusal() {
        Some(refusal) if checked != row.default.value() => Err(wrong(refusal)),
        _ if matches!(checked, Value::Opaque(_)) => Ok(value.clone()),
        _ => to_object(py, &checked),
    }
}

/// The settings of a file in TOML, whose name says of which kind it is; a [`ConfigError`] says what is wrong with it.
#[pyfunction]
pub(crate) fn read_toml<'py>(
    py: Python<'py>,
    path: &str,
    text: &str,
) -> PyResult<Bound<'py, PyDict>> {
    let values = settings::read_toml(path, text).map_err(ConfigError::new_err)?;
    let found = PyDict::new(py);
    for (name, value) in values {
        found.set_item(name, to_object(py, &value)?)?;
    }
    Ok(found)
}
