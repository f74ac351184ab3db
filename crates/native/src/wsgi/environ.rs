//! The environ of a request (PEP 3333, with gunicorn's additional keys). Most of it is a copy of a template made once per
//! listener; the rest is built from the exchange's bytes, reusing strings that have not changed since the last request.
//! Invariant: every value is a native `str` with code points below 256, or what PEP 3333 says of the `wsgi.*` keys.

use oxicorn_engine::{Body, Exchange, Peer, Scheme, percent_decoded};
use oxicorn_http1::Version;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyString};

use crate::ffi;
use crate::interned::Interned;
use crate::wsgi::Setup;
use crate::wsgi::input;
use crate::wsgi::names::{Names, Slot};

/// A `str` and the bytes it was made from.
#[derive(Debug, Default)]
struct Last {
    bytes: Vec<u8>,
    text: Option<Py<PyString>>,
}

impl Last {
    fn text<'py>(&mut self, py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        if let Some(text) = self.text.as_ref().filter(|_| self.bytes == bytes) {
            return Ok(text.bind(py).clone().into_any());
        }
        let text = ffi::latin1(py, bytes)?;
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
        self.text = Some(text.clone().unbind());
        Ok(text.into_any())
    }
}

/// The strings of one client address.
#[derive(Debug)]
struct PeerTexts {
    peer: Peer,
    address: Py<PyString>,
    port: Option<Py<PyString>>,
}

/// Clients whose address strings are kept, by port.
const PEERS: usize = 256;

/// Why no environ could be made.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Python could not make an object.
    Python(PyErr),
    /// A trusted proxy's `SCRIPT_NAME` is not a prefix of the path.
    ScriptName,
}

impl From<PyErr> for Refused {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

/// Builds environs; one for each application thread.
#[derive(Debug)]
pub(crate) struct Environs {
    interned: Interned,
    /// One for each listener.
    templates: Vec<Py<PyDict>>,
    /// Listeners that are Unix sockets name the server by the Host field.
    unix: Vec<bool>,
    names: Names,
    target: Last,
    path: Last,
    peers: Vec<Option<PeerTexts>>,
    script_name: Vec<u8>,
    casefold: bool,
}

impl Environs {
    pub(crate) fn new(py: Python<'_>, setup: Setup) -> Self {
        let (templates, unix) = setup.templates.into_iter().unzip();
        Self {
            interned: Interned::new(py),
            templates,
            unix,
            names: Names::new(py),
            target: Last::default(),
            path: Last::default(),
            peers: (0..PEERS).map(|_| None).collect(),
            script_name: setup.script_name.into_bytes(),
            casefold: setup.casefold,
        }
    }

    /// How many templates there are: each holds a reference to what [`Environs::set`] put there.
    pub(crate) fn count(&self) -> usize {
        self.templates.len()
    }

    /// Sets a key in every template.
    pub(crate) fn set(&self, py: Python<'_>, key: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.templates
            .iter()
            .try_for_each(|template| template.bind(py).set_item(key, value))
    }

    /// The environ of `exchange`. Takes the body out of it.
    pub(crate) fn build<'py>(
        &mut self,
        py: Python<'py>,
        exchange: &mut Exchange,
    ) -> Result<Bound<'py, PyDict>, Refused> {
        let Some(template) = self.templates.get(exchange.listener) else {
            return Ok(PyDict::new(py));
        };
        let environ = template.bind(py).copy()?;
        self.set_request_line(&environ, exchange)?;
        self.set_peer(&environ, exchange.peer)?;
        let script_name = self.set_fields(&environ, exchange)?;
        self.set_path(&environ, exchange, script_name.as_deref())?;
        if exchange.scheme == Scheme::Https {
            ffi::set_item(
                &environ,
                &self.interned.url_scheme,
                self.interned.https.bind(py),
            )?;
        }
        if self.unix.get(exchange.listener) == Some(&true) {
            self.set_server_from_host(&environ, exchange)?;
        }
        if !matches!(exchange.body, Body::Empty) {
            let body = input::stream(py, exchange)?;
            ffi::set_item(&environ, &self.interned.input, &body)?;
        }
        Ok(environ)
    }

    fn set_request_line(
        &mut self,
        environ: &Bound<'_, PyDict>,
        exchange: &Exchange,
    ) -> PyResult<()> {
        let py = environ.py();
        let (head, bytes, names) = (&exchange.head, exchange.bytes(), &self.interned);
        let method = head.method.of(bytes);
        match names.method(method) {
            Some(known) => ffi::set_item(environ, &names.request_method, known.bind(py))?,
            None if self.casefold => {
                let method = ffi::latin1(py, &method.to_ascii_uppercase())?;
                ffi::set_item(environ, &names.request_method, &method)?;
            }
            None => ffi::set_item(environ, &names.request_method, &ffi::latin1(py, method)?)?,
        }
        let raw_uri = self.target.text(py, head.target.of(bytes))?;
        ffi::set_item(environ, &names.raw_uri, &raw_uri)?;
        let query = head.query.of(bytes);
        if !query.is_empty() {
            ffi::set_item(environ, &names.query_string, &ffi::latin1(py, query)?)?;
        }
        if head.version == Version::Http10 {
            ffi::set_item(environ, &names.server_protocol, names.http10.bind(py))?;
        }
        Ok(())
    }

    fn set_peer(&mut self, environ: &Bound<'_, PyDict>, peer: Peer) -> PyResult<()> {
        let py = environ.py();
        let Peer::Ip(address) = peer else {
            return Ok(());
        };
        let Some(slot) = self.peers.get_mut(usize::from(address.port()) % PEERS) else {
            return Ok(());
        };
        let texts = match slot {
            Some(texts) if texts.peer == peer => texts,
            _ => {
                let text = |text: String| PyString::new(py, &text).unbind();
                let port = Some(text(address.port().to_string()));
                slot.insert(PeerTexts {
                    peer,
                    address: text(address.ip().to_string()),
                    port,
                })
            }
        };
        ffi::set_item(environ, &self.interned.remote_addr, texts.address.bind(py))?;
        match &texts.port {
            Some(port) => ffi::set_item(environ, &self.interned.remote_port, port.bind(py)),
            None => Ok(()),
        }
    }

    /// The `HTTP_*` keys. Returns a trusted proxy's `SCRIPT_NAME`.
    fn set_fields(
        &mut self,
        environ: &Bound<'_, PyDict>,
        exchange: &Exchange,
    ) -> PyResult<Option<Vec<u8>>> {
        let py = environ.py();
        let (head, bytes) = (&exchange.head, exchange.bytes());
        let mut script_name = None;
        self.names.begin();
        for field in &head.fields {
            let (name, value) = (field.name.of(bytes), field.value.of(bytes));
            if name.len() == 11 && name.eq_ignore_ascii_case(b"script_name") {
                script_name = Some(value.to_vec());
                continue;
            }
            self.set_field(environ, name, value)?;
        }
        if let Some(authority) = head.authority {
            // An absolute target's authority replaces the Host field (RFC 9112 §3.2.2).
            let host = ffi::latin1(py, authority.of(bytes))?;
            ffi::set_item(environ, &self.interned.http_host, &host)?;
        }
        Ok(script_name)
    }

    fn set_field(
        &mut self,
        environ: &Bound<'_, PyDict>,
        name: &[u8],
        value: &[u8],
    ) -> PyResult<()> {
        let py = environ.py();
        match self.names.slot(py, name)? {
            Slot::Known(index) => {
                let repeated = !self.names.first(index);
                let text = self.names.value(py, index, value)?;
                let Some(key) = self.names.key(index) else {
                    return Ok(());
                };
                if repeated || (self.names.is_loose() && environ.contains(key)?) {
                    return self.join(environ, key, &text);
                }
                ffi::set_item(environ, key, &text)
            }
            Slot::Fresh(key) => {
                let text = ffi::latin1(py, value)?.into_any();
                if environ.contains(&key)? {
                    return self.join(environ, &key, &text);
                }
                ffi::set_item(environ, &key, &text)
            }
        }
    }

    /// Repeated fields are one value, joined by commas, as gunicorn does (RFC 9110 §5.3).
    fn join(
        &self,
        environ: &Bound<'_, PyDict>,
        key: &Py<PyString>,
        text: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = environ.py();
        match environ.get_item(key)? {
            Some(earlier) => {
                let joined = earlier.add(self.interned.comma.bind(py))?.add(text)?;
                ffi::set_item(environ, key, &joined)
            }
            None => ffi::set_item(environ, key, text),
        }
    }

    fn set_path(
        &mut self,
        environ: &Bound<'_, PyDict>,
        exchange: &Exchange,
        script_name: Option<&[u8]>,
    ) -> Result<(), Refused> {
        let py = environ.py();
        let path = exchange.head.path_of(exchange.bytes());
        let prefix = script_name.unwrap_or(&self.script_name);
        if prefix.is_empty() {
            let text = if path.contains(&b'%') {
                ffi::latin1(py, &percent_decoded(path))?.into_any()
            } else {
                self.path.text(py, path)?
            };
            ffi::set_item(environ, &self.interned.path_info, &text)?;
            return Ok(());
        }
        let decoded = percent_decoded(path);
        let rest = decoded.strip_prefix(prefix).ok_or(Refused::ScriptName)?;
        ffi::set_item(
            environ,
            &self.interned.script_name,
            &ffi::latin1(py, prefix)?,
        )?;
        ffi::set_item(environ, &self.interned.path_info, &ffi::latin1(py, rest)?)?;
        Ok(())
    }

    fn set_server_from_host(
        &self,
        environ: &Bound<'_, PyDict>,
        exchange: &Exchange,
    ) -> PyResult<()> {
        let py = environ.py();
        let host = exchange
            .head
            .host
            .map(|host| host.of(exchange.bytes()))
            .unwrap_or_default();
        let colon = host.iter().rposition(|&byte| byte == b':');
        let colon = colon.filter(|&at| !host.get(at..).unwrap_or_default().contains(&b']'));
        let (name, port) = match colon {
            Some(at) => (
                host.get(..at).unwrap_or_default(),
                host.get(at + 1..).unwrap_or_default(),
            ),
            None if exchange.scheme == Scheme::Https => (host, &b"443"[..]),
            None => (host, &b"80"[..]),
        };
        ffi::set_item(environ, &self.interned.server_name, &ffi::latin1(py, name)?)?;
        ffi::set_item(environ, &self.interned.server_port, &ffi::latin1(py, port)?)
    }
}
