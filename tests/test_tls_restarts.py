"""Restarts of a server that speaks TLS: connections cannot move, and none is cut in flight."""

from __future__ import annotations

import shutil
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from signal import SIGHUP, SIGTERM

import pytest

from conftest import Serve
from harness.certificates import Authority, Identity
from harness.deployment import Deployment
from harness.gate import Gate
from harness.load import Load
from harness.server import Server
from harness.site import APP, ASGI_APP
from harness.wait import until
from test_tls import is_let_in


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def identity(authority: Authority) -> Identity:
    return authority.issue()


@pytest.fixture
def site(tmp_path: Path, serve: Serve) -> Iterator[Deployment]:
    # The path of a Unix socket is short, and that of a test's folder may be long.
    with tempfile.TemporaryDirectory(prefix="oxi-") as runtime:
        yield Deployment(tmp_path, Path(runtime), serve, APP)


def configure(site: Deployment, identity: Identity, more: str = "") -> None:
    files = f"certfile = {str(identity.cert)!r}\nkeyfile = {str(identity.key)!r}\n"
    site.configure(files + more)


def start(site: Deployment, authority: Authority, identity: Identity, *options: str) -> Server:
    configure(site, identity)
    return site.start("--keep-alive", "30", *options, tls=authority.client())


@pytest.mark.parametrize("mode", ["hot", "phased"])
@pytest.mark.parametrize("preload", [False, True])
def test_a_restart_fails_no_request_over_tls(
    site: Deployment, authority: Authority, identity: Identity, mode: str, preload: bool
) -> None:
    options = ("--restart-mode", mode, *(["--preload"] if preload else []))
    server = start(site, authority, identity, *options)
    with Load(server, clients=4) as load:
        load.wait_for("one", 50)
        site.write("two")
        code, printed = site.restart()
        assert code == 0, printed
        load.wait_for("two", 50)


def test_an_asgi_restart_fails_no_request_over_tls(
    tmp_path: Path, serve: Serve, authority: Authority, identity: Identity
) -> None:
    with tempfile.TemporaryDirectory(prefix="oxi-") as runtime:
        text = ASGI_APP.replace("{{", "{").replace("}}", "}")
        site = Deployment(tmp_path, Path(runtime), serve, text)
        server = start(site, authority, identity)
        with Load(server, clients=4) as load:
            load.wait_for("one", 50)
            site.write("two")
            assert site.restart()[0] == 0
            load.wait_for("two", 50)


def test_a_request_in_flight_is_answered_by_the_old_worker_and_is_its_last(
    serve: Serve, authority: Authority, identity: Identity, tmp_path: Path
) -> None:
    server = serve(
        "apps.probe:application",
        *(*identity.options, "--observe-timeout", "0.5", "--keep-alive", "30"),
        tls=authority.client(),
    )
    gate, old = Gate(tmp_path), server.worker
    with server.connect() as connection:
        connection.request("/")
        connection.send(f"GET {gate.target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        gate.wait_entered()
        server.signal(SIGHUP)
        server.wait_for_log("Generation 2 is confirmed")
        gate.open()
        response = connection.receive()
        assert (response.status, response.json()["pid"]) == (200, old)
        # The client is told, and comes back elsewhere.
        assert connection.tls.recv(1) == b""
    until(lambda: old not in server.workers(), "the old worker has left")


def test_a_client_that_waits_is_told_that_the_old_worker_leaves(
    site: Deployment, authority: Authority, identity: Identity
) -> None:
    server = start(site, authority, identity)
    with server.connect() as connection:
        assert connection.request().text == "one"
        site.write("two")
        assert site.restart()[0] == 0
        # With TLS's own word for it; without it this would raise.
        assert connection.tls.recv(1) == b""
    assert server.request().text == "two"


def test_a_session_is_resumed_after_a_restart(
    site: Deployment, authority: Authority, identity: Identity
) -> None:
    server = start(site, authority, identity)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = authority.client(version=version)
        with server.connect(tls=context) as connection:
            connection.request()
            session = connection.tls.session
        assert site.restart()[0] == 0
        with server.connect(tls=context, session=session) as connection:
            connection.request()
            assert connection.tls.session_reused


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_of_before_does_not_stand_for_a_clients_certificate(
    site: Deployment, authority: Authority, identity: Identity, version: ssl.TLSVersion
) -> None:
    context = authority.client(version=version)
    server = start(site, authority, identity)
    with server.connect(tls=context) as connection:
        connection.request()
        session = connection.tls.session
    configure(site, identity, f"cert_reqs = 2\nca_certs = {str(authority.cert)!r}\n")
    assert site.restart()[0] == 0
    for offered in (None, session):
        assert not is_let_in(server, context, offered)
    assert is_let_in(server, authority.client(authority.issue("client"), version=version))


def test_a_restart_may_bring_another_certificate(
    site: Deployment, authority: Authority, identity: Identity
) -> None:
    server = start(site, authority, identity)
    other = authority.issue()
    configure(site, other)
    assert site.restart()[0] == 0
    with server.connect() as connection:
        found = connection.tls.getpeercert()
        assert found is not None and int(str(found["serialNumber"]), 16) == other.serial
    # Which is the one that is watched from now on.
    newer = authority.issue()
    expected = newer.serial
    newer.move_to(other)
    server.wait_for_log("The certificate was renewed: ")
    with server.connect() as connection:
        found = connection.tls.getpeercert()
        assert found is not None and int(str(found["serialNumber"]), 16) == expected


@pytest.mark.parametrize("what", ["missing", "unreadable", "other-key", "authority"])
def test_a_certificate_that_cannot_be_used_changes_nothing(
    site: Deployment, authority: Authority, identity: Identity, what: str
) -> None:
    server = start(site, authority, identity)
    broken = Identity(site.folder / "cert.pem", site.folder / "key.pem")
    shutil.copy(identity.cert, broken.cert)
    shutil.copy(identity.key, broken.key)
    configure(site, broken)
    reason = f"certfile: '{broken.cert}' cannot be read: No such file"
    if what == "missing":
        broken.cert.unlink()
    elif what == "unreadable":
        broken.cert.write_bytes(b"\xff\xfe")
        reason = f"certfile: '{broken.cert}' holds no certificate in PEM form."
    elif what == "other-key":
        shutil.copy(authority.issue().key, broken.key)
        reason = f"keyfile: '{broken.key}' does not fit the certificate in '{broken.cert}'."
    else:
        file = site.folder / "gunicorn.conf.py"
        file.write_text(f"{file.read_text()}cert_reqs = 2\nca_certs = 'none.pem'\n")
        reason = f"ca_certs: '{site.folder}/none.pem' cannot be read: No such file"
    site.write("two")
    assert reason in site.fails_to_restart(server)
    assert "Restart refused, generation 1 goes on serving" in server.log
    configure(site, identity)
    assert site.restart()[0] == 0
    assert server.request().text == "two"


def test_recycling_fails_no_request_over_tls(
    site: Deployment, authority: Authority, identity: Identity
) -> None:
    server = start(site, authority, identity, "--max-requests", "60")
    with Load(server, clients=4) as load:
        server.wait_for_log("Booting worker", 8)
        load.wait_for("one", 50)


def test_a_stop_ends_idle_connections_with_a_word(
    serve: Serve, authority: Authority, identity: Identity
) -> None:
    options = (*identity.options, "--keep-alive", "30")
    server = serve("apps.probe:application", *options, tls=authority.client())
    with server.connect() as connection:
        connection.request("/")
        server.signal(SIGTERM)
        assert connection.tls.recv(1) == b""
    server.expect_exit(0)


def test_an_upgrade_in_place_fails_no_request_over_tls(
    site: Deployment, authority: Authority, identity: Identity
) -> None:
    server = start(site, authority, identity)
    with Load(server, clients=4) as load:
        load.wait_for("one", 50)
        site.write("two")
        with server.connect() as connection:
            connection.request()
            session = connection.tls.session
        code, printed = site.ctl("upgrade", "--wait")
        assert code == 0, printed
        load.wait_for("two", 50)
    with server.connect(tls=server.tls, session=session) as connection:
        connection.request()
        assert connection.tls.session_reused


def test_the_ready_check_asks_as_a_client_would(
    tmp_path: Path, serve: Serve, authority: Authority, identity: Identity
) -> None:
    (tmp_path / "site_app.py").write_text(
        "def app(environ, start_response):\n"
        "    secure = environ['wsgi.url_scheme'] == 'https'\n"
        "    status = '200 OK' if secure else '500 Plain'\n"
        "    start_response(status, [('Content-Length', '0')])\n"
        "    return [b'']\n"
    )
    options = (*identity.options, "--ready-check", "/")
    server = serve("site_app:app", *options, cwd=tmp_path, tls=authority.client())
    assert server.request().status == 200
