"""`gunicorn.app`, by Oxicorn."""
