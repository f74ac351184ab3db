"""gunicorn's `workers.gasgi`."""

from oxicorn.compat.worker import Worker

__all__ = ["ASGIWorker"]


class ASGIWorker(Worker):
    """Stands for the worker class `asgi`: an asynchronous application on its own event loop."""
