"""A factory, behind one proxy."""

from flask import Flask, request
from werkzeug.middleware.proxy_fix import ProxyFix


def create_app():
    app = Flask(__name__)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)

    @app.route("/")
    def hello():
        return {"scheme": request.scheme, "from": request.remote_addr}

    return app
