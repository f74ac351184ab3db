"""gunicorn's names: what its hooks are given, and what programs that embed it import.

`server`, `worker`, `req`, `resp`, `cfg` and their log are what hooks get. `app`, `arbiter`,
`config`, `errors`, `util` and `workers` are for programs that start the server as gunicorn's
documentation of custom applications says; the package `gunicorn` in `shim` consists of them.

What gunicorn's have, and what there is here as well, has the same name and the same meaning. What
cannot be here raises an `AttributeError` that says what to use instead.

Invariant: nothing of the server depends on these objects; requests and responses are made only
where a hook gets them.
"""

version_info = (27, 0, 1)
"""The version of gunicorn whose names these are."""
__version__ = ".".join(map(str, version_info))
SERVER = "gunicorn"
SERVER_SOFTWARE = f"{SERVER}/{__version__}"
