"""`gunicorn.debug`, by Oxicorn."""

from oxicorn.compat.debug import *  # noqa: F403
