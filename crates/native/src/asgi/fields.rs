//! Request fields as an ASGI scope has them: tuples of a lower-case name and a value, both `bytes`. Clients send the same fields
//! in the same order, mostly with the same values, so each field first looks at what followed its predecessor the last time,
//! and one that has not changed is the same tuple again. Invariant: credentials are never kept, and the cache is bounded.

use oxicorn_engine::Exchange;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

/// Names kept; a client that sends random names must not fill memory.
const NAMES: usize = 256;

/// Bytes of the longest name and value kept.
const NAME_KEPT: usize = 64;
const VALUE_KEPT: usize = 256;

/// Fields whose values are never kept.
const SECRETS: [&[u8]; 3] = [b"cookie", b"authorization", b"proxy-authorization"];

#[derive(Debug)]
struct Entry {
    /// As received.
    name: Box<[u8]>,
    lower: Py<PyBytes>,
    secret: bool,
    value: Vec<u8>,
    pair: Option<Py<PyTuple>>,
    /// The entry that came next the last time.
    next: usize,
}

/// The cache of one worker.
#[derive(Debug)]
pub(crate) struct Fields {
    /// The first one stands before the first field of a request.
    entries: Vec<Entry>,
    /// Of the request at hand, between two requests empty.
    pairs: Vec<Py<PyTuple>>,
}

impl Fields {
    pub(crate) fn new(py: Python<'_>) -> Self {
        Self {
            entries: vec![Entry::new(py, b"")],
            pairs: Vec::new(),
        }
    }

    /// The list of all fields of a request, in their order.
    pub(crate) fn list<'py>(
        &mut self,
        py: Python<'py>,
        exchange: &Exchange,
    ) -> PyResult<Bound<'py, PyList>> {
        let bytes = exchange.bytes();
        let mut last = 0;
        for field in &exchange.head.fields {
            let (name, value) = (field.name.of(bytes), field.value.of(bytes));
            let pair = self.pair(py, &mut last, name, value)?;
            self.pairs.push(pair.unbind());
        }
        PyList::new(py, self.pairs.drain(..))
    }

    fn pair<'py>(
        &mut self,
        py: Python<'py>,
        last: &mut usize,
        name: &[u8],
        value: &[u8],
    ) -> PyResult<Bound<'py, PyTuple>> {
        let Some(at) = self.find(py, *last, name) else {
            return pair(py, PyBytes::new(py, &name.to_ascii_lowercase()), value);
        };
        *last = at;
        let Some(entry) = self.entries.get_mut(at) else {
            return pair(py, PyBytes::new(py, &name.to_ascii_lowercase()), value);
        };
        if let Some(known) = entry.pair.as_ref().filter(|_| entry.value == value) {
            return Ok(known.bind(py).clone());
        }
        let made = pair(py, entry.lower.bind(py).clone(), value)?;
        if !entry.secret && value.len() <= VALUE_KEPT {
            entry.value.clear();
            entry.value.extend_from_slice(value);
            entry.pair = Some(made.clone().unbind());
        }
        Ok(made)
    }

    /// The entry of `name`, which follows that at `last`. `None`: it is not kept.
    fn find(&mut self, py: Python<'_>, last: usize, name: &[u8]) -> Option<usize> {
        let predicted = self.entries.get(last).map_or(0, |entry| entry.next);
        if predicted != 0 && self.is_named(predicted, name) {
            return Some(predicted);
        }
        let known = (1..self.entries.len()).find(|&at| self.is_named(at, name));
        let at = known.or_else(|| self.learn(py, name))?;
        if let Some(entry) = self.entries.get_mut(last) {
            entry.next = at;
        }
        Some(at)
    }

    fn is_named(&self, at: usize, name: &[u8]) -> bool {
        self.entries
            .get(at)
            .is_some_and(|entry| *entry.name == *name)
    }

    fn learn(&mut self, py: Python<'_>, name: &[u8]) -> Option<usize> {
        if self.entries.len() > NAMES || name.len() > NAME_KEPT {
            return None;
        }
        self.entries.push(Entry::new(py, name));
        Some(self.entries.len() - 1)
    }
}

impl Entry {
    fn new(py: Python<'_>, name: &[u8]) -> Self {
        let lower = name.to_ascii_lowercase();
        Self {
            secret: SECRETS.contains(&lower.as_slice()),
            lower: PyBytes::new(py, &lower).unbind(),
            name: name.into(),
            value: Vec::new(),
            pair: None,
            next: 0,
        }
    }
}

fn pair<'py>(
    py: Python<'py>,
    name: Bound<'py, PyBytes>,
    value: &[u8],
) -> PyResult<Bound<'py, PyTuple>> {
    PyTuple::new(py, [name, PyBytes::new(py, value)])
}
