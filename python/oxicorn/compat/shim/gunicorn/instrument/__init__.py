"""`gunicorn.instrument`, by Oxicorn."""
