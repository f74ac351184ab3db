"""gunicorn's logger that sends numbers to a StatsD server, for Python's logging.

It takes the place of the plain `Logger` if `statsd_host` is set; without Python's logging the
server sends the numbers natively.
"""

from __future__ import annotations

import logging
import re
import socket
from datetime import timedelta
from typing import Any

from oxicorn.compat.glogging import Logger

__all__ = ["Statsd"]

METRIC_VAR = "metric"
VALUE_VAR = "value"
MTYPE_VAR = "mtype"
GAUGE_TYPE = "gauge"
COUNTER_TYPE = "counter"
HISTOGRAM_TYPE = "histogram"
TIMER_TYPE = "timer"


class Statsd(Logger):
    """Counts requests and what is logged of them."""

    def __init__(self, cfg: Any) -> None:
        """`cfg`: all settings."""
        Logger.__init__(self, cfg)
        self.prefix = re.sub(r"^(.+[^.]+)\.*$", r"\g<1>.", cfg.statsd_prefix)
        self.sock = _socket(cfg.statsd_host)
        self.dogstatsd_tags = cfg.dogstatsd_tags

    # messages

    def critical(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Logs and counts a message."""
        Logger.critical(self, msg, *args, **kwargs)
        self.increment("gunicorn.log.critical", 1)

    def error(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Logs and counts a message."""
        Logger.error(self, msg, *args, **kwargs)
        self.increment("gunicorn.log.error", 1)

    def warning(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Logs and counts a message."""
        Logger.warning(self, msg, *args, **kwargs)
        self.increment("gunicorn.log.warning", 1)

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Logs and counts an error with its traceback."""
        Logger.exception(self, msg, *args, **kwargs)
        self.increment("gunicorn.log.exception", 1)

    def info(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Logs a message, and sends the number that it may bring."""
        self.log(logging.INFO, msg, *args, **kwargs)

    def debug(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Logs a message, and sends the number that it may bring."""
        self.log(logging.DEBUG, msg, *args, **kwargs)

    def log(self, lvl: int | str, msg: object, *args: object, **kwargs: Any) -> None:
        """Logs a message if there is one, and sends the number that it may bring in `extra`."""
        try:
            self._send(kwargs.get("extra") or {})
            if msg:
                Logger.log(self, lvl, msg, *args, **kwargs)
        except Exception:
            Logger.warning(self, "Failed to log to statsd", exc_info=True)

    def _send(self, extra: Any) -> None:
        metric, value = extra.get(METRIC_VAR), extra.get(VALUE_VAR)
        senders = {
            GAUGE_TYPE: self.gauge,
            COUNTER_TYPE: self.increment,
            HISTOGRAM_TYPE: self.histogram,
            TIMER_TYPE: self.timer,
        }
        send = senders.get(extra.get(MTYPE_VAR))
        if metric and value is not None and send:
            send(metric, value)

    # requests

    def access(self, resp: Any, req: Any, environ: Any, request_time: timedelta) -> None:
        """Logs and counts a request."""
        Logger.access(self, resp, req, environ, request_time)
        status = resp.status
        if isinstance(status, bytes):
            status = status.decode()
        if isinstance(status, str):
            status = int(status.split(None, 1)[0])
        milliseconds = request_time.seconds * 1000 + request_time.microseconds / 1000
        self.timer("gunicorn.request.duration", milliseconds)
        self.increment("gunicorn.requests", 1)
        self.increment(f"gunicorn.request.status.{status}", 1)

    # numbers

    def gauge(self, name: str, value: Any) -> None:
        """What is at this moment."""
        self._sock_send(f"{self.prefix}{name}:{value}|g")

    def increment(self, name: str, value: Any, sampling_rate: float = 1.0) -> None:
        """To be added."""
        self._sock_send(f"{self.prefix}{name}:{value}|c|@{sampling_rate}")

    def decrement(self, name: str, value: Any, sampling_rate: float = 1.0) -> None:
        """To be taken away."""
        self._sock_send(f"{self.prefix}{name}:-{value}|c|@{sampling_rate}")

    def timer(self, name: str, value: Any) -> None:
        """Milliseconds."""
        self._sock_send(f"{self.prefix}{name}:{value}|ms")

    def histogram(self, name: str, value: Any) -> None:
        """One of many."""
        self._sock_send(f"{self.prefix}{name}:{value}|h")

    def _sock_send(self, msg: str | bytes) -> None:
        """A datagram that does not go is lost, and nobody waits."""
        try:
            packet = msg.encode("ascii") if isinstance(msg, str) else msg
            if self.dogstatsd_tags:
                packet += b"|#" + self.dogstatsd_tags.encode("ascii")
            if self.sock:
                self.sock.send(packet)
        except OSError:
            return
        except Exception:
            Logger.warning(self, "Error sending message to statsd", exc_info=True)


def _socket(host: Any) -> socket.socket | None:
    """To a path, or to host and port."""
    if host is None:
        return None
    family = socket.AF_INET
    if isinstance(host, str):
        family = socket.AF_UNIX
    elif ":" in host[0]:
        family = socket.AF_INET6
    try:
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.connect(host)
        sock.setblocking(False)
    except OSError:
        return None
    return sock
