"""gunicorn's `workers.gthread`."""

from oxicorn.compat.worker import Worker

__all__ = ["ThreadWorker"]


class ThreadWorker(Worker):
    """Stands for the worker class `gthread`: several requests at a time, each on a thread."""
