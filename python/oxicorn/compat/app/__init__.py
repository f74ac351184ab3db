"""gunicorn's `app`: the classes of programs that start the server themselves."""
