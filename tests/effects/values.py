"""For each of gunicorn's settings a value that is not the default: as words on the command line,
and as an expression in a configuration file. Where both programs understand the value otherwise
than it is written, `read` says what they make of it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["ENVIRONMENT", "VALUES", "Value"]


class Value(NamedTuple):
    """One value of a setting."""

    said: str | None
    """What follows its flags; None: nothing does, the flag itself is the value."""
    written: str
    """The same in a configuration file."""
    read: Any = ...
    """What `cfg` has, if that is not what `written` evaluates to."""
    free: bool = False
    """A name or a place: it may stay as it was said."""

    @property
    def words(self) -> list[str]:
        """What follows a flag."""
        return [] if self.said is None else [self.said]

    @property
    def value(self) -> Any:
        """What `cfg` has."""
        return eval(self.written) if self.read is ... else self.read

    def is_read_as(self, found: Any) -> bool:
        """Whether this is what a program has made of it."""
        return bool(found == self.value or (self.free and str(found) == self.said))


def _text(text: str, read: Any = ...) -> Value:
    return Value(text, repr(text), read)


def _number(number: int) -> Value:
    return Value(str(number), str(number))


ON = Value(None, "True")
HOOK = {arity: Value("", f"lambda {', '.join('abcd'[:arity])}: None") for arity in (1, 2, 3, 4)}
"""Hooks have no flag."""

VALUES = {
    "config": _text("other.conf.py"),
    "wsgi_app": _text("site_app:app"),
    "bind": Value("127.0.0.1:8765", "'127.0.0.1:8765'", ["127.0.0.1:8765"]),
    "backlog": _number(77),
    "workers": _number(3),
    "worker_class": _text("gthread"),
    "threads": _number(4),
    "worker_connections": _number(55),
    "max_requests": _number(9),
    "max_requests_jitter": _number(5),
    "timeout": _number(31),
    "graceful_timeout": _number(32),
    "keepalive": _number(33),
    "asgi_loop": _text("asyncio"),
    "asgi_lifespan": _text("off"),
    "asgi_disconnect_grace_period": _number(6),
    "websocket_max_message_size": _number(1000),
    "http_parser": _text("python"),
    "limit_request_line": _number(500),
    "limit_request_fields": _number(20),
    "limit_request_field_size": _number(600),
    "reload": ON,
    "reload_engine": _text("poll"),
    "reload_extra_files": Value("/", "['/']"),
    "spew": ON,
    "check_config": ON,
    "print_config": ON,
    "preload_app": ON,
    "sendfile": Value(None, "False"),
    "reuse_port": ON,
    "chdir": _text("/"),
    "daemon": ON,
    "raw_env": Value("A=b", "['A=b']"),
    "pidfile": _text("a.pid"),
    "worker_tmp_dir": _text("/dev/shm"),
    "user": Value("1234", "1234", free=True),
    "group": Value("1235", "1235", free=True),
    "umask": Value("027", "0o27", 0o27),
    "initgroups": ON,
    "tmp_upload_dir": _text("."),
    "secure_scheme_headers": Value("", "{'X-TLS': 'yes'}"),
    "forwarded_allow_ips": _text("10.0.0.0/8,::1", ["10.0.0.0/8", "::1"]),
    "pythonpath": _text("lib"),
    "paste": _text("site.ini"),
    "proxy_protocol": _text("v1"),
    "proxy_allow_ips": _text("*", ["*"]),
    "protocol": _text("uwsgi"),
    "uwsgi_allow_ips": _text("10.1.1.1", ["10.1.1.1"]),
    "raw_paste_global_conf": Value("a=b", "['a=b']"),
    "permit_obsolete_folding": ON,
    "strip_header_spaces": ON,
    "permit_unconventional_http_method": ON,
    "permit_unconventional_http_version": ON,
    "casefold_http_method": ON,
    "forwarder_headers": _text("SCRIPT_NAME,REMOTE_USER", ["SCRIPT_NAME", "REMOTE_USER"]),
    "header_map": _text("refuse"),
    "root_path": _text("/root"),
    "accesslog": _text("access.log"),
    "disable_redirect_access_to_syslog": ON,
    "access_log_format": _text("%(h)s"),
    "errorlog": _text("error.log"),
    "loglevel": _text("debug"),
    "capture_output": ON,
    "logger_class": _text("own_logger.Logger"),
    "logconfig": _text("log.ini"),
    "logconfig_dict": Value("", "{'loggers': {}}"),
    "logconfig_json": _text("log.json"),
    "syslog_addr": _text("udp://127.0.0.1:5514"),
    "syslog": ON,
    "syslog_prefix": _text("shop"),
    "syslog_facility": _text("daemon"),
    "enable_stdio_inheritance": ON,
    "statsd_host": Value("h:8126", "'h:8126'", ("h", 8126), free=True),
    "dogstatsd_tags": _text("a:b"),
    "statsd_prefix": _text("shop"),
    "enable_backlog_metric": ON,
    "proc_name": _text("shop"),
    "default_proc_name": _text("shop"),
    "on_starting": HOOK[1],
    "on_reload": HOOK[1],
    "when_ready": HOOK[1],
    "pre_fork": HOOK[2],
    "post_fork": HOOK[2],
    "post_worker_init": HOOK[1],
    "worker_int": HOOK[1],
    "worker_abort": HOOK[1],
    "pre_exec": HOOK[1],
    "pre_request": HOOK[2],
    "post_request": HOOK[4],
    "child_exit": HOOK[2],
    "worker_exit": HOOK[2],
    "nworkers_changed": HOOK[3],
    "on_exit": HOOK[1],
    "ssl_context": HOOK[2],
    "keyfile": _text("a.key"),
    "certfile": _text("a.pem"),
    "ssl_version": Value("3", "3", free=True),
    "cert_reqs": _number(1),
    "ca_certs": _text("ca.pem"),
    "suppress_ragged_eofs": Value(None, "False"),
    "do_handshake_on_connect": ON,
    "ciphers": _text("ECDHE+AESGCM"),
    "http_protocols": Value("h2,h1", "'h2,h1'", ["h2", "h1"]),
    "http2_cleartext": _text("upgrade"),
    "http2_max_concurrent_streams": _number(10),
    "http2_initial_window_size": _number(70000),
    "http2_max_frame_size": _number(20000),
    "http2_max_header_list_size": _number(1000),
    "dirty_apps": Value("jobs:Job", "['jobs:Job']"),
    "dirty_workers": _number(1),
    "dirty_timeout": _number(10),
    "dirty_threads": _number(2),
    "dirty_graceful_timeout": _number(11),
    "on_dirty_starting": HOOK[1],
    "dirty_post_fork": HOOK[2],
    "dirty_worker_init": HOOK[1],
    "dirty_worker_exit": HOOK[2],
    "control_socket": _text("control"),
    "control_socket_mode": Value("0660", "0o660", 0o660),
    "control_socket_disable": ON,
}

ENVIRONMENT = {
    "bind": ("PORT", "8123", ["0.0.0.0:8123"]),
    "workers": ("WEB_CONCURRENCY", "3", 3),
    "forwarded_allow_ips": ("FORWARDED_ALLOW_IPS", "10.0.0.1", ["10.0.0.1"]),
    "sendfile": ("SENDFILE", "no", False),
}
"""The variables that gunicorn has for single settings: name, text, and what it makes of it."""
