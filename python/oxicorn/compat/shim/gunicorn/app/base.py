"""`gunicorn.app.base`, by Oxicorn."""

from oxicorn.compat.app.base import *  # noqa: F403
