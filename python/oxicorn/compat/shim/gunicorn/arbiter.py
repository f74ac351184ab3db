"""`gunicorn.arbiter`, by Oxicorn."""

from oxicorn.compat.arbiter import *  # noqa: F403
