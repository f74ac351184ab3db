"""gunicorn's `workers.gtornado`."""

from oxicorn.compat.worker import Worker

__all__ = ["TornadoWorker"]


class TornadoWorker(Worker):
    """Stands for the worker class `tornado`."""
