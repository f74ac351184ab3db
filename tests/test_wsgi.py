"""PEP 3333 to the letter: the cases of `spec/wsgi`, and what cannot be said as data."""

from __future__ import annotations

import pytest

from conftest import Serve
from harness import spec, wsgi_case
from harness.server import Server

CASES = spec.read("wsgi")


@pytest.fixture
def cases(shared: Serve) -> Server:
    return shared("apps.cases:application")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_spec(cases: Server, case: spec.Case) -> None:
    wsgi_case.run(cases, case)
