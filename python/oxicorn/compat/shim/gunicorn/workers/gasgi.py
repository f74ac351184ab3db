"""`gunicorn.workers.gasgi`, by Oxicorn."""

from oxicorn.compat.workers.gasgi import *  # noqa: F403
