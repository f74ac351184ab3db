"""An application with something in its environ that a hook takes out."""

import os


def application(environ, start_response):
    environ["shop.span"] = object()
    start_response("200 OK", [("X-Release", os.environ["RELEASE"])])
    return [b"shop"]
