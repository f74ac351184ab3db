"""`gunicorn.app.wsgiapp`, by Oxicorn."""

from oxicorn.compat.app.wsgiapp import *  # noqa: F403
