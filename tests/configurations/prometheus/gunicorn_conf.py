"""As the client's documentation says it for several processes."""

from prometheus_client import multiprocess

workers = 2


def child_exit(server, worker):
    multiprocess.mark_process_dead(worker.pid)
    server.log.info("its gauges are forgotten: %s", worker.pid)
