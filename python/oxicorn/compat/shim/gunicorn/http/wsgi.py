"""`gunicorn.http.wsgi`, by Oxicorn: what hooks are given as `resp`."""

from oxicorn.compat.response import Response

__all__ = ["Response"]
