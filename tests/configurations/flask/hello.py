"""A factory, behind one proxy."""

import logging

from flask import Flask, request
from werkzeug.middleware.proxy_fix import ProxyFix


def create_app():
    app = Flask(__name__)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)

    # What many have in their factory, so that both logs are one.
    gunicorn_logger = logging.getLogger("gunicorn.error")
    app.logger.handlers = gunicorn_logger.handlers
    app.logger.setLevel(gunicorn_logger.level)

    @app.route("/")
    def hello():
        app.logger.info("greeted by %s", request.path)
        return {"scheme": request.scheme, "from": request.remote_addr}

    return app
