//! The scope of a request (ASGI HTTP spec 2.4, "Connection Scope"), with uvicorn's values where the spec leaves room.
//! Each listener has a template dict that always describes the last request: only what has changed since is set in it, then it
//! is copied. Invariant: requests share nothing that an application has a reason to change.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use oxicorn_edge::uwsgi;
use oxicorn_engine::{Exchange, Peer, Scheme, TrustPolicy, percent_decoded};
use oxicorn_http1::Version;
use oxicorn_websocket::deflate::Policy;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use crate::asgi::fields::Fields;
use crate::asgi::own::Own;
use crate::last::Last;
use crate::ports::Ports;
use crate::tls;

/// The version of the HTTP specification that is served.
const SPEC: &str = "2.4";

/// What the server offers beyond the specification's base.
const EXTENSIONS: [&str; 3] = [
    "http.response.trailers",
    "http.response.early_hint",
    "http.response.pathsend",
];

/// What all scopes of a worker have in common.
#[derive(Debug)]
pub(crate) struct Setup {
    /// For each listener: its address, if it has one, or the path of its socket.
    pub(crate) listeners: Vec<(String, Option<u16>)>,
    /// The path below which the application lives (`root_path`).
    pub(crate) root_path: String,
    /// Whose `X-Forwarded-For` counts; without it nobody's.
    pub(crate) trust: Option<TrustPolicy>,
    /// What the lifespan left for the requests.
    pub(crate) state: Py<PyDict>,
    /// Whether methods are turned into capitals (`casefold_http_method`).
    pub(crate) casefold: bool,
    /// What is agreed to about compressing messages; `None`: nothing (`ws_per_message_deflate`).
    pub(crate) deflate: Option<Policy>,
    /// Whether requests to become a WebSocket are served as such (`ws`).
    pub(crate) websockets: bool,
    /// How long the loop may be silent while requests are inside the application.
    pub(crate) timeout: Duration,
    /// How long a request may go on when its client has left (`asgi_disconnect_grace_period`).
    pub(crate) grace: Option<Duration>,
}

/// One listener's dict, and what its entries were last made from.
#[derive(Debug)]
struct Template {
    dict: Py<PyDict>,
    /// The request line, which says all of what follows up to the version.
    line: Last,
    method: Last,
    path: Last,
    query: Last,
    version: Version,
    scheme: Scheme,
    client: Option<SocketAddr>,
    extensions: Own,
    state: Own,
}

/// Makes scopes.
#[derive(Debug)]
pub(crate) struct Scopes {
    templates: Vec<Template>,
    clients: Clients,
    fields: Fields,
    extensions: Py<PyDict>,
    setup: Setup,
}

impl Scopes {
    pub(crate) fn new(py: Python<'_>, setup: Setup) -> PyResult<Self> {
        let asgi = PyDict::new(py);
        asgi.set_item(intern!(py, "version"), "3.0")?;
        asgi.set_item(intern!(py, "spec_version"), SPEC)?;
        let extensions = PyDict::new(py);
        for name in EXTENSIONS {
            extensions.set_item(PyString::intern(py, name), PyDict::new(py))?;
        }
        let extensions = extensions.unbind();
        let templates = setup
            .listeners
            .iter()
            .map(|server| Template::new(py, server, &asgi, &extensions, &setup));
        Ok(Self {
            templates: templates.collect::<PyResult<_>>()?,
            clients: Clients::default(),
            fields: Fields::new(py),
            extensions,
            setup,
        })
    }

    /// The scope of `exchange`.
    pub(crate) fn build<'py>(
        &mut self,
        py: Python<'py>,
        exchange: &Exchange,
    ) -> PyResult<Bound<'py, PyDict>> {
        let Some(template) = self.templates.get_mut(exchange.listener) else {
            return Ok(PyDict::new(py));
        };
        template.describe_line(py, exchange, &self.setup)?;
        template.describe_scheme(py, exchange.scheme)?;
        template.describe_client(py, exchange, &mut self.clients)?;
        let dict = template.dict.bind(py);
        template.extensions.renew(dict)?;
        template.state.renew(dict)?;
        let scope = dict.copy()?;
        let trust = self.setup.trust.as_ref();
        if let Some(client) = trust.and_then(|trust| trust.client(exchange)) {
            scope.set_item(intern!(py, "client"), client)?;
        }
        if exchange.is_packet {
            describe_packet(&scope, exchange, &self.setup.root_path)?;
        }
        let fields = self.fields.list(py, exchange)?;
        scope.set_item(intern!(py, "headers"), fields)?;
        if exchange.tls.is_some() {
            let extensions = self.extensions.bind(py).copy()?;
            add_tls(&extensions, exchange)?;
            scope.set_item(intern!(py, "extensions"), extensions)?;
        }
        Ok(scope)
    }
}

impl Scopes {
    /// The scope of `exchange`, which asks for a WebSocket (ASGI WebSocket spec 2.4, "Connection Scope"). `protocols`: those
    /// that the client offers.
    pub(crate) fn build_websocket<'py>(
        &mut self,
        py: Python<'py>,
        exchange: &Exchange,
        protocols: &[&str],
    ) -> PyResult<Bound<'py, PyDict>> {
        let scope = self.build(py, exchange)?;
        scope.del_item(intern!(py, "method"))?;
        scope.set_item(intern!(py, "type"), intern!(py, "websocket"))?;
        let scheme = match exchange.scheme {
            Scheme::Http => intern!(py, "ws"),
            Scheme::Https => intern!(py, "wss"),
        };
        scope.set_item(intern!(py, "scheme"), scheme)?;
        scope.set_item(intern!(py, "subprotocols"), protocols)?;
        let extensions = PyDict::new(py);
        extensions.set_item(intern!(py, "websocket.http.response"), PyDict::new(py))?;
        add_tls(&extensions, exchange)?;
        scope.set_item(intern!(py, "extensions"), extensions)?;
        Ok(scope)
    }
}

fn add_tls(extensions: &Bound<'_, PyDict>, exchange: &Exchange) -> PyResult<()> {
    let Some(facts) = &exchange.tls else {
        return Ok(());
    };
    let py = extensions.py();
    extensions.set_item(intern!(py, "tls"), tls::extension(py, facts)?)
}

impl Template {
    /// The entries in uvicorn's order.
    fn new(
        py: Python<'_>,
        server: &(String, Option<u16>),
        asgi: &Bound<'_, PyDict>,
        extensions: &Py<PyDict>,
        setup: &Setup,
    ) -> PyResult<Self> {
        let dict = PyDict::new(py);
        dict.set_item(intern!(py, "type"), intern!(py, "http"))?;
        dict.set_item(intern!(py, "asgi"), asgi)?;
        dict.set_item(intern!(py, "http_version"), intern!(py, "1.1"))?;
        dict.set_item(intern!(py, "server"), (&server.0, server.1))?;
        dict.set_item(intern!(py, "client"), py.None())?;
        dict.set_item(intern!(py, "scheme"), intern!(py, "http"))?;
        dict.set_item(intern!(py, "root_path"), &setup.root_path)?;
        // A copy has room for what every request sets.
        for key in ROOM {
            dict.set_item(PyString::intern(py, key), py.None())?;
        }
        Ok(Self {
            extensions: Own::new(&dict, intern!(py, "extensions"), extensions)?,
            state: Own::new(&dict, intern!(py, "state"), &setup.state)?,
            dict: dict.unbind(),
            line: Last::default(),
            method: Last::default(),
            path: Last::default(),
            query: Last::default(),
            version: Version::Http11,
            scheme: Scheme::Http,
            client: None,
        })
    }

    /// Brings the request line's entries up to date.
    fn describe_line(
        &mut self,
        py: Python<'_>,
        exchange: &Exchange,
        setup: &Setup,
    ) -> PyResult<()> {
        let has_line = !exchange.is_packet;
        if has_line && !self.line.changes(exchange.head.line.of(exchange.bytes())) {
            return Ok(());
        }
        let described = self.describe_parts(py, exchange, setup);
        if described.is_err() || !has_line {
            self.line.forget();
        }
        described
    }

    fn describe_parts(
        &mut self,
        py: Python<'_>,
        exchange: &Exchange,
        setup: &Setup,
    ) -> PyResult<()> {
        let (head, bytes) = (&exchange.head, exchange.bytes());
        let dict = self.dict.bind(py);
        let method = head.method.of(bytes);
        if self.method.changes(method) {
            let text = String::from_utf8_lossy(method);
            if setup.casefold {
                dict.set_item(intern!(py, "method"), text.to_ascii_uppercase())?;
            } else {
                dict.set_item(intern!(py, "method"), text)?;
            }
        }
        let path = head.path_of(bytes);
        if self.path.changes(path) {
            let decoded = percent_decoded(path);
            let text = format!("{}{}", setup.root_path, String::from_utf8_lossy(&decoded));
            dict.set_item(intern!(py, "path"), text)?;
            let raw = [setup.root_path.as_bytes(), path].concat();
            dict.set_item(intern!(py, "raw_path"), PyBytes::new(py, &raw))?;
        }
        let query = head.query.of(bytes);
        if self.query.changes(query) {
            dict.set_item(intern!(py, "query_string"), PyBytes::new(py, query))?;
        }
        if self.version != head.version {
            self.version = head.version;
            let text = match head.version {
                Version::Http10 => intern!(py, "1.0"),
                Version::Http11 => intern!(py, "1.1"),
            };
            dict.set_item(intern!(py, "http_version"), text)?;
        }
        Ok(())
    }

    fn describe_scheme(&mut self, py: Python<'_>, scheme: Scheme) -> PyResult<()> {
        if self.scheme == scheme {
            return Ok(());
        }
        self.scheme = scheme;
        let text = match scheme {
            Scheme::Http => intern!(py, "http"),
            Scheme::Https => intern!(py, "https"),
        };
        self.dict.bind(py).set_item(intern!(py, "scheme"), text)
    }

    /// Clients of a Unix socket have no address.
    fn describe_client(
        &mut self,
        py: Python<'_>,
        exchange: &Exchange,
        clients: &mut Clients,
    ) -> PyResult<()> {
        let Peer::Ip(peer) = exchange.peer else {
            if self.client.take().is_some() {
                // The last client had an address, by a PROXY header or a packet.
                let nobody = py.None();
                self.dict.bind(py).set_item(intern!(py, "client"), nobody)?;
            }
            return Ok(());
        };
        if self.client == Some(peer) {
            return Ok(());
        }
        self.client = Some(peer);
        let client = clients.entry(py, peer)?;
        self.dict.bind(py).set_item(intern!(py, "client"), client)
    }
}

/// The `client` entries.
#[derive(Debug, Default)]
struct Clients {
    known: Ports<SocketAddr, PyTuple>,
    /// The address as text: many connections come from the same one.
    host: Option<(IpAddr, Py<PyString>)>,
}

impl Clients {
    /// The address and port of `peer`.
    fn entry<'py>(&mut self, py: Python<'py>, peer: SocketAddr) -> PyResult<Bound<'py, PyTuple>> {
        let Self { known, host } = self;
        let make = || (host_name(py, host, peer.ip()), peer.port()).into_pyobject(py);
        known.find(py, peer.port(), peer, make)
    }
}

/// An address as text, made anew if it is not the `last` one.
fn host_name<'py>(
    py: Python<'py>,
    last: &mut Option<(IpAddr, Py<PyString>)>,
    ip: IpAddr,
) -> Bound<'py, PyString> {
    match last {
        Some((known, name)) if *known == ip => name.bind(py).clone(),
        _ => {
            let name = PyString::new(py, &ip.to_string());
            *last = Some((ip, name.clone().unbind()));
            name
        }
    }
}

/// The entries that are set after the copy, or that have no value before the first request.
const ROOM: [&str; 5] = ["method", "path", "raw_path", "query_string", "headers"];

/// Where a packet says that the application lives (`SCRIPT_NAME`), and what is asked for there: the path with that prefix, as
/// the specification has it, whether or not the front server has taken it off.
fn describe_packet(
    scope: &Bound<'_, PyDict>,
    exchange: &Exchange,
    root_path: &str,
) -> PyResult<()> {
    let py = scope.py();
    let script_name = uwsgi::value(exchange.packet(), b"SCRIPT_NAME");
    let root = script_name.unwrap_or(root_path.as_bytes());
    let below_root = |path: &[u8]| {
        let is_below = script_name.is_some_and(|script_name| path.starts_with(script_name));
        let prefix = if is_below { b"" } else { root };
        [prefix, path].concat()
    };
    let path = below_root(&exchange.path());
    scope.set_item(intern!(py, "path"), String::from_utf8_lossy(&path))?;
    let raw = PyBytes::new(py, &below_root(exchange.raw_path()));
    scope.set_item(intern!(py, "raw_path"), raw)?;
    scope.set_item(intern!(py, "root_path"), String::from_utf8_lossy(root))
}
