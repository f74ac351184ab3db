//! Python objects to settings values and back. Invariant: what is not plain data becomes [`Value::Opaque`] with a name for
//! it, so that the settings table can say what it does not take.

use oxicorn_settings::Value;
use pyo3::prelude::*;
use pyo3::types::{
    PyAny, PyBool, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple, PyType,
};

/// A value of a configuration file.
pub(crate) fn to_value(object: &Bound<'_, PyAny>) -> PyResult<Value> {
    if object.is_none() {
        return Ok(Value::None);
    }
    if let Ok(flag) = object.cast::<PyBool>() {
        return Ok(Value::Bool(flag.is_true()));
    }
    if object.cast::<PyInt>().is_ok() {
        return Ok(object.extract().map_or_else(
            |_| Value::Opaque("a number out of range".to_owned()),
            Value::Int,
        ));
    }
    if let Ok(number) = object.cast::<PyFloat>() {
        return Ok(Value::Float(number.value()));
    }
    if let Ok(text) = object.cast::<PyString>() {
        return Ok(Value::Text(text.to_string_lossy().into_owned()));
    }
    if let Ok(dict) = object.cast::<PyDict>() {
        let entry = |(key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
            Ok((key.str()?.to_string_lossy().into_owned(), to_value(&value)?))
        };
        return dict
            .iter()
            .map(entry)
            .collect::<PyResult<_>>()
            .map(Value::Dict);
    }
    if is_collection(object) {
        let items = object.try_iter()?.map(|item| to_value(&item?));
        return items.collect::<PyResult<_>>().map(Value::List);
    }
    Ok(Value::Opaque(kind_of(object)?))
}

fn is_collection(object: &Bound<'_, PyAny>) -> bool {
    object.cast::<PyList>().is_ok()
        || object.cast::<PyTuple>().is_ok()
        || object.cast::<PySet>().is_ok()
        || object.cast::<PyFrozenSet>().is_ok()
}

fn kind_of(object: &Bound<'_, PyAny>) -> PyResult<String> {
    if let Ok(class) = object.cast::<PyType>() {
        return Ok(format!("class {}", class.name()?));
    }
    if let Some(place) = place_of(object)? {
        return Ok(place);
    }
    Ok(object.get_type().name()?.to_string_lossy().into_owned())
}

/// A function with the place where it is written: `function post_fork at gunicorn.conf.py:12`.
fn place_of(object: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    let Some(code) = object.getattr_opt("__code__")? else {
        return Ok(None);
    };
    let name = object.getattr("__qualname__")?;
    let (file, line) = (
        code.getattr("co_filename")?,
        code.getattr("co_firstlineno")?,
    );
    Ok(Some(format!("function {name} at {file}:{line}")))
}

/// A settings value as the Python object that a configuration file would hold.
pub(crate) fn to_object<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::None => py.None().into_bound(py),
        Value::Bool(flag) => PyBool::new(py, *flag).to_owned().into_any(),
        Value::Int(number) => number.into_pyobject(py)?.into_any(),
        Value::Float(number) => PyFloat::new(py, *number).into_any(),
        Value::Text(text) | Value::Opaque(text) => PyString::new(py, text).into_any(),
        Value::List(items) => {
            let items: Vec<_> = items
                .iter()
                .map(|item| to_object(py, item))
                .collect::<PyResult<_>>()?;
            PyList::new(py, items)?.into_any()
        }
        Value::Dict(entries) => {
            let dict = PyDict::new(py);
            for (key, value) in entries {
                dict.set_item(key, to_object(py, value)?)?;
            }
            dict.into_any()
        }
    })
}
