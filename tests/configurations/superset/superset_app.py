"""A factory, with long queries."""

from flask import Flask, request


def create_app():
    app = Flask(__name__)

    @app.route("/health")
    def health():
        return "OK"

    @app.route("/explore")
    def explore():
        return {"length of the query": len(request.query_string)}

    return app
