"""`python -m gunicorn`: the command `oxicorn`."""

from oxicorn.compat.app.wsgiapp import run

if __name__ == "__main__":
    run()
