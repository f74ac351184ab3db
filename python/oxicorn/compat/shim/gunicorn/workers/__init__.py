"""`gunicorn.workers`, by Oxicorn."""

from oxicorn.compat.workers import SUPPORTED_WORKERS

__all__ = ["SUPPORTED_WORKERS"]
