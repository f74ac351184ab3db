//! A dict that each request has for itself. Making one for each costs as much as the rest of the scope, and most requests only
//! read it: so it is given to the next request if the last one has let go of it, and left it as it was. Invariant: a request
//! that changes its dict changes nobody else's.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::ffi;

/// The dict of one key in one template.
#[derive(Debug)]
pub(crate) struct Own {
    key: Py<PyString>,
    /// What a request's is like.
    like: Py<PyDict>,
    /// What the next request gets.
    given: Py<PyDict>,
}

/// References to the dict that nobody has: ours, and the template's.
const UNUSED: usize = 2;

impl Own {
    /// Puts a copy of `like` into `template`.
    pub(crate) fn new(
        template: &Bound<'_, PyDict>,
        key: &Bound<'_, PyString>,
        like: &Py<PyDict>,
    ) -> PyResult<Self> {
        let py = template.py();
        let given = like.bind(py).copy()?;
        template.set_item(key, &given)?;
        Ok(Self {
            key: key.clone().unbind(),
            like: like.clone_ref(py),
            given: given.unbind(),
        })
    }

    /// Sees to it that the one in `template`, which is about to be copied, is nobody's.
    pub(crate) fn renew(&mut self, template: &Bound<'_, PyDict>) -> PyResult<()> {
        let py = template.py();
        let (given, like) = (self.given.bind(py), self.like.bind(py));
        if ffi::references(given.as_any()) == UNUSED && ffi::same_items(given, like) {
            return Ok(());
        }
        let fresh = like.copy()?;
        template.set_item(&self.key, &fresh)?;
        self.given = fresh.unbind();
        Ok(())
    }
}
