"""Counts, over all processes."""

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

COUNTER = Counter("my_counter", "Description of my counter")


def app(environ, start_response):
    COUNTER.inc()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    start_response("200 OK", [("Content-Type", CONTENT_TYPE_LATEST)])
    return [generate_latest(registry)]
