"""Everything from the environment, as texts."""

from os import getenv

bind = f"0.0.0.0:{getenv('PORT', '8000')}"
workers = getenv("WEB_CONCURRENCY", "2")
accesslog = "-"
errorlog = "-"
loglevel = getenv("LOGLEVEL", "info")

# Larger than the load balancer's.
keepalive = getenv("WSGI_KEEP_ALIVE", "118")
worker_class = getenv("GUNICORN_WORKER_CLASS", "sync")
worker_connections = getenv("APP_GUNICORN_WORKER_CONNECTIONS", "1000")
worker_tmp_dir = "/dev/shm"


def post_fork(server, worker):
    server.log.info("Worker spawned (pid: %s)", worker.pid)
