"""`gunicorn.config`, by Oxicorn."""

from oxicorn.compat.config import *  # noqa: F403
