//! The typed configuration that the server runs on.
//!
//! One field for each setting in effect, under the setting's own name: what a name means is looked
//! up in one place, the reference, whether one reads a configuration file or the code. Values in
//! here are valid; where each came from is remembered beside them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::address::Address;
use crate::choices::{
    HeaderMap, Interface, LogFormat, LogLevel, Protocol, ProxyProtocol, RestartMode, WorkerClass,
};
use crate::ciphers::Ciphers;
use crate::destination::{Facility, FieldName, StatsdAddress, SyslogAddress};
use crate::invalid::{DEFAULT, Invalid};
use crate::networks::Networks;
use crate::ready_check::ReadyCheck;
use crate::setting::Status;
use crate::table;
use crate::value::Value;

/// A complete, valid configuration. [`Config::default`] is what the server runs with when nobody
/// sets anything.
///
/// Durations of zero mean "no limit" unless the field says otherwise.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "one field per setting, and these are switches"
)]
pub struct Config {
    /// The application: `MODULE[:VARIABLE]`, from the command line or else from `wsgi_app`.
    pub wsgi_app: Option<String>,
    /// What is named makes the application.
    pub factory: bool,
    /// Refuse files with names that are not settings.
    pub strict_config: bool,
    /// The `PasteDeploy` file that describes the application, perhaps with `#NAME`.
    pub paste: Option<String>,
    /// Its global values, as `KEY=VALUE`.
    pub raw_paste_global_conf: Vec<String>,
    /// When `gunicorn` can be imported without being there: `off`, `missing` or `always`.
    pub gunicorn_shim: String,

    /// Where to listen; never empty.
    pub bind: Vec<Address>,
    /// How many connections may wait to be accepted.
    pub backlog: u32,
    /// Let other servers listen on the same addresses.
    pub reuse_port: bool,

    /// How many worker processes; at least 1.
    pub workers: usize,
    /// How a worker runs the application; already `Gthread` if there are several threads.
    pub worker_class: WorkerClass,
    /// What the application is called by.
    pub interface: Interface,
    /// How many application threads in each worker; at least 1.
    pub threads: usize,
    /// The most connections a worker holds; at least 1.
    pub worker_connections: usize,
    /// After how many requests a worker is replaced; 0 for never.
    pub max_requests: u64,
    /// The most that is added to `max_requests`, by chance, for each worker.
    pub max_requests_jitter: u64,
    /// The resident bytes above which a worker is replaced; 0 for never.
    pub max_worker_memory: u64,
    /// Load the application before forking.
    pub preload_app: bool,

    /// How long a request may be in the application without progress before its worker is killed.
    pub timeout: Duration,
    /// How long a stopping worker may take to finish what it has. Zero: no time at all.
    pub graceful_timeout: Duration,
    /// How long the server goes on serving after TERM before it stops. Zero: not at all.
    pub shutdown_delay: Duration,
    /// How long workers serve on without an arbiter. Zero: they leave at once.
    pub orphan_timeout: Duration,
    /// How long an idle connection is kept for another request. Zero: it is closed at once.
    pub keepalive: Duration,
    /// How long a request head may take to arrive.
    pub head_timeout: Duration,
    /// How long a request body may pause.
    pub body_timeout: Duration,
    /// Bytes per second that a request body must keep up over its whole time; 0 for no minimum.
    pub body_min_rate: u64,
    /// How long a response may go without the client taking a byte.
    pub write_timeout: Duration,
    /// How long a closing connection is read, so that the client gets the response. Zero: not read.
    pub linger_timeout: Duration,
    /// How long a worker may take to become ready.
    pub boot_timeout: Duration,
    /// The request that a worker has to answer before it is ready.
    pub ready_check: Option<ReadyCheck>,
    /// How a restart goes about it.
    pub restart_mode: RestartMode,
    /// How long new workers are watched after a restart before the old ones leave.
    pub observe_timeout: Duration,

    /// The most bytes of a request line; 0 stands for 8190.
    pub limit_request_line: usize,
    /// The most fields in a request head; 0 stands for 32768.
    pub limit_request_fields: usize,
    /// The most bytes of one field; 0 stands for 8190.
    pub limit_request_field_size: usize,
    /// The most bytes of a request body; 0 for no limit.
    pub limit_request_body: u64,
    /// The most bytes of a request body that are kept in memory rather than in a file.
    pub body_memory_limit: u64,
    /// The most bytes of one response that wait in memory for the client.
    pub response_memory_limit: u64,
    /// The most bytes of one response that wait for the client before the application has to wait.
    pub response_spool_limit: u64,
    /// Unsent bytes of the application's own objects that a worker keeps.
    pub response_kept_limit: u64,
    /// Where large bodies are kept; the system's place for temporary files if not set.
    pub tmp_upload_dir: Option<String>,

    /// Let file responses go from file to socket inside the kernel.
    pub sendfile: bool,
    /// Say who serves.
    pub server_header: bool,
    /// Say the date.
    pub date_header: bool,
    /// Fields for every response: names and values.
    pub header: Vec<(String, String)>,
    /// What happens to fields with an underscore in the name.
    pub header_map: HeaderMap,
    /// Allow methods that are not 3 to 20 capital letters.
    pub permit_unconventional_http_method: bool,
    /// Allow versions other than 1.0 and 1.1.
    pub permit_unconventional_http_version: bool,
    /// Turn methods into capitals.
    pub casefold_http_method: bool,

    /// The event loop of asynchronous applications: `auto`, `asyncio` or `uvloop`.
    pub asgi_loop: String,
    /// Whether the start-up and shutdown of asynchronous applications are run: `auto`, `on` or `off`.
    pub asgi_lifespan: String,
    /// How long a request may go on after its client left; for ever if not set.
    pub asgi_disconnect_grace_period: Option<Duration>,
    /// The path below which an asynchronous application lives.
    pub root_path: String,
    /// Whether WebSockets are served: not if it is `none`.
    pub ws: String,
    /// The most bytes of a WebSocket message; 0 for no limit.
    pub websocket_max_message_size: usize,
    /// How long the client of a WebSocket may be silent before it gets a ping.
    pub ws_ping_interval: Duration,
    /// How long it has then to say anything.
    pub ws_ping_timeout: Duration,
    /// Agree to compress WebSocket messages.
    pub ws_per_message_deflate: bool,
    /// The fewest bytes of a message that is compressed.
    pub ws_deflate_min_size: usize,
    /// Let compressed messages refer to earlier ones.
    pub ws_deflate_takeover: bool,

    /// The certificate and its chain; TLS is spoken if there is one.
    pub certfile: Option<String>,
    /// Its private key, if that is not in `certfile`.
    pub keyfile: Option<String>,
    /// Who may sign clients' certificates.
    pub ca_certs: Option<String>,
    /// Whether clients have to show a certificate: 0 no, 1 they may, 2 they must.
    pub cert_reqs: u32,
    /// The cipher suites that are offered.
    pub ciphers: Ciphers,
    /// How long a TLS handshake may take.
    pub tls_handshake_timeout: Duration,

    /// Whether any proxy is believed at all.
    pub proxy_headers: bool,
    /// Which peers are proxies that may speak for their clients.
    pub forwarded_allow_ips: Networks,
    /// The fields (in capitals) and values by which a proxy says that its client used https.
    pub secure_scheme_headers: Vec<(String, String)>,
    /// Which fields with underscores (in capitals) a proxy may send; `*` for any.
    pub forwarder_headers: Vec<String>,
    /// Which PROXY headers are looked for.
    pub proxy_protocol: ProxyProtocol,
    /// Refuse connections without one.
    pub proxy_protocol_required: bool,
    /// Which peers may send one.
    pub proxy_allow_ips: Networks,
    /// What clients speak.
    pub protocol: Protocol,
    /// Which peers may speak uwsgi.
    pub uwsgi_allow_ips: Networks,

    /// Restart workers when code changes.
    pub reload: bool,
    /// How changes are noticed: `auto`, `inotify` or `poll`.
    pub reload_engine: String,
    /// Further files and patterns to watch.
    pub reload_extra_files: Vec<String>,
    /// Files and patterns not to watch.
    pub reload_exclude: Vec<String>,
    /// How long to wait between two looks at the files; never zero.
    pub reload_delay: Duration,
    /// Check the configuration and the application, then leave; also set by `print_config`.
    pub check_config: bool,
    /// Print the configuration, then leave.
    pub print_config: bool,
    /// Print every line of Python that a worker executes.
    pub spew: bool,

    /// The directory to run in; where it was started if not set.
    pub chdir: Option<String>,
    /// Directories to import from.
    pub pythonpath: Vec<String>,
    /// Variables to put into the environment.
    pub raw_env: Vec<(String, String)>,
    /// A file of further such variables.
    pub env_file: Option<String>,
    /// Detach from the terminal.
    pub daemon: bool,
    /// Keep standard input and output when detached.
    pub enable_stdio_inheritance: bool,
    /// Where to write the process id.
    pub pidfile: Option<String>,
    /// Where the control socket is; none for a runtime directory.
    pub control_socket: Option<String>,
    /// The control socket's permission bits.
    pub control_socket_mode: u32,
    /// Have no control socket.
    pub control_socket_disable: bool,
    /// The user (name or number) that workers run as.
    pub user: Option<String>,
    /// The group (name or number) that workers run as.
    pub group: Option<String>,
    /// Give workers all groups of their user.
    pub initgroups: bool,
    /// The permission bits that Unix sockets are created without.
    pub umask: u32,
    /// The name for process titles.
    pub proc_name: Option<String>,
    /// The name for process titles when `proc_name` is not set: the application.
    pub default_proc_name: String,

    /// The access log's file; `-` for standard output, none for no log.
    pub accesslog: Option<String>,
    /// The form of an access log line.
    pub access_log_format: String,
    /// The error log's file; `-` for standard error, none for no log.
    pub errorlog: Option<String>,
    /// The least severe messages that the error log keeps.
    pub loglevel: LogLevel,
    /// How the lines of both logs are written.
    pub log_format: LogFormat,
    /// The field with a request's id; none for no ids.
    pub request_id_header: Option<FieldName>,
    /// Send what the application prints to the error log's file.
    pub capture_output: bool,
    /// The Python class that logs, or what it was described as.
    pub logger_class: String,
    /// A file for Python's `logging.config.fileConfig`.
    pub logconfig: Option<String>,
    /// A JSON file for its `dictConfig`.
    pub logconfig_json: Option<String>,
    /// There is a dictionary for its `dictConfig`.
    pub logconfig_dict: bool,
    /// Send the logs to syslog.
    pub syslog: bool,
    /// Where syslog listens.
    pub syslog_addr: SyslogAddress,
    /// The middle of the program's name in syslog.
    pub syslog_prefix: Option<String>,
    /// Where syslog files the lines.
    pub syslog_facility: Facility,
    /// Keep the access log out of syslog.
    pub disable_redirect_access_to_syslog: bool,
    /// Where to send numbers.
    pub statsd_host: Option<StatsdAddress>,
    /// What their names begin with.
    pub statsd_prefix: String,
    /// Tags for every number.
    pub dogstatsd_tags: String,
    /// Send how many connections wait to be accepted.
    pub enable_backlog_metric: bool,
    /// When the banner is in colour: `auto`, `always` or `never`.
    pub color: String,

    pub(crate) origins: BTreeMap<&'static str, Origin>,
}

/// A setting's value as reported, and who set it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Origin {
    pub(crate) value: Value,
    pub(crate) source: String,
}

impl Config {
    /// The value of any setting, in effect or not.
    pub fn value(&self, name: &str) -> Option<Value> {
        self.origins.get(name).map(|origin| origin.value.clone())
    }

    /// Who set a setting: `command line`, `GUNICORN_CMD_ARGS`, `gunicorn.conf.py`,
    /// `environment PORT`, `default`.
    pub fn source(&self, name: &str) -> Option<&str> {
        self.origins.get(name).map(|origin| origin.source.as_str())
    }

    /// A setting whose value is of no use, in the words of whoever set it.
    pub(crate) fn invalid(&self, name: &'static str, problem: &str) -> Invalid {
        let origin = self.origins.get(name);
        let value = origin.map_or(&Value::None, |origin| &origin.value);
        let source = origin.map_or("", |origin| origin.source.as_str());
        Invalid::new(name, value, source, problem.into())
    }

    /// What was set though it does nothing here, and why:
    /// `worker_tmp_dir = '/dev/shm' (from the command line): without effect; workers report ...`.
    pub fn idle(&self) -> Vec<String> {
        let set = table::settings().filter(|setting| self.source(setting.name) != Some(DEFAULT));
        set.filter_map(|setting| match setting.status {
            Status::WithoutEffect { why } => Some((setting.name, why)),
            _ => None,
        })
        .map(|(name, why)| {
            self.invalid(name, &format!("without effect; {why}"))
                .to_string()
        })
        .collect()
    }

    /// What stands for something else than it says, which works all the same:
    /// `worker_class = 'uvicorn.workers.UvicornWorker' (from the command line): served by the worker class asgi`.
    pub fn notices(&self) -> Vec<String> {
        let named = self.value("worker_class");
        let named = named.as_ref().and_then(Value::as_text).unwrap_or_default();
        if !named.starts_with("uvicorn") {
            return Vec::new();
        }
        let notice = self.invalid("worker_class", "served by the worker class asgi");
        vec![notice.to_string()]
    }

    /// The name that process titles carry.
    pub fn process_name(&self) -> &str {
        self.proc_name.as_deref().unwrap_or(&self.default_proc_name)
    }

    /// Whether Python writes the logs, since a class or a configuration for it was named.
    pub fn logs_through_python(&self) -> bool {
        let is_named = |file: &Option<String>| file.as_ref().is_some_and(|name| !name.is_empty());
        !NATIVE_LOGGERS.contains(&self.logger_class.as_str())
            || self.logconfig_dict
            || is_named(&self.logconfig)
            || is_named(&self.logconfig_json)
    }

    /// The settings in effect and their values, sorted by name.
    pub fn in_effect(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.origins_in_effect()
            .map(|(name, origin)| (name, &origin.value))
    }

    fn origins_in_effect(&self) -> impl Iterator<Item = (&'static str, &Origin)> {
        let all = self.origins.iter().map(|(name, origin)| (*name, origin));
        all.filter(|(name, _)| is_in_effect(name))
    }

    /// What the server runs with: `name = value  # source`, a line for each setting in effect,
    /// sorted by name; the last line has no line end.
    pub fn report(&self) -> String {
        let rows: Vec<_> = self.origins_in_effect().collect();
        let names = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let lines: Vec<_> = rows
            .iter()
            .map(|(name, origin)| (format!("{name:names$} = {}", origin.value), &origin.source))
            .collect();
        let width = lines
            .iter()
            .map(|(line, _)| line.len())
            .filter(|n| *n <= 60)
            .max()
            .unwrap_or(0);
        let report = lines
            .iter()
            .map(|(line, source)| format!("{line:width$}  # {source}"));
        report.collect::<Vec<_>>().join("\n")
    }
}

/// gunicorn's own classes, in whose place the native log is.
const NATIVE_LOGGERS: [&str; 3] = [
    "gunicorn.glogging.Logger",
    "gunicorn.instrument.statsd.Statsd",
    "simple",
];

fn is_in_effect(name: &str) -> bool {
    table::find(name).is_some_and(crate::Setting::is_in_effect)
}

/// The configuration before the table's defaults are applied to it.
pub(crate) const BLANK: Config = Config {
    wsgi_app: None,
    factory: false,
    strict_config: false,
    paste: None,
    raw_paste_global_conf: Vec::new(),
    gunicorn_shim: String::new(),
    bind: Vec::new(),
    backlog: 0,
    reuse_port: false,
    workers: 0,
    worker_class: WorkerClass::Sync,
    interface: Interface::Auto,
    threads: 0,
    worker_connections: 0,
    max_requests: 0,
    max_requests_jitter: 0,
    max_worker_memory: 0,
    preload_app: false,
    timeout: Duration::ZERO,
    graceful_timeout: Duration::ZERO,
    shutdown_delay: Duration::ZERO,
    orphan_timeout: Duration::ZERO,
    keepalive: Duration::ZERO,
    head_timeout: Duration::ZERO,
    body_timeout: Duration::ZERO,
    body_min_rate: 0,
    write_timeout: Duration::ZERO,
    linger_timeout: Duration::ZERO,
    boot_timeout: Duration::ZERO,
    ready_check: None,
    restart_mode: RestartMode::Hot,
    observe_timeout: Duration::ZERO,
    limit_request_line: 0,
    limit_request_fields: 0,
    limit_request_field_size: 0,
    limit_request_body: 0,
    body_memory_limit: 0,
    response_memory_limit: 0,
    response_spool_limit: 0,
    response_kept_limit: 0,
    tmp_upload_dir: None,
    sendfile: false,
    server_header: false,
    date_header: false,
    header: Vec::new(),
    header_map: HeaderMap::Drop,
    permit_unconventional_http_method: false,
    permit_unconventional_http_version: false,
    casefold_http_method: false,
    asgi_loop: String::new(),
    asgi_lifespan: String::new(),
    asgi_disconnect_grace_period: None,
    root_path: String::new(),
    certfile: None,
    keyfile: None,
    ca_certs: None,
    cert_reqs: 0,
    ciphers: Ciphers::NONE,
    tls_handshake_timeout: Duration::ZERO,
    proxy_headers: false,
    ws: String::new(),
    websocket_max_message_size: 0,
    ws_ping_interval: Duration::ZERO,
    ws_ping_timeout: Duration::ZERO,
    ws_per_message_deflate: false,
    ws_deflate_min_size: 0,
    ws_deflate_takeover: false,
    forwarded_allow_ips: Networks::NONE,
    secure_scheme_headers: Vec::new(),
    forwarder_headers: Vec::new(),
    proxy_protocol: ProxyProtocol::Off,
    proxy_protocol_required: false,
    proxy_allow_ips: Networks::NONE,
    protocol: Protocol::Http,
    uwsgi_allow_ips: Networks::NONE,
    reload: false,
    reload_engine: String::new(),
    reload_extra_files: Vec::new(),
    reload_exclude: Vec::new(),
    reload_delay: Duration::ZERO,
    check_config: false,
    print_config: false,
    spew: false,
    chdir: None,
    pythonpath: Vec::new(),
    raw_env: Vec::new(),
    env_file: None,
    daemon: false,
    enable_stdio_inheritance: false,
    pidfile: None,
    control_socket: None,
    control_socket_mode: 0,
    control_socket_disable: false,
    user: None,
    group: None,
    initgroups: false,
    umask: 0,
    proc_name: None,
    default_proc_name: String::new(),
    accesslog: None,
    access_log_format: String::new(),
    errorlog: None,
    loglevel: LogLevel::Info,
    log_format: LogFormat::Text,
    request_id_header: None,
    capture_output: false,
    logger_class: String::new(),
    logconfig: None,
    logconfig_json: None,
    logconfig_dict: false,
    syslog: false,
    syslog_addr: SyslogAddress::BLANK,
    syslog_prefix: None,
    syslog_facility: Facility(0),
    disable_redirect_access_to_syslog: false,
    statsd_host: None,
    statsd_prefix: String::new(),
    dogstatsd_tags: String::new(),
    enable_backlog_metric: false,
    color: String::new(),
    origins: BTreeMap::new(),
};
