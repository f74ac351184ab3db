"""`gunicorn.workers.gthread`, by Oxicorn."""

from oxicorn.compat.workers.gthread import *  # noqa: F403
