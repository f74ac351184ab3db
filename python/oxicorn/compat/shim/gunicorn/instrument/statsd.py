"""`gunicorn.instrument.statsd`, by Oxicorn."""

from oxicorn.compat.statsd import *  # noqa: F403
