# Generated from crates/settings by `cargo xtask generate`; do not edit.

from collections.abc import Callable
from typing import Any, Literal

class Config:
    config: str
    wsgi_app: str | None
    paste: str | None
    raw_paste_global_conf: list[str]
    bind: list[str]
    backlog: int
    reuse_port: bool
    workers: int
    worker_class: str
    interface: Literal["auto", "wsgi", "asgi"]
    threads: int
    worker_connections: int
    max_requests: int
    max_requests_jitter: int
    max_worker_memory: int
    preload_app: bool
    restart_mode: Literal["hot", "phased", "regular"]
    worker_tmp_dir: str | None
    timeout: int
    graceful_timeout: int
    orphan_timeout: float
    shutdown_delay: float
    keepalive: int
    head_timeout: float
    body_timeout: float
    body_min_rate: int
    write_timeout: float
    linger_timeout: float
    boot_timeout: float
    ready_check: str | None
    observe_timeout: float
    limit_request_line: int
    limit_request_fields: int
    limit_request_field_size: int
    limit_request_body: int
    body_memory_limit: int
    response_memory_limit: int
    response_spool_limit: int
    response_kept_limit: int
    tmp_upload_dir: str | None
    header_map: Literal["drop", "refuse", "dangerous"]
    permit_unconventional_http_method: bool
    permit_unconventional_http_version: bool
    casefold_http_method: bool
    permit_obsolete_folding: bool
    strip_header_spaces: bool
    sendfile: bool
    http_parser: Literal["auto", "fast", "python"]
    forwarded_allow_ips: list[str]
    secure_scheme_headers: dict[str, str]
    forwarder_headers: list[str]
    proxy_protocol: Literal["off", "auto", "v1", "v2"]
    proxy_allow_ips: list[str]
    protocol: Literal["http", "uwsgi"]
    uwsgi_allow_ips: list[str]
    chdir: str | None
    pythonpath: str | None
    raw_env: list[str]
    daemon: bool
    enable_stdio_inheritance: bool
    pidfile: str | None
    user: str | None
    group: str | None
    initgroups: bool
    umask: int
    proc_name: str | None
    default_proc_name: str
    accesslog: str | None
    access_log_format: str
    errorlog: str
    loglevel: Literal["debug", "info", "warning", "error", "critical"]
    capture_output: bool
    logger_class: str
    logconfig: str | None
    logconfig_json: str | None
    logconfig_dict: Any
    syslog: bool
    syslog_addr: str
    syslog_prefix: str | None
    syslog_facility: str
    disable_redirect_access_to_syslog: bool
    reload: bool
    reload_engine: Literal["auto", "poll", "inotify"]
    reload_extra_files: list[str]
    check_config: bool
    print_config: bool
    spew: bool
    statsd_host: str | None
    statsd_prefix: str
    dogstatsd_tags: str
    enable_backlog_metric: bool
    on_starting: Callable[..., Any] | None
    on_reload: Callable[..., Any] | None
    when_ready: Callable[..., Any] | None
    pre_fork: Callable[..., Any] | None
    post_fork: Callable[..., Any] | None
    post_worker_init: Callable[..., Any] | None
    worker_int: Callable[..., Any] | None
    worker_abort: Callable[..., Any] | None
    pre_exec: Callable[..., Any] | None
    pre_request: Callable[..., Any] | None
    post_request: Callable[..., Any] | None
    child_exit: Callable[..., Any] | None
    worker_exit: Callable[..., Any] | None
    nworkers_changed: Callable[..., Any] | None
    on_exit: Callable[..., Any] | None
    keyfile: str | None
    certfile: str | None
    ssl_version: Any
    cert_reqs: int
    ca_certs: str | None
    suppress_ragged_eofs: bool
    do_handshake_on_connect: bool
    ciphers: str | None
    ssl_context: Callable[..., Any] | None
    http_protocols: list[str]
    http2_cleartext: Literal["off", "prior-knowledge", "upgrade", "both"]
    http2_max_concurrent_streams: int
    http2_initial_window_size: int
    http2_max_frame_size: int
    http2_max_header_list_size: int
    asgi_loop: Literal["auto", "asyncio", "uvloop"]
    asgi_lifespan: Literal["auto", "on", "off"]
    asgi_disconnect_grace_period: int
    root_path: str
    ws: Literal["auto", "none", "websockets", "websockets-sansio", "wsproto"]
    websocket_max_message_size: int
    ws_ping_interval: float
    ws_ping_timeout: float
    ws_per_message_deflate: bool
    ws_deflate_min_size: int
    ws_deflate_takeover: bool
    ws_max_queue: int
    dirty_apps: list[str]
    dirty_workers: int
    dirty_timeout: int
    dirty_threads: int
    dirty_graceful_timeout: int
    on_dirty_starting: Callable[..., Any] | None
    dirty_post_fork: Callable[..., Any] | None
    dirty_worker_init: Callable[..., Any] | None
    dirty_worker_exit: Callable[..., Any] | None
    control_socket: str | None
    control_socket_mode: int
    control_socket_disable: bool
