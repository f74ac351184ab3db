"""`gunicorn.http.message`, by Oxicorn: what hooks are given as `req`."""

from oxicorn.compat.request import Request

__all__ = ["Request"]
