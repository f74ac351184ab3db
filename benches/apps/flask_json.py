"""A Flask application with one JSON view."""

from flask import Flask, Response, jsonify

app = Flask(__name__)


@app.get("/")
def index() -> Response:
    """Answer a small JSON object."""
    return jsonify(message="Hello, world!", numbers=[1, 2, 3])
