"""`gunicorn.util`, by Oxicorn."""

from oxicorn.compat.util import *  # noqa: F403
