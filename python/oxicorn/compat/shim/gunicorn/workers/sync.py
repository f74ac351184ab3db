"""`gunicorn.workers.sync`, by Oxicorn."""

from oxicorn.compat.workers.sync import *  # noqa: F403
