"""`gunicorn.workers.gtornado`, by Oxicorn."""

from oxicorn.compat.workers.gtornado import *  # noqa: F403
