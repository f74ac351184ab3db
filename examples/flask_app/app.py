"""A small Flask application: a page, JSON, an upload and a streamed answer.

`oxicorn "app:create_app()"`
"""

import hashlib

from flask import Flask, Response, jsonify, render_template, request


def create_app(greeting="Hello from Flask"):
    """Makes the application; Oxicorn calls this in each worker."""
    app = Flask(__name__)

    @app.get("/")
    def index():
        return render_template("index.html", greeting=greeting)

    @app.get("/json")
    def as_json():
        return jsonify(greeting=greeting, items=[1, 2, 3])

    @app.post("/upload")
    def upload():
        sent = request.files["file"]
        digest = hashlib.sha256()
        size = 0
        while block := sent.stream.read(1 << 20):
            digest.update(block)
            size += len(block)
        return jsonify(name=sent.filename, size=size, sha256=digest.hexdigest())

    @app.get("/stream")
    def stream():
        count = request.args.get("lines", 10, type=int)
        return Response((f"line {number}\n" for number in range(count)), mimetype="text/plain")

    return app
