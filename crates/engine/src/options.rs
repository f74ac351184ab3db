//! What the engine is told once, at creation. Rendered from the settings table by the driver; durations in milliseconds.
//! Invariant: every limit here has a setting, a default and a log line where it bites.

use std::path::PathBuf;

use oxicorn_http1::Policy;

use crate::edge::Edge;
use crate::forwarded::TrustPolicy;
use crate::tls::Acceptor;

/// The engine's limits and timeouts. Zero switches a timeout or a limit off unless said otherwise.
#[derive(Clone, Debug)]
pub struct Options {
    /// Parser policy and limits (`limit_request_*`, `header_map`, ...).
    pub http: Policy,
    /// Whose forwarding headers are believed (`forwarded_allow_ips`, `secure_scheme_headers`).
    pub trust: TrustPolicy,
    /// Who may say what below HTTP (`proxy_protocol`, `proxy_allow_ips`, `protocol`, `uwsgi_allow_ips`).
    pub edge: Edge,
    /// Milliseconds from accept, or from the first byte of a later request, until its head is complete (`head_timeout`).
    pub head_timeout: u64,
    /// What connections are encrypted with; `None`: they are not (`certfile`).
    pub tls: Option<Acceptor>,
    /// Milliseconds from accept until the TLS handshake is done (`tls_handshake_timeout`).
    pub handshake_timeout: u64,
    /// Milliseconds a request body may make no progress, and the grace before `body_min_rate` counts (`body_timeout`).
    pub body_timeout: u64,
    /// Bytes per second a request body must average once the grace is over (`body_min_rate`).
    pub body_min_rate: u64,
    /// Milliseconds a connection may be idle between requests; 0 closes after each response (`keepalive`).
    pub keep_alive: u64,
    /// Milliseconds a response may make no progress while the client does not read (`write_timeout`).
    pub write_timeout: u64,
    /// Milliseconds of the lingering close (`linger_timeout`).
    pub linger_timeout: u64,
    /// Milliseconds a request may be inside the application without progress (`timeout`).
    pub app_timeout: u64,
    /// Bytes of request body kept in memory; more goes to an unlinked file (`body_memory_limit`).
    pub body_memory: usize,
    /// Largest request body in bytes; more is refused with 413 (`limit_request_body`).
    pub body_limit: u64,
    /// Unsent response bytes kept in memory per connection; more goes to an unlinked file (`response_memory_limit`).
    pub response_memory: usize,
    /// Unsent response bytes kept in the file; beyond, the application is held back (`response_spool_limit`).
    pub response_spool: u64,
    /// Bytes of the application's own objects that all connections together keep unsent; beyond, they are copied as the two
    /// limits above say (`response_kept_limit`).
    pub response_kept: usize,
    /// Directory of spool files (`tmp_upload_dir`).
    pub spool_dir: PathBuf,
    /// Connections held at once; above it idle ones are closed first (`worker_connections`).
    pub connections: usize,
    /// Connections accepted from one listener before everything else gets a turn. With other workers on the same listeners
    /// it should be 1: a worker that is about to be busy must not take more than it needs.
    pub accept_burst: usize,
    /// The application is asynchronous: it takes bodies while they come ([`crate::Body::Open`]), waits for slow clients without
    /// a thread, so that responses are never spooled, and has the time of `app_timeout` until its response begins.
    pub streams: bool,
    /// Largest WebSocket message in bytes; a larger one ends the connection with 1009 (`websocket_max_message_size`).
    pub message_limit: usize,
    /// Milliseconds a WebSocket's client may be silent before it gets a ping (`ws_ping_interval`).
    pub ping_interval: u64,
    /// Milliseconds it has then to say anything; 0 asks again and again (`ws_ping_timeout`).
    pub ping_timeout: u64,
    /// The field that every request has an id in (`request_id_header`); `None`: they have none.
    pub request_id: Option<String>,
    /// Requests after which the worker asks to be replaced (`max_requests` with its jitter applied); 0 = never.
    pub max_requests: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            http: Policy::default(),
            trust: TrustPolicy::default(),
            edge: Edge::default(),
            head_timeout: 10_000,
            tls: None,
            handshake_timeout: 10_000,
            body_timeout: 30_000,
            body_min_rate: 240,
            keep_alive: 2_000,
            write_timeout: 30_000,
            linger_timeout: 2_000,
            app_timeout: 30_000,
            body_memory: 64 * 1024,
            body_limit: 0,
            response_memory: 64 * 1024,
            response_spool: 64 * 1024 * 1024,
            response_kept: 64 * 1024 * 1024,
            spool_dir: std::env::temp_dir(),
            connections: 10_000,
            accept_burst: 64,
            streams: false,
            message_limit: 16 * 1024 * 1024,
            ping_interval: 20_000,
            ping_timeout: 20_000,
            request_id: None,
            max_requests: 0,
        }
    }
}
