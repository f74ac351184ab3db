"""The scenarios: what is asked, what must come back, what the server must be able to do.

Data only; `trials` carries them out. The expected answers come from the applications themselves.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import Enum

from servers import APPS, Server
from wire import Answer, Request

sys.path.insert(0, str(APPS))

import plain

BROWSER_HEADERS = (
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"),
    ("Accept-Language", "en-GB,en;q=0.7,de;q=0.3"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Referer", "https://www.example.org/catalogue/books?page=3"),
    ("Cookie", "sessionid=3b2f1c9a7e5d4f60a1b2c3d4e5f60718; csrftoken=Zk3vQx8sT1uYw; theme=dark"),
    ("Upgrade-Insecure-Requests", "1"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Sec-Fetch-User", "?1"),
    ("Cache-Control", "max-age=0"),
)
GET = Request()
HELLO = Answer(plain.HELLO)
FLASK_BODY = b'{"message":"Hello, world!","numbers":[1,2,3]}\n'
FASTAPI_BODY = b'{"message":"Hello, world!","numbers":[1,2,3]}'
TEN_KILOBYTES_OF_X = b"x" * 10240
DJANGO_BODY = b'{"message": "Hello, world!", "numbers": [1, 2, 3]}'


class Way(Enum):
    """How a scenario is carried out."""

    CLOSED_LOOP = "wrk, closed loop"
    CLOSING = "wrk, after a probe that the server calls close() of a response"
    CHURN = "wrk, a new connection for each request"
    STREAM = "wrk, after a probe that the server streams"
    PACED_MIX = "open loop at a fixed pace"
    IDLE_MEMORY = "idle connections held"
    IDLE_CPU = "idle server"
    SLOW_CLIENTS = "paced client beside slow clients"
    WEBSOCKET_ECHO = "own client, closed loop over WebSocket"


@dataclass(frozen=True)
class Measure:
    """A number that a scenario yields; the first of a scenario ranks the servers."""

    key: str
    title: str
    digits: int = 1


CPU = Measure("cpu_us", "CPU µs/request")
RATE = Measure("rate", "requests/s", 0)
P99 = Measure("p99_ms", "p99 ms", 2)
CLOSED_LOOP_MEASURES = (CPU, RATE, P99)


@dataclass(frozen=True)
class Scenario:
    """One row of the plan."""

    name: str
    about: str
    app: str = "plain:hello"
    interface: str = "wsgi"
    way: Way = Way.CLOSED_LOOP
    request: Request = GET
    expected: Answer = HELLO
    connections: int = 64
    threads: int = 1
    workers: int = 1
    measures: tuple[Measure, ...] = CLOSED_LOOP_MEASURES
    slow: tuple[str, ...] = ()
    """The kinds of slow clients; `slow.OPENINGS` has them."""
    needs_threads: bool = False
    needs_keep_alive: bool = False
    without_python: bool = False
    """Whether an engine that answers "Hello, world!" without Python takes part."""

    def unfit(self, server: Server) -> str:
        """Why a server of this interface cannot take part; empty if it can."""
        if not server.runs_python and not self.without_python:
            return "answers without Python"
        if self.needs_threads and not server.threads:
            return "one application thread a worker"
        if self.needs_keep_alive and not server.keep_alive:
            return "keeps no connection open"
        if self.workers > 1 and not server.workers:
            return "one process only"
        return ""


def _beside_slow(name: str, *kinds: str) -> Scenario:
    """A normal client, alone and then beside 2,000 slow ones."""
    return Scenario(
        f"slow_{name}",
        f"200 requests/s at a fixed pace, alone and beside 2,000 slow {', '.join(kinds)}",
        app="plain:site",
        way=Way.SLOW_CLIENTS,
        connections=2000,
        threads=4,
        slow=kinds,
        measures=(
            Measure("p99_beside_ms", "p99 ms beside", 2),
            Measure("p99_alone_ms", "p99 ms alone", 2),
            Measure("p99_opening_ms", "p99 ms while they open", 2),
            Measure("unanswered", "unanswered", 0),
            Measure("slow_connected", "slow connected", 0),
            Measure("slow_closed", "closed by server", 0),
            Measure("lag_p99_ms", "client lag p99 ms", 2),
        ),
    )


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("hello", "13 bytes of text, 64 keep-alive connections", without_python=True),
    Scenario(
        "browser",
        "the same with 12 headers as a browser sends them",
        request=Request(headers=BROWSER_HEADERS),
        without_python=True,
    ),
    Scenario(
        "body_in_10k",
        "POST of 10 KB that the application reads, its length answered",
        app="plain:body_in",
        request=Request("POST", body=TEN_KILOBYTES_OF_X),
        expected=Answer(b"10240"),
    ),
    Scenario(
        "body_out_10k",
        "10 KB answered from one list element",
        app="plain:body_out",
        expected=Answer(plain.TEN_KILOBYTES),
    ),
    Scenario(
        "stream",
        "16 blocks of 4 KB from a generator; only servers that send block by block are ranked",
        app="plain:stream",
        way=Way.STREAM,
        expected=Answer(plain.BLOCK * plain.BLOCKS),
    ),
    Scenario(
        "flask_json",
        "a JSON view of Flask, browser headers; only servers that call close() are ranked",
        app="flask_json:app",
        way=Way.CLOSING,
        request=Request(headers=BROWSER_HEADERS),
        expected=Answer(FLASK_BODY, "application/json"),
    ),
    Scenario(
        "django_json",
        "a JSON view of Django with the middleware that needs no database, browser headers; "
        "only servers that call close() are ranked",
        app="django_json:app",
        way=Way.CLOSING,
        request=Request(headers=BROWSER_HEADERS),
        expected=Answer(DJANGO_BODY, "application/json"),
    ),
    Scenario(
        "sleep_10ms_32t",
        "each request sleeps 10 ms; 32 threads, 64 connections, so at most 3,200 requests/s",
        app="plain:sleep_10ms",
        threads=32,
        needs_threads=True,
    ),
    Scenario(
        "mixed_50ms",
        "600 requests/s at a fixed pace, one in 50 sleeps 50 ms, 4 threads; the fast ones count",
        app="plain:mixed_50ms",
        way=Way.PACED_MIX,
        threads=4,
        needs_threads=True,
        measures=(
            Measure("p99_ms", "p99 ms", 2),
            Measure("p50_ms", "p50 ms", 2),
            Measure("p90_ms", "p90 ms", 2),
            Measure("p999_ms", "p99.9 ms", 2),
            CPU,
            Measure("lag_p99_ms", "client lag p99 ms", 2),
            Measure("unanswered", "unanswered", 0),
        ),
    ),
    Scenario(
        "churn",
        "a new connection for each request, `Connection: close`",
        way=Way.CHURN,
        request=Request(headers=(("Connection", "close"),)),
        without_python=True,
    ),
    Scenario(
        "idle_memory",
        "2,000 connections that have asked once and stay open",
        way=Way.IDLE_MEMORY,
        connections=2000,
        needs_keep_alive=True,
        without_python=True,
        measures=(
            Measure("bytes_each", "bytes/connection", 0),
            Measure("base_mib", "MiB before"),
            Measure("held", "still open", 0),
        ),
    ),
    Scenario(
        "idle_cpu",
        "4 workers with nothing to do for 10 s",
        way=Way.IDLE_CPU,
        workers=4,
        measures=(
            Measure("voluntary_switches", "voluntary switches", 0),
            Measure("ticks", "CPU ticks", 0),
            Measure("cpu_ms", "CPU ms", 2),
            Measure("processes", "processes", 0),
        ),
    ),
    Scenario(
        "asgi_hello",
        "13 bytes of text from raw ASGI, 64 keep-alive connections",
        app="plain_asgi:hello",
        interface="asgi",
    ),
    Scenario(
        "asgi_fastapi_json",
        "a JSON view of FastAPI, browser headers",
        app="fastapi_json:app",
        interface="asgi",
        request=Request(headers=BROWSER_HEADERS),
        expected=Answer(FASTAPI_BODY, "application/json"),
    ),
    Scenario(
        "asgi_echo_10k",
        "POST of 10 KB that raw ASGI reads and sends back",
        app="plain_asgi:echo",
        interface="asgi",
        request=Request("POST", body=TEN_KILOBYTES_OF_X),
        expected=Answer(TEN_KILOBYTES_OF_X),
    ),
    Scenario(
        "asgi_await_10ms",
        "each request awaits 10 ms; 256 connections, so at most 25,600 requests/s",
        app="plain_asgi:await_10ms",
        interface="asgi",
        connections=256,
    ),
    Scenario(
        "asgi_websocket_echo",
        "messages of 32 bytes sent back, one at a time on each of 64 WebSockets",
        app="plain_asgi:websocket_echo",
        interface="asgi",
        way=Way.WEBSOCKET_ECHO,
        measures=(
            Measure("cpu_us", "CPU µs/message"),
            Measure("rate", "messages/s", 0),
            Measure("p99_ms", "p99 ms", 2),
        ),
    ),
    Scenario(
        "gevent_hello",
        "13 bytes of text from a greenlet, 64 keep-alive connections",
        interface="gevent",
    ),
    Scenario(
        "gevent_sleep_100ms",
        "each request sleeps 100 ms in a greenlet; 500 connections, so at most 5,000 requests/s",
        app="plain:sleep_100ms",
        interface="gevent",
        connections=500,
    ),
    *(_beside_slow(kind, kind) for kind in ("heads", "bodies", "readers")),
    _beside_slow("clients", "heads", "bodies", "readers"),
)
