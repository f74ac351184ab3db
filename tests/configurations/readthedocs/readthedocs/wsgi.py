"""Prints, and is captured."""

import os


def application(environ, start_response):
    print("served with", os.environ["DJANGO_SETTINGS_MODULE"], flush=True)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"docs"]
