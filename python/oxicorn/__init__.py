"""Oxicorn: a production server for Python web applications.

The server itself is the extension module `oxicorn._native`. This package is what has to be Python:
the command (`cli`), the configuration file, finding the application, and a worker's boot.
"""

from oxicorn._native import __version__

__all__ = ["__version__"]
