"""`gunicorn.http`, by Oxicorn."""
