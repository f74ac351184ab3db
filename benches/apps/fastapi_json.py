"""A FastAPI application with one JSON view."""

from __future__ import annotations

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def index() -> dict[str, object]:
    """Answer a small JSON object."""
    return {"message": "Hello, world!", "numbers": [1, 2, 3]}
