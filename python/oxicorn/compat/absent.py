"""Attributes that gunicorn has and that cannot be here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

__all__ = ["missing"]


def missing(owner: object, name: str, instead: Mapping[str, str]) -> NoReturn:
    """Raises the `AttributeError` for `name`, with what to use `instead`, if that is known."""
    kind = type(owner).__name__.lower()
    advice = instead.get(name)
    text = f"'{kind}' has no attribute '{name}'"
    raise AttributeError(f"{text}: {advice}" if advice else text, name=name, obj=owner)
