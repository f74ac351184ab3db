"""The webserver's monitor counts the workers whose title has the prefix."""

import setproctitle

READY_PREFIX = "[ready] "


def post_worker_init(_):
    setproctitle.setproctitle(READY_PREFIX + setproctitle.getproctitle())


def on_starting(server):
    from airflow_www import providers

    providers.load(server.log)
