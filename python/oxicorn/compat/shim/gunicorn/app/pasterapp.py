"""`gunicorn.app.pasterapp`, by Oxicorn."""

from oxicorn.compat.app.pasterapp import *  # noqa: F403
