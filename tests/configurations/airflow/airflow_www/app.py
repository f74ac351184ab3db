"""The application, made once for each process."""

from flask import Flask

_app = None


def cached_app(config=None, testing=False):
    global _app
    if _app is None:
        _app = Flask(__name__)
        _app.add_url_rule("/health", view_func=lambda: {"metadatabase": {"status": "healthy"}})
    return _app
