"""The names of gunicorn, by Oxicorn: for code that imports them (`gunicorn_shim`).

Each module here has what its namesake in `oxicorn.compat` has, and no code.
"""

from oxicorn.compat import SERVER, SERVER_SOFTWARE, __version__, version_info

__all__ = ["SERVER", "SERVER_SOFTWARE", "__version__", "version_info"]
