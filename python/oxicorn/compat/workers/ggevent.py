"""gunicorn's `workers.ggevent`."""

from oxicorn.compat.worker import Worker

__all__ = ["GeventPyWSGIWorker", "GeventWorker"]


class GeventWorker(Worker):
    """Stands for the worker class `gevent`: many requests at a time, each in a greenlet."""


class GeventPyWSGIWorker(GeventWorker):
    """Stands for the same."""
