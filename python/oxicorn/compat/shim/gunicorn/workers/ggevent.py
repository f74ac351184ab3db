"""`gunicorn.workers.ggevent`, by Oxicorn."""

from oxicorn.compat.workers.ggevent import *  # noqa: F403
