"""What each of gunicorn's settings does, shown on servers that several settings share.

`OF` has for each setting a function that fails unless it does what it says. They are right for
gunicorn as well, where it has no defect: `OXICORN_TEST_SERVER=gunicorn` runs them with it.
"""

from __future__ import annotations

from . import asgi, hooks, lives, logs, process, requests, sources, tls
from .stage import OF, Stage

__all__ = ["OF", "Stage", "asgi", "hooks", "lives", "logs", "process", "requests", "sources", "tls"]
