"""Runs one case of `spec/wsgi` against a server and checks its `response` block, line by line."""

from __future__ import annotations

from .client import Connection, Ended, Response
from .server import Server
from .spec import Case, decode
from .wait import until

_PLAIN = b"GET / HTTP/1.1\r\nHost: test.example\r\n\r\n"


def run(server: Server, case: Case) -> None:
    """Sends the request of the case and checks the answer, the log, and what was recorded."""
    request = case.request() if "request" in case.blocks else _PLAIN
    since = server.mark()
    with server.connect() as connection:
        connection.send(_addressed(request, "X-Case", case.name))
        response = connection.receive(request.split(b" ")[0].decode())
        _check_head(case, response)
        _check_body(case, response)
        _check_connection(case, connection, response)
    for text in _lines(case, "logged: "):
        until(lambda text=text: text in server.log[since:], f"{text!r} is logged", 10)  # type: ignore[misc]
    for words in _lines(case, "recorded: "):
        _check_recorded(server, case, words.split(", "))


def _addressed(request: bytes, name: str, value: str) -> bytes:
    line, end, rest = request.partition(b"\r\n")
    return line + end + f"{name}: {value}\r\n".encode() + rest


def _lines(case: Case, start: str) -> list[str]:
    lines = case.blocks.get("response", "").splitlines()
    return [line.removeprefix(start) for line in lines if line.startswith(start)]


_CHECKS = ("body: ", "body lacks: ", "connection: ", "logged: ", "recorded: ", "HTTP/", "!")


def _check_head(case: Case, response: Response) -> None:
    status = f"{response.version} {response.status} {response.reason}"
    lines = case.blocks.get("response", status).splitlines()
    assert status.startswith(lines[0]), f"{status!r}, not {lines[0]!r}"
    wanted: dict[str, list[str]] = {}
    for line in lines[1:]:
        if line.startswith("!"):
            assert response.all(line[1:]) == [], f"unwanted {line[1:]}: {response.headers}"
        elif not line.startswith(_CHECKS):
            name, _, value = line.partition(": ")
            wanted.setdefault(name, []).append(decode(value).decode())
    for name, values in wanted.items():
        _check_field(name, values, response.all(name))


def _check_field(name: str, wanted: list[str], got: list[str]) -> None:
    if wanted == ["*"]:
        assert len(got) == 1 and got[0], f"{name}: {got}"
    else:
        assert got == wanted, f"{name}: {got}, not {wanted}"


def _check_body(case: Case, response: Response) -> None:
    if "body" in case.blocks:
        assert response.status == 200, response
        assert response.text == case.blocks["body"] + "\n"
    for text in _lines(case, "body: "):
        assert response.body == decode(text[1:-1])
    for text in _lines(case, "body lacks: "):
        assert text.encode() not in response.body


def _check_connection(case: Case, connection: Connection, response: Response) -> None:
    [end] = _lines(case, "connection: ") or [""]
    assert response.complete == (end != "cut"), f"complete: {response.complete}, expected {end!r}"
    if end in ("closed", "cut"):
        assert connection.is_closed()
    elif end == "open":
        connection.send(_addressed(_PLAIN, "X-Recorded", "-"))
        try:
            assert connection.receive().json() == []
        except Ended as error:
            raise AssertionError("the connection was closed") from error


def _check_recorded(server: Server, case: Case, words: list[str]) -> None:
    def recorded() -> list[str]:
        found = server.request(headers=[("X-Recorded", case.name)]).json()
        assert isinstance(found, list)
        return found

    until(lambda: len(recorded()) >= len(words), f"{words} are recorded")
    assert recorded() == words
