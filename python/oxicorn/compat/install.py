"""`import oxicorn.compat.install` first: then `gunicorn` can be imported without being installed.

For programs that start the server themselves. An installed gunicorn stays what it is.
"""

from oxicorn.shim import install

install()
