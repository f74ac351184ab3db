"""gunicorn's `workers.sync`."""

from oxicorn.compat.worker import Worker

__all__ = ["SyncWorker"]


class SyncWorker(Worker):
    """Stands for the worker class `sync`: one request at a time."""
