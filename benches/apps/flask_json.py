"""A Flask application with one JSON view, and two that show whether responses are closed."""

from flask import Flask, Response, jsonify

app = Flask(__name__)
closed: list[int] = []


class Probe(Response):
    """A response that notes when it is closed."""

    def close(self) -> None:
        """Called by the server at the end (PEP 3333)."""
        closed.append(1)
        super().close()


@app.get("/")
def index() -> Response:
    """Answer a small JSON object."""
    return jsonify(message="Hello, world!", numbers=[1, 2, 3])


@app.get("/probe")
def probe() -> Response:
    """Answer something that notes when it is closed."""
    return Probe("probe")


@app.get("/closed")
def how_many_closed() -> str:
    """Answer how many probes were closed, in decimal."""
    return str(len(closed))
