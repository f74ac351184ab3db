"""`gunicorn.errors`, by Oxicorn."""

from oxicorn.compat.errors import *  # noqa: F403
