"""`gunicorn.workers.base`, by Oxicorn."""

from oxicorn.compat.workers.base import *  # noqa: F403
