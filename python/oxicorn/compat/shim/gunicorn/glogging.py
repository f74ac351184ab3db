"""`gunicorn.glogging`, by Oxicorn."""

from oxicorn.compat.glogging import *  # noqa: F403
