"""An application that looks at its environment when it is imported."""

import os

IS_HTTPS = os.environ.get("HTTPS", "").strip() == "on"


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"mozilla"]
