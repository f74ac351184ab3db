//! The environ of a request (PEP 3333, with gunicorn's additional keys). Each listener has a template dict with every key
//! that every request has. It always describes the last request: only what has changed since is set in it, then it is
//! copied, and the request's own fields are added to the copy. So a proxy's or a benchmark's many like requests cost little,
//! and others no more than setting the keys in the copy would. Invariant: every value is a native `str` with code points
//! below 256, or what PEP 3333 says of the `wsgi.*` keys.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use oxicorn_engine::{Body, Exchange, Peer, Scheme};
use oxicorn_http1::Version;
use pyo3::prelude::*;
use pyo3::types::{PyAny, PyDict, PyString};

use crate::ffi;
use crate::interned::Interned;
use crate::last::Last;
use crate::ports::Ports;
use crate::wsgi::Setup;
use crate::wsgi::names::{Names, Slot};
use crate::wsgi::{front, input};

/// One listener's dict, and what its entries were last made from.
#[derive(Debug)]
struct Template {
    dict: Py<PyDict>,
    /// Listeners that are Unix sockets name the server by the Host field.
    unix: bool,
    /// The request line, which says all of what follows up to the version.
    line: Last,
    method: Last,
    target: Last,
    path: Last,
    query: Last,
    version: Version,
    scheme: Scheme,
    address: Option<IpAddr>,
    port: Option<u16>,
}

/// Builds environs; one for each application thread.
#[derive(Debug)]
pub(crate) struct Environs {
    interned: Interned,
    /// One for each listener.
    templates: Vec<Template>,
    names: Names,
    ports: Ports<u16, PyString>,
    script_name: Vec<u8>,
    casefold: bool,
}

impl Template {
    fn new(dict: Py<PyDict>, unix: bool) -> Self {
        Self {
            dict,
            unix,
            line: Last::default(),
            method: Last::default(),
            target: Last::default(),
            path: Last::default(),
            query: Last::default(),
            version: Version::Http11,
            scheme: Scheme::Http,
            address: None,
            port: None,
        }
    }

    /// Brings the request line's entries up to date.
    fn describe_line(
        &mut self,
        py: Python<'_>,
        names: &Interned,
        exchange: &Exchange,
        casefold: bool,
    ) -> PyResult<()> {
        let has_line = !exchange.is_packet;
        if has_line && !self.line.changes(exchange.head.line.of(exchange.bytes())) {
            return Ok(());
        }
        let described = self.describe_parts(py, names, exchange, casefold);
        if described.is_err() || !has_line {
            self.line.forget();
        }
        described
    }

    fn describe_parts(
        &mut self,
        py: Python<'_>,
        names: &Interned,
        exchange: &Exchange,
        casefold: bool,
    ) -> PyResult<()> {
        let (head, bytes) = (&exchange.head, exchange.bytes());
        let dict = self.dict.bind(py);
        let method = head.method.of(bytes);
        if self.method.changes(method) {
            match names.method(method) {
                Some(known) => ffi::set_item(dict, &names.request_method, known.bind(py))?,
                None if casefold => set(dict, &names.request_method, &method.to_ascii_uppercase())?,
                None => set(dict, &names.request_method, method)?,
            }
        }
        let target = head.target.of(bytes);
        if self.target.changes(target) {
            set(dict, &names.raw_uri, target)?;
        }
        let query = head.query.of(bytes);
        if self.query.changes(query) {
            set(dict, &names.query_string, query)?;
        }
        let path = head.path_of(bytes);
        if self.path.changes(path) {
            set(dict, &names.path_info, &exchange.path())?;
        }
        if self.version != head.version {
            self.version = head.version;
            let text = if head.version == Version::Http10 {
                &names.http10
            } else {
                &names.http11
            };
            ffi::set_item(dict, &names.server_protocol, text.bind(py))?;
        }
        Ok(())
    }

    fn describe_scheme(
        &mut self,
        py: Python<'_>,
        names: &Interned,
        scheme: Scheme,
    ) -> PyResult<()> {
        if self.scheme == scheme {
            return Ok(());
        }
        self.scheme = scheme;
        let text = if scheme == Scheme::Https {
            &names.https
        } else {
            &names.http
        };
        ffi::set_item(self.dict.bind(py), &names.url_scheme, text.bind(py))
    }
}

impl Environs {
    pub(crate) fn new(py: Python<'_>, setup: Setup) -> Self {
        let template = |(dict, unix)| Template::new(dict, unix);
        Self {
            interned: Interned::new(py),
            templates: setup.templates.into_iter().map(template).collect(),
            names: Names::new(py),
            ports: Ports::default(),
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
            .try_for_each(|template| template.dict.bind(py).set_item(key, value))
    }

    /// The environ of `exchange`. Takes the body out of it.
    pub(crate) fn build<'py>(
        &mut self,
        py: Python<'py>,
        exchange: &mut Exchange,
    ) -> PyResult<Bound<'py, PyDict>> {
        let Some(template) = self.templates.get_mut(exchange.listener) else {
            return Ok(PyDict::new(py));
        };
        template.describe_line(py, &self.interned, exchange, self.casefold)?;
        template.describe_scheme(py, &self.interned, exchange.scheme)?;
        let unix = template.unix;
        self.describe_peer(py, exchange)?;
        let Some(template) = self.templates.get(exchange.listener) else {
            return Ok(PyDict::new(py));
        };
        let environ = template.dict.bind(py).copy()?;
        let script_name = self.set_fields(&environ, exchange)?;
        if unix {
            self.set_server_from_host(&environ, exchange)?;
        }
        let script_name = if exchange.is_packet {
            front::set_parameters(&environ, exchange)?
        } else {
            front::set_origin(&environ, exchange)?;
            script_name
        };
        self.set_script_name(&environ, exchange, script_name.as_deref())?;
        if !matches!(exchange.body, Body::Empty) {
            let body = input::stream(py, exchange)?;
            ffi::set_item(&environ, &self.interned.input, &body)?;
        }
        Ok(environ)
    }

    fn describe_peer(&mut self, py: Python<'_>, exchange: &Exchange) -> PyResult<()> {
        let Some(template) = self.templates.get_mut(exchange.listener) else {
            return Ok(());
        };
        let dict = template.dict.bind(py);
        let Peer::Ip(peer) = exchange.peer else {
            if template.address.take().is_some() {
                // The last client had an address, by a PROXY header or a packet.
                template.port = None;
                set(dict, &self.interned.remote_addr, b"")?;
                dict.del_item(&self.interned.remote_port)?;
            }
            return Ok(());
        };
        if template.address != Some(peer.ip()) {
            template.address = Some(peer.ip());
            set(
                dict,
                &self.interned.remote_addr,
                peer.ip().to_string().as_bytes(),
            )?;
        }
        if template.port == Some(peer.port()) {
            return Ok(());
        }
        template.port = Some(peer.port());
        let make = || Ok(PyString::new(py, &peer.port().to_string()));
        let text = self.ports.find(py, peer.port(), peer.port(), make)?;
        ffi::set_item(dict, &self.interned.remote_port, &text)
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

    /// What is mounted below a prefix sees its own path (PEP 3333 `SCRIPT_NAME`). A path without the prefix is left as it is:
    /// the proxy has taken it off.
    fn set_script_name(
        &self,
        environ: &Bound<'_, PyDict>,
        exchange: &Exchange,
        script_name: Option<&[u8]>,
    ) -> PyResult<()> {
        let prefix = script_name.unwrap_or(&self.script_name);
        if prefix.is_empty() {
            return Ok(());
        }
        set(environ, &self.interned.script_name, prefix)?;
        match exchange.path().strip_prefix(prefix) {
            Some(rest) => set(environ, &self.interned.path_info, rest),
            None => Ok(()),
        }
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

/// One [`Environs`] for all the greenlets of a worker. Invariant: building an environ may run code of the application (the
/// garbage collector's), and so let another greenlet come here; that one gets an `Environs` of its own.
#[derive(Debug)]
pub(crate) struct SharedEnvirons {
    setup: Setup,
    spare: Mutex<Option<Environs>>,
}

impl SharedEnvirons {
    pub(crate) fn new(setup: Setup) -> Self {
        Self {
            setup,
            spare: Mutex::new(None),
        }
    }

    /// What it was made with.
    pub(crate) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// As [`Environs::build`].
    pub(crate) fn build<'py>(
        &self,
        py: Python<'py>,
        exchange: &mut Exchange,
    ) -> PyResult<Bound<'py, PyDict>> {
        let spare = self.spare().take();
        let mut environs = match spare {
            Some(spare) => spare,
            None => Environs::new(py, self.setup.copied(py)?),
        };
        let environ = environs.build(py, exchange);
        let superfluous = self.spare().replace(environs);
        drop(superfluous);
        environ
    }

    fn spare(&self) -> MutexGuard<'_, Option<Environs>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn set(dict: &Bound<'_, PyDict>, key: &Py<PyString>, value: &[u8]) -> PyResult<()> {
    ffi::set_item(dict, key, &ffi::latin1(dict.py(), value)?)
}
