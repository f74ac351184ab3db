# Generated from crates/settings by `cargo xtask generate`; do not edit.

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, TypedDict

class Config:
    config: str
    strict_config: bool
    wsgi_app: str | None
    factory: bool
    paste: str | None
    raw_paste_global_conf: list[str]
    gunicorn_shim: Literal["off", "missing", "always"]
    bind: list[str]
    backlog: int
    reuse_port: bool
    workers: int
    worker_class: str
    interface: Literal["auto", "wsgi", "asgi", "asgi2", "asgi3"]
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
    tls_handshake_timeout: float
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
    server_header: bool
    date_header: bool
    header: list[str]
    http_parser: Literal["auto", "fast", "python"]
    forwarded_allow_ips: list[str]
    proxy_headers: bool
    secure_scheme_headers: dict[str, str]
    forwarder_headers: list[str]
    proxy_protocol: Literal["off", "auto", "v1", "v2"]
    proxy_protocol_required: bool
    proxy_allow_ips: list[str]
    protocol: Literal["http", "uwsgi"]
    uwsgi_allow_ips: list[str]
    chdir: str | None
    pythonpath: str | None
    raw_env: list[str]
    env_file: str | None
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
    log_format: Literal["text", "json", "logfmt"]
    request_id_header: str | None
    capture_output: bool
    color: Literal["auto", "always", "never"]
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
    reload_exclude: list[str]
    reload_delay: float
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
    asgi_loop: str
    asgi_lifespan: Literal["auto", "on", "off"]
    asgi_disconnect_grace_period: float | None
    root_path: str
    ws: Literal["auto", "none", "websockets", "websockets-sansio", "wsproto"]
    websocket_max_message_size: int
    ws_ping_interval: float
    ws_ping_timeout: float
    ws_per_message_deflate: bool
    ws_deflate_min_size: int
    ws_deflate_takeover: bool
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

class Arguments(TypedDict, total=False):
    config: str | PathLike[str] | None
    strict_config: bool | None
    wsgi_app: str | PathLike[str] | None
    factory: bool | None
    paste: str | PathLike[str] | None
    raw_paste_global_conf: Sequence[str] | str | None
    gunicorn_shim: Literal["off", "missing", "always"] | None
    bind: Sequence[str] | str | None
    host: str | None
    port: int | None
    uds: str | PathLike[str] | None
    fd: int | None
    backlog: int | None
    reuse_port: bool | None
    workers: int | None
    worker_class: str | None
    interface: Literal["auto", "wsgi", "asgi", "asgi2", "asgi3"] | None
    threads: int | None
    worker_connections: int | None
    max_requests: int | None
    limit_max_requests: int | None
    max_requests_jitter: int | None
    limit_max_requests_jitter: int | None
    max_worker_memory: int | str | None
    preload_app: bool | None
    restart_mode: Literal["hot", "phased", "regular"] | None
    worker_tmp_dir: str | PathLike[str] | None
    timeout: int | None
    graceful_timeout: int | None
    timeout_graceful_shutdown: int | None
    orphan_timeout: float | None
    shutdown_delay: float | None
    keepalive: int | None
    timeout_keep_alive: int | None
    tls_handshake_timeout: float | None
    head_timeout: float | None
    body_timeout: float | None
    body_min_rate: int | str | None
    write_timeout: float | None
    linger_timeout: float | None
    boot_timeout: float | None
    ready_check: str | PathLike[str] | None
    observe_timeout: float | None
    limit_request_line: int | None
    limit_request_fields: int | None
    limit_request_field_size: int | None
    limit_request_body: int | str | None
    body_memory_limit: int | str | None
    response_memory_limit: int | str | None
    response_spool_limit: int | str | None
    response_kept_limit: int | str | None
    tmp_upload_dir: str | PathLike[str] | None
    header_map: Literal["drop", "refuse", "dangerous"] | None
    permit_unconventional_http_method: bool | None
    permit_unconventional_http_version: bool | None
    casefold_http_method: bool | None
    permit_obsolete_folding: bool | None
    strip_header_spaces: bool | None
    sendfile: bool | None
    server_header: bool | None
    date_header: bool | None
    header: Sequence[str] | str | None
    headers: Sequence[tuple[str, str]] | None
    http_parser: Literal["auto", "fast", "python"] | None
    http: str | None
    forwarded_allow_ips: Sequence[str] | str | None
    proxy_headers: bool | None
    secure_scheme_headers: Mapping[str, str] | None
    forwarder_headers: Sequence[str] | str | None
    proxy_protocol: Literal["off", "auto", "v1", "v2"] | None
    proxy_protocol_required: bool | None
    proxy_allow_ips: Sequence[str] | str | None
    protocol: Literal["http", "uwsgi"] | None
    uwsgi_allow_ips: Sequence[str] | str | None
    chdir: str | PathLike[str] | None
    pythonpath: str | PathLike[str] | None
    app_dir: str | PathLike[str] | None
    raw_env: Sequence[str] | str | None
    env_file: str | PathLike[str] | None
    daemon: bool | None
    enable_stdio_inheritance: bool | None
    pidfile: str | PathLike[str] | None
    user: str | int | None
    group: str | int | None
    initgroups: bool | None
    umask: int | None
    proc_name: str | PathLike[str] | None
    default_proc_name: str | PathLike[str] | None
    accesslog: str | PathLike[str] | None
    access_log: bool | None
    access_log_format: str | PathLike[str] | None
    errorlog: str | PathLike[str] | None
    loglevel: Literal["debug", "info", "warning", "error", "critical"] | None
    log_level: str | int | None
    log_format: Literal["text", "json", "logfmt"] | None
    request_id_header: str | PathLike[str] | None
    capture_output: bool | None
    color: Literal["auto", "always", "never"] | None
    use_colors: bool | None
    logger_class: str | None
    logconfig: str | PathLike[str] | None
    log_config: str | PathLike[str] | None
    logconfig_json: str | PathLike[str] | None
    logconfig_dict: Any | None
    syslog: bool | None
    syslog_addr: str | PathLike[str] | None
    syslog_prefix: str | PathLike[str] | None
    syslog_facility: str | PathLike[str] | None
    disable_redirect_access_to_syslog: bool | None
    reload: bool | None
    reload_engine: Literal["auto", "poll", "inotify"] | None
    reload_extra_files: Sequence[str] | str | None
    reload_dirs: Sequence[str] | str | PathLike[str] | None
    reload_includes: Sequence[str] | str | PathLike[str] | None
    reload_exclude: Sequence[str] | str | None
    reload_excludes: Sequence[str] | str | None
    reload_delay: float | None
    check_config: bool | None
    print_config: bool | None
    spew: bool | None
    statsd_host: str | PathLike[str] | None
    statsd_prefix: str | PathLike[str] | None
    dogstatsd_tags: str | PathLike[str] | None
    enable_backlog_metric: bool | None
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
    keyfile: str | PathLike[str] | None
    ssl_keyfile: str | PathLike[str] | None
    certfile: str | PathLike[str] | None
    ssl_certfile: str | PathLike[str] | None
    ssl_version: Any | None
    cert_reqs: int | None
    ssl_cert_reqs: int | None
    ca_certs: str | PathLike[str] | None
    ssl_ca_certs: str | PathLike[str] | None
    suppress_ragged_eofs: bool | None
    do_handshake_on_connect: bool | None
    ciphers: str | PathLike[str] | None
    ssl_ciphers: str | PathLike[str] | None
    ssl_context: Callable[..., Any] | None
    ssl_context_factory: Callable[..., Any] | None
    http_protocols: Sequence[str] | str | None
    http2: bool | None
    http2_cleartext: Literal["off", "prior-knowledge", "upgrade", "both"] | None
    http2_max_concurrent_streams: int | None
    http2_initial_window_size: int | None
    http2_max_frame_size: int | None
    http2_max_header_list_size: int | None
    asgi_loop: str | None
    loop: str | None
    asgi_lifespan: Literal["auto", "on", "off"] | None
    lifespan: Literal["auto", "on", "off"] | None
    asgi_disconnect_grace_period: float | None
    root_path: str | PathLike[str] | None
    ws: Literal["auto", "none", "websockets", "websockets-sansio", "wsproto"] | None
    ws_max_queue: int | None
    websocket_max_message_size: int | str | None
    ws_max_size: int | str | None
    ws_ping_interval: float | None
    ws_ping_timeout: float | None
    ws_per_message_deflate: bool | None
    ws_deflate_min_size: int | str | None
    ws_deflate_takeover: bool | None
    dirty_apps: Sequence[str] | str | None
    dirty_workers: int | None
    dirty_timeout: int | None
    dirty_threads: int | None
    dirty_graceful_timeout: int | None
    on_dirty_starting: Callable[..., Any] | None
    dirty_post_fork: Callable[..., Any] | None
    dirty_worker_init: Callable[..., Any] | None
    dirty_worker_exit: Callable[..., Any] | None
    control_socket: str | PathLike[str] | None
    control_socket_mode: int | None
    control_socket_disable: bool | None
