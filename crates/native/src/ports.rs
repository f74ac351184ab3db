//! Python objects made from a client's address, found again by its port: a connection that stays open asks again. Invariant: at
//! most [`PLACES`] are kept, and what is returned was made from the address that was asked for.

use std::fmt;

use pyo3::prelude::*;

const PLACES: usize = 1024;

/// One object for each port that was seen last, with what it was made from.
pub(crate) struct Ports<K, T> {
    places: Vec<Option<(K, Py<T>)>>,
}

impl<K, T> fmt::Debug for Ports<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").finish_non_exhaustive()
    }
}

impl<K, T> Default for Ports<K, T> {
    fn default() -> Self {
        Self {
            places: std::iter::repeat_with(|| None).take(PLACES).collect(),
        }
    }
}

impl<K: PartialEq, T> Ports<K, T> {
    /// The object of `from`, an address with this port, or what `make` makes.
    pub(crate) fn find<'py>(
        &mut self,
        py: Python<'py>,
        port: u16,
        from: K,
        make: impl FnOnce() -> PyResult<Bound<'py, T>>,
    ) -> PyResult<Bound<'py, T>> {
        let place = self.places.get_mut(usize::from(port) % PLACES);
        if let Some(Some((known, object))) = &place
            && *known == from
        {
            return Ok(object.bind(py).clone());
        }
        let object = make()?;
        if let Some(place) = place {
            *place = Some((from, object.clone().unbind()));
        }
        Ok(object)
    }
}
