//! From field names to environ keys, and the last value of each. Clients send the same fields in the same order, mostly with
//! the same values, so each field first looks at what followed its predecessor the last time, and a value that has not
//! changed is the same `str` again. Invariant: credentials are never kept, and the cache is bounded.

use pyo3::prelude::*;
use pyo3::types::{PyAny, PyString};

use crate::ffi;

/// Names kept; a client that sends random names must not fill memory.
const NAMES: usize = 256;

/// Bytes of the longest name and value kept.
const NAME_KEPT: usize = 64;
const VALUE_KEPT: usize = 256;

/// Index of the entry before the first field.
const START: usize = 0;

#[derive(Debug)]
struct Entry {
    name: Box<[u8]>,
    key: Py<PyString>,
    /// Never keep its values.
    secret: bool,
    value: Vec<u8>,
    object: Option<Py<PyString>>,
    /// The entry that came next the last time.
    next: usize,
    /// The first entry with the same key: names that differ in case only are one field, and so may others be.
    canonical: usize,
    /// The request that last had this field (of the canonical entry).
    seen: u64,
}

/// One thread's cache.
#[derive(Debug)]
pub(crate) struct Names {
    entries: Vec<Entry>,
    request: u64,
    last: usize,
    /// This request had a name that is not kept, so its key may be set without an entry knowing.
    loose: bool,
}

/// Where a field belongs.
pub(crate) enum Slot {
    /// A known name: its index.
    Known(usize),
    /// The cache is full, or the name too long: the key, made for this once.
    Fresh(Py<PyString>),
}

impl Names {
    pub(crate) fn new(py: Python<'_>) -> Self {
        let start = Entry {
            name: Box::default(),
            key: PyString::intern(py, "").unbind(),
            secret: true,
            value: Vec::new(),
            object: None,
            next: START,
            canonical: START,
            seen: 0,
        };
        Self {
            entries: vec![start],
            request: 0,
            last: START,
            loose: false,
        }
    }

    /// A new request begins.
    pub(crate) fn begin(&mut self) {
        self.request += 1;
        self.last = START;
        self.loose = false;
    }

    /// Finds the slot of a field name.
    pub(crate) fn slot(&mut self, py: Python<'_>, name: &[u8]) -> PyResult<Slot> {
        let predicted = self
            .entries
            .get(self.last)
            .map_or(START, |entry| entry.next);
        if predicted != START
            && self
                .entries
                .get(predicted)
                .is_some_and(|entry| *entry.name == *name)
        {
            self.last = predicted;
            return Ok(Slot::Known(predicted));
        }
        let found = self
            .entries
            .iter()
            .skip(1)
            .position(|entry| *entry.name == *name);
        let index = match found {
            Some(position) => position + 1,
            None if name.len() <= NAME_KEPT => {
                if self.entries.len() >= NAMES {
                    self.forget();
                }
                self.learn(py, name)?
            }
            None => {
                self.loose = true;
                return Ok(Slot::Fresh(ffi::latin1(py, &environ_name(name))?.unbind()));
            }
        };
        if let Some(entry) = self.entries.get_mut(self.last) {
            entry.next = index;
        }
        self.last = index;
        Ok(Slot::Known(index))
    }

    /// A client with many made-up names must not keep the cache from the others: it begins anew.
    fn forget(&mut self) {
        self.entries.truncate(1);
        self.last = START;
        self.loose = true;
        if let Some(start) = self.entries.first_mut() {
            start.next = START;
        }
    }

    fn learn(&mut self, py: Python<'_>, name: &[u8]) -> PyResult<usize> {
        let secret = [&b"cookie"[..], b"authorization", b"proxy-authorization"]
            .iter()
            .any(|secret| name.eq_ignore_ascii_case(secret));
        let key = environ_name(name);
        let same_key = |entry: &Entry| *entry.name != *b"" && environ_name(&entry.name) == key;
        let canonical = self
            .entries
            .iter()
            .position(same_key)
            .unwrap_or(self.entries.len());
        // Field names are ASCII tokens, so this is the text itself.
        let key = PyString::intern(py, &String::from_utf8(key)?).unbind();
        self.entries.push(Entry {
            name: name.into(),
            key,
            secret,
            value: Vec::new(),
            object: None,
            next: START,
            canonical,
            seen: 0,
        });
        Ok(self.entries.len() - 1)
    }

    /// Whether this is the field's first line in this request; from now on it is not.
    pub(crate) fn first(&mut self, index: usize) -> bool {
        let request = self.request;
        let canonical = self
            .entries
            .get(index)
            .map_or(START, |entry| entry.canonical);
        let entry = self.entries.get_mut(canonical);
        entry.is_some_and(|entry| std::mem::replace(&mut entry.seen, request) != request)
    }

    /// Whether the environ itself must be asked if a key is set.
    pub(crate) fn is_loose(&self) -> bool {
        self.loose
    }

    /// The environ key.
    pub(crate) fn key(&self, index: usize) -> Option<&Py<PyString>> {
        self.entries.get(index).map(|entry| &entry.key)
    }

    /// The value as `str`: the last one if it is the same.
    pub(crate) fn value<'py>(
        &mut self,
        py: Python<'py>,
        index: usize,
        value: &[u8],
    ) -> PyResult<Bound<'py, PyAny>> {
        let Some(entry) = self.entries.get_mut(index) else {
            return Ok(ffi::latin1(py, value)?.into_any());
        };
        if let Some(object) = entry.object.as_ref().filter(|_| entry.value == value) {
            return Ok(object.bind(py).clone().into_any());
        }
        let text = ffi::latin1(py, value)?;
        if !entry.secret && value.len() <= VALUE_KEPT {
            entry.value.clear();
            entry.value.extend_from_slice(value);
            entry.object = Some(text.clone().unbind());
        }
        Ok(text.into_any())
    }
}

/// `Content-Type` → `CONTENT_TYPE`, `X-Id` → `HTTP_X_ID` (RFC 3875 §4.1.18).
fn environ_name(name: &[u8]) -> Vec<u8> {
    let bare =
        name.eq_ignore_ascii_case(b"content-type") || name.eq_ignore_ascii_case(b"content-length");
    let mut key = Vec::with_capacity(name.len() + 5);
    if !bare {
        key.extend_from_slice(b"HTTP_");
    }
    key.extend(name.iter().map(|&byte| {
        if byte == b'-' {
            b'_'
        } else {
            byte.to_ascii_uppercase()
        }
    }));
    key
}
