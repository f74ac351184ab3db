"""`gunicorn.glogging`, by Oxicorn."""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    return getattr(importlib.import_module("oxicorn.compat.glogging"), name)
