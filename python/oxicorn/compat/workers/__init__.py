"""gunicorn's `workers`: names of worker classes.

They stand for what the server does by itself, and can be given to `worker_class`; there is nothing
to override.
"""

SUPPORTED_WORKERS = {
    "sync": "gunicorn.workers.sync.SyncWorker",
    "gthread": "gunicorn.workers.gthread.ThreadWorker",
    "asgi": "gunicorn.workers.gasgi.ASGIWorker",
}
"""Those that there are, by their short names."""
