"""Flask, Django and wsgiref.validate over real sockets, with the applications of `examples/`."""

from __future__ import annotations

import hashlib
import http.cookiejar
import os
import re
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Serve
from harness.client import Response, chunked, message
from harness.server import TESTS, Server

EXAMPLES = TESTS.parent / "examples"
UPLOAD = bytes(range(256)) * 4096 * 50
"""50 MiB."""


def form_with_file(data: bytes, **fields: str) -> tuple[bytes, tuple[str, str]]:
    """A multipart form with one file, and its Content-Type."""
    boundary = "a-boundary-that-is-not-in-the-data"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    head = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="file"; filename="large.bin"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = "".join(parts).encode() + head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
    return body, ("Content-Type", f"multipart/form-data; boundary={boundary}")


# Flask


@pytest.fixture(scope="module")
def flask(serve_module: Serve) -> Server:
    folder = EXAMPLES / "flask_app"
    return serve_module("app:create_app()", "--threads", "2", cwd=folder)


def test_flask_renders_a_page(flask: Server) -> None:
    response = flask.request("/")
    assert "Hello from Flask" in response.text
    assert response.header("Content-Type") == "text/html; charset=utf-8"


def test_flask_answers_json(flask: Server) -> None:
    assert flask.request("/json").json()["items"] == [1, 2, 3]


def test_flask_takes_an_upload_of_50_mb(flask: Server) -> None:
    body, kind = form_with_file(UPLOAD)
    seen = flask.request("/upload", "POST", body=body, headers=[kind]).json()
    assert seen == {
        "name": "large.bin",
        "size": len(UPLOAD),
        "sha256": hashlib.sha256(UPLOAD).hexdigest(),
    }


def test_flask_takes_a_chunked_upload(flask: Server) -> None:
    body, kind = form_with_file(b"chunked data")
    headers = [kind, ("Transfer-Encoding", "chunked")]
    seen = flask.send(message("/upload", "POST", headers=headers) + chunked([body])).json()
    assert seen["sha256"] == hashlib.sha256(b"chunked data").hexdigest()


def test_flask_streams(flask: Server) -> None:
    response = flask.request("/stream?lines=1000")
    assert response.text.splitlines() == [f"line {n}" for n in range(1000)]
    assert response.header("Transfer-Encoding") == "chunked"


def test_flask_serves_static_and_missing_paths(flask: Server) -> None:
    assert flask.request("/missing").status == 404
    assert flask.request("/json", "DELETE").status == 405
    assert flask.request("/json", "HEAD").body == b""


# Django


class Browser:
    """Keeps cookies and follows redirects, as a person's browser does."""

    def __init__(self, server: Server):
        self.root = f"http://127.0.0.1:{server.port}"
        jar = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))

    def open(self, path: str, data: bytes | None = None, **headers: str) -> Any:
        fields = {"Referer": self.root, **headers}
        request = urllib.request.Request(self.root + path, data, fields)
        return self._opener.open(request, timeout=60)

    def token(self, path: str) -> str:
        """The CSRF token in the form at `path`."""
        page = self.open(path).read().decode()
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert found, page
        return found[1]

    def submit(self, path: str, **fields: str) -> str:
        fields["csrfmiddlewaretoken"] = self.token(path)
        answer = self.open(path, urllib.parse.urlencode(fields).encode())
        text: str = answer.read().decode()
        return text


@pytest.fixture(scope="module")
def django(serve_module: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = EXAMPLES / "django_app"
    settings = {
        "DJANGO_DATABASE": str(tmp_path_factory.mktemp("django") / "db.sqlite3"),
        "DJANGO_SUPERUSER_PASSWORD": "a long password",
        "DJANGO_ALLOWED_HOSTS": "127.0.0.1,test.example",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    manage(folder, settings, "migrate")
    manage(folder, settings, "createsuperuser", "--username", "admin", "--email", "a@b.example")
    yield serve_module("site_project.wsgi", cwd=folder, env=settings)


def manage(folder: Path, settings: dict[str, str], *what: str) -> None:
    subprocess.run(
        [sys.executable, "manage.py", *what, "--no-input"],
        cwd=folder,
        env={**os.environ, **settings},
        check=True,
        capture_output=True,
        timeout=120,
    )


def test_django_admin_lets_its_user_in(django: Server) -> None:
    browser = Browser(django)
    answer = browser.submit(
        "/admin/login/?next=/admin/", username="admin", password="a long password"
    )
    assert "Site administration" in answer
    assert "Log out" in answer
    assert "admin" in browser.open("/admin/auth/user/").read().decode()


def test_django_admin_keeps_others_out(django: Server) -> None:
    answer = Browser(django).submit("/admin/login/", username="admin", password="wrong")
    assert "Please enter the correct" in answer


def test_django_admin_adds_a_user(django: Server) -> None:
    browser = Browser(django)
    browser.submit("/admin/login/?next=/admin/", username="admin", password="a long password")
    password = "another long word"
    answer = browser.submit(
        "/admin/auth/user/add/",
        username="café",
        password1=password,
        password2=password,
        usable_password="true",
    )
    assert "was added successfully" in answer


@pytest.mark.parametrize(
    "path", ["/static/uploads/style.css", "/static/admin/css/base.css", "/static/admin/js/core.js"]
)
def test_django_serves_static_files(django: Server, path: str) -> None:
    response = django.request(path)
    assert response.status == 200
    assert str(len(response.body)) == response.header("Content-Length")
    assert len(response.body) > 100


def test_django_answers_a_conditional_request(django: Server) -> None:
    when = django.request("/static/admin/css/base.css").header("Last-Modified")
    again = [("If-Modified-Since", when or "")]
    response = django.request("/static/admin/css/base.css", headers=again)
    assert (response.status, response.body) == (304, b"")


def test_django_takes_an_upload_of_50_mb(django: Server) -> None:
    browser = Browser(django)
    body, (_, kind) = form_with_file(UPLOAD, csrfmiddlewaretoken=browser.token("/"))
    answer = browser.open("/", body, **{"Content-Type": kind}).read().decode()
    assert hashlib.sha256(UPLOAD).hexdigest() in answer
    assert str(len(UPLOAD)) in answer


def test_django_streams(django: Server) -> None:
    response = django.request("/stream/?lines=500")
    assert response.text.splitlines() == [f"line {n}" for n in range(500)]
    assert len(response.chunks) == 500


def test_django_sees_its_host(django: Server) -> None:
    assert django.request("/", host="elsewhere.example").status == 400
    assert django.request("/", host="127.0.0.1").status == 200


# wsgiref.validate


@pytest.fixture
def validated(shared: Serve) -> Server:
    return shared("apps.validated:application")


def valid(response: Response, size: int) -> bool:
    assert response.status == 200, response.text
    return response.header("X-Size") == str(size)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
def test_the_validator_has_no_complaint(validated: Server, method: str) -> None:
    assert valid(validated.request("/some/path?a=1", method), 0)
    assert "AssertionError" not in validated.log


def test_the_validator_has_no_complaint_about_bodies(validated: Server) -> None:
    kind = ("Content-Type", "text/plain")
    assert valid(validated.request("/", "POST", body=b"a\n" * 60_000, headers=[kind]), 120_000)
    head = message("/", "POST", headers=[kind, ("Transfer-Encoding", "chunked")])
    assert valid(validated.send(head + chunked([b"one", b"two"])), 6)
    assert "AssertionError" not in validated.log


def test_the_validator_has_no_complaint_about_write(validated: Server) -> None:
    response = validated.request("/write")
    assert response.body == b"written one two"
    assert "AssertionError" not in validated.log


def test_the_validator_has_no_complaint_about_http_1_0(validated: Server) -> None:
    assert valid(validated.request("/", version="HTTP/1.0", host=None), 0)
    assert "AssertionError" not in validated.log
