"""A response as gunicorn's `post_request` sees it: `resp`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from oxicorn.compat.absent import missing
from oxicorn.compat.request import Request

__all__ = ["HOP_BY_HOP", "Response"]

_INSTEAD = {
    "sock": "the connection is the server's",
    "write": "call what start_response returns",
    "sendfile": "see environ['wsgi.file_wrapper']",
}
HOP_BY_HOP = frozenset(
    [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailers",
        "transfer-encoding",
        "upgrade",
        "server",
        "date",
    ]
)
"""Fields that an application does not send, and that gunicorn does not keep."""


class Response:
    """What the application said, and what was sent of it."""

    def __init__(self, req: Request) -> None:
        """Nothing was said yet."""
        self.req = req
        self.cfg = req.cfg
        self.version = "oxicorn"
        self.status: str | None = None
        self.status_code: int | None = None
        self.headers: list[tuple[str, str]] = []
        self.headers_sent = False
        self.response_length: int | None = None
        self.sent = 0
        self.must_close = False
        self.upgrade = False
        self._closes: bool | None = None

    @property
    def chunked(self) -> bool:
        """Whether the body has no length of its own."""
        bodiless = self.req.method == "HEAD" or self.status_code in (204, 304)
        if self.status is None or self.response_length is not None:
            return False
        return self.req.version >= (1, 1) and not bodiless

    def force_close(self) -> None:
        """The connection ends with this response."""
        self.must_close = True

    def should_close(self) -> bool:
        """Whether it does."""
        if self._closes is not None:
            return self._closes
        return self.must_close or self.req.should_close()

    def begin(self, status: str, headers: list[tuple[str, str]]) -> None:
        """The application has said this."""
        self.status = status
        self.status_code = int(status.split()[0])
        self.headers = [pair for pair in headers if pair[0].lower() not in HOP_BY_HOP]
        lengths = [value for name, value in headers if name.lower() == "content-length"]
        self.response_length = int(lengths[0]) if lengths else None

    def end(self, sent: int, begun: bool, keep_alive: bool) -> None:
        """It was handed over."""
        self.sent, self.headers_sent, self._closes = sent, begun, not keep_alive

    def through(self, start_response: Callable[..., Any]) -> Callable[..., Any]:
        """`start_response` that takes note of what goes through it, once that was accepted."""

        def heard(status: str, headers: Any, exc_info: Any = None) -> Any:
            closes = self.must_close or self.req.must_close
            more = [("Connection", "close")] if closes else []
            given = list(headers)
            write = start_response(status, [*given, *more], *([exc_info] if exc_info else []))
            self.begin(status, given)
            return write

        return heard

    def __getattr__(self, name: str) -> NoReturn:
        missing(self, name, _INSTEAD)
