"""Requests to the probe application that are sent in two parts, with a restart in between."""

from __future__ import annotations

from .client import chunked, message

HALVES = {
    "head": (message("/body?name=x"), 20),
    "body": (message("/body?name=x", "POST", body=b"b" * 3000), 1500),
    "spooled-body": (message("/body?name=x", "POST", body=b"b" * 300_000), 200_000),
    "chunked-body": (
        message("/body?name=x", "POST", headers=[("Transfer-Encoding", "chunked")])
        + chunked([b"c" * 5000, b"d" * 5000]),
        7000,
    ),
}
"""The whole request, and how much of it comes first."""
