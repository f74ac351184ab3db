//! Strings that are made once. Invariant: everything in here is immortal for the process, so borrowing is always enough.

use pyo3::prelude::*;
use pyo3::types::PyString;

/// The environ keys and values that every request needs.
#[derive(Debug)]
pub(crate) struct Interned {
    pub(crate) request_method: Py<PyString>,
    pub(crate) raw_uri: Py<PyString>,
    pub(crate) path_info: Py<PyString>,
    pub(crate) query_string: Py<PyString>,
    pub(crate) script_name: Py<PyString>,
    pub(crate) server_protocol: Py<PyString>,
    pub(crate) server_name: Py<PyString>,
    pub(crate) server_port: Py<PyString>,
    pub(crate) remote_addr: Py<PyString>,
    pub(crate) remote_port: Py<PyString>,
    pub(crate) url_scheme: Py<PyString>,
    pub(crate) input: Py<PyString>,
    pub(crate) http_host: Py<PyString>,
    pub(crate) http: Py<PyString>,
    pub(crate) https: Py<PyString>,
    pub(crate) http10: Py<PyString>,
    pub(crate) http11: Py<PyString>,
    pub(crate) comma: Py<PyString>,
    methods: Vec<(&'static str, Py<PyString>)>,
}

const METHODS: [&str; 8] = [
    "GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE",
];

impl Interned {
    pub(crate) fn new(py: Python<'_>) -> Self {
        let text = |text: &str| PyString::intern(py, text).unbind();
        Self {
            request_method: text("REQUEST_METHOD"),
            raw_uri: text("RAW_URI"),
            path_info: text("PATH_INFO"),
            query_string: text("QUERY_STRING"),
            script_name: text("SCRIPT_NAME"),
            server_protocol: text("SERVER_PROTOCOL"),
            server_name: text("SERVER_NAME"),
            server_port: text("SERVER_PORT"),
            remote_addr: text("REMOTE_ADDR"),
            remote_port: text("REMOTE_PORT"),
            url_scheme: text("wsgi.url_scheme"),
            input: text("wsgi.input"),
            http_host: text("HTTP_HOST"),
            http: text("http"),
            https: text("https"),
            http10: text("HTTP/1.0"),
            http11: text("HTTP/1.1"),
            comma: text(","),
            methods: METHODS
                .into_iter()
                .map(|method| (method, text(method)))
                .collect(),
        }
    }

    /// The string of a well-known method.
    pub(crate) fn method(&self, method: &[u8]) -> Option<&Py<PyString>> {
        let found = self
            .methods
            .iter()
            .find(|(known, _)| known.as_bytes() == method);
        found.map(|(_, text)| text)
    }
}
