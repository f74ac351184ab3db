"""As guides to containers have it: by the number of cores, with everything in the log."""

import multiprocessing
import os

bind = "0.0.0.0:" + os.environ.get("APP_PORT", "8080")
workers = min(multiprocessing.cpu_count() * 2 + 1, 3)
threads = int(os.environ.get("PYTHON_MAX_THREADS", 2))
worker_tmp_dir = "/dev/shm"
reload = bool(os.environ.get("WEB_RELOAD", ""))
timeout = int(os.environ.get("WEB_TIMEOUT", 120))
errorlog = accesslog = "-"
forwarded_allow_ips = "*"
secure_scheme_headers = {"X-Forwarded-Proto": "https"}

# Names that are no settings: the file's own.
log_level = "info"
cores = multiprocessing.cpu_count()
