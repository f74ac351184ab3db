"""gunicorn's `workers.base`."""

from oxicorn.compat.worker import Worker

__all__ = ["Worker"]
