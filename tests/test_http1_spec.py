"""Every case of `spec/http1` against the real server: whole, in pieces, twice on a connection."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conftest import Serve
from harness import http1_case, spec
from harness.client import bytewise

CASES = spec.read("http1")
TWICE = [case for case in CASES if http1_case.repeats(case)]

every = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
repeatable = pytest.mark.parametrize("case", TWICE, ids=[case.name for case in TWICE])

SEEN = "apps.seen:application"
LONG = 3000


def in_pieces(data: bytes) -> Iterator[bytes]:
    """Byte by byte; what is long goes in larger pieces, but its ends byte by byte."""
    if len(data) <= LONG:
        return bytewise(data)
    middle = (data[i : min(i + 499, len(data) - 100)] for i in range(100, len(data) - 100, 499))
    return iter([*bytewise(data[:100]), *middle, *bytewise(data[-100:])])


@every
def test_whole(shared: Serve, case: spec.Case) -> None:
    http1_case.run(shared(SEEN, *http1_case.options(case)), case, iter([case.request()]))


@every
def test_in_pieces(shared: Serve, case: spec.Case) -> None:
    http1_case.run(shared(SEEN, *http1_case.options(case)), case, in_pieces(case.request()))


@repeatable
def test_twice_on_one_connection(shared: Serve, case: spec.Case) -> None:
    server = shared(SEEN, *http1_case.options(case))
    http1_case.run(server, case, iter([case.request() * 2]), times=2)
