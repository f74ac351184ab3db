"""A site that takes a second to import, and counts every order that it executes."""

import os
import time

SECONDS_TO_IMPORT = float(os.environ.get("SECONDS_TO_IMPORT", "1"))
ORDERS = os.environ.get("ORDERS", os.devnull)
"""Each executed order is a line in this file, whichever process executed it."""

time.sleep(SECONDS_TO_IMPORT)
VERSION = time.strftime("%H:%M:%S").encode()


def app(environ, start_response):
    """Answer GET with the version; execute the order in a POST."""
    if environ["REQUEST_METHOD"] == "POST":
        order = environ["wsgi.input"].read()
        with open(ORDERS, "ab", buffering=0) as orders:
            orders.write(order + b"\n")
        body = b"done " + order
    else:
        body = VERSION
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
