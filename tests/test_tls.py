"""TLS on the real server: what clients get, what is refused at the start, and what is renewed while
it serves. Restarts are in `test_tls_restarts`.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import Serve
from harness import processes
from harness.certificates import Authority, Identity, openssl
from harness.client import Ended, message
from harness.folders import open_to_everybody
from harness.inotify import limited
from harness.server import Server
from harness.wait import until
from harness.websocket import WebSocket
from test_idle import SECONDS, rests

SIZE = 20 << 20


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def probe(serve_module: Serve, authority: Authority) -> Server:
    identity = authority.issue()
    options = (*identity.options, "--threads", "2", "--keep-alive", "30")
    return serve_module("apps.probe:application", *options, tls=authority.client())


@pytest.fixture(scope="module")
def asgi(serve_module: Serve, authority: Authority) -> Server:
    options = (*authority.issue().options, "--cert-reqs", "1", "--ca-certs", str(authority.cert))
    return serve_module("apps.asgi_probe:application", *options, tls=authority.client())


def curl(*words: str) -> subprocess.CompletedProcess[bytes]:
    command = ["curl", "--silent", "--show-error", "--max-time", "60", *words]
    return subprocess.run(command, capture_output=True, timeout=90, check=False)


def connects(server: Server, *words: str, feed: bytes = b"") -> str:
    """What `openssl s_client` prints, whether it can connect or not."""
    place = ("-connect", f"127.0.0.1:{server.port}")
    command = ["openssl", "s_client", *place, *words]
    done = subprocess.run(command, input=feed, capture_output=True, timeout=30, check=False)
    return done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")


# requests


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_every_version_that_is_sound_is_spoken(
    probe: Server, authority: Authority, version: ssl.TLSVersion
) -> None:
    context = authority.client(version=version)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with probe.connect(tls=context) as connection:
        for _ in range(3):
            environ = connection.request("/environ").json()
            assert environ["wsgi.url_scheme"] == "https"
        assert connection.tls.version() == version.name.replace("_", ".", 1)
        assert connection.tls.selected_alpn_protocol() == "http/1.1"


def test_curl_is_served(probe: Server, authority: Authority, tmp_path: Path) -> None:
    trust = ("--cacert", str(authority.cert))
    url = f"https://localhost:{probe.port}"
    done = curl(*trust, f"{url}/", f"{url}/environ")
    assert (done.returncode, done.stderr) == (0, b"")
    sent = tmp_path / "sent"
    sent.write_bytes(os.urandom(SIZE))
    done = curl(*trust, "--data-binary", f"@{sent}", f"{url}/body")
    assert hashlib.sha256(sent.read_bytes()).hexdigest().encode() in done.stdout


def test_large_uploads_arrive_whole(probe: Server) -> None:
    body = os.urandom(SIZE)
    found = probe.request("/body", "POST", body=body).json()
    assert found["size"] == SIZE
    assert found["sha256"] == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize(
    ("target", "first"),
    [(f"/bytes?size={SIZE}", b"x"), (f"/stream?size=65536&count={SIZE // 65536}", b"y")],
)
def test_large_responses_arrive_whole(probe: Server, target: str, first: bytes) -> None:
    with probe.connect() as connection:
        assert connection.request(target).body == first * SIZE
        assert connection.request("/").status == 200


def test_files_are_sent_encrypted(probe: Server, tmp_path: Path) -> None:
    file = tmp_path / "file"
    content = os.urandom(3 << 20)
    file.write_bytes(content)
    with probe.connect() as connection:
        response = connection.request(f"/file?path={file}&length={len(content) - 5}&offset=5")
        assert response.body == content[5:]
        assert connection.request("/").status == 200


def test_a_connection_that_is_closed_is_told_so(probe: Server) -> None:
    with probe.connect() as connection:
        connection.send(message(headers=[("Connection", "close")])).receive()
        # Without the word for it this would raise.
        assert connection.tls.recv(10) == b""


def test_a_client_that_leaves_inside_its_body_is_gone(probe: Server) -> None:
    mark = probe.mark()
    with probe.connect() as connection:
        connection.send(message("/body", "POST", body=b"x" * 1000)[:-500])
    probe.wait_for_log("left inside a request body", since=mark)
    assert probe.request().status == 200


def test_a_scope_says_what_was_agreed(asgi: Server, authority: Authority) -> None:
    client = authority.issue("client, of course")
    with asgi.connect(tls=authority.client(client)) as connection:
        scope = ast.literal_eval(connection.request("/scope").text)
    tls = scope["extensions"]["tls"]
    assert scope["scheme"] == "https"
    assert tls["tls_version"] == 0x0304
    assert tls["cipher_suite"] in (0x1301, 0x1302, 0x1303)
    assert tls["client_cert_name"] == "CN=client\\, of course,O=Test"
    assert tls["client_cert_error"] is None
    own = ssl.PEM_cert_to_DER_cert(client.cert.read_text())
    assert ssl.PEM_cert_to_DER_cert(tls["client_cert_chain"][0]) == own
    assert tls["server_cert"].startswith("-----BEGIN CERTIFICATE-----\n")
    # A certificate is optional here.
    scope = ast.literal_eval(asgi.request("/scope").text)
    assert scope["extensions"]["tls"]["client_cert_chain"] == []
    assert scope["extensions"]["tls"]["client_cert_name"] is None


def test_websockets_are_spoken_over_tls(serve: Serve, authority: Authority) -> None:
    options = ("--worker-class", "asgi", *authority.issue().options)
    server = serve("apps.websocket_probe:application", *options, tls=authority.client())
    with WebSocket(server.connect(), "/echo") as websocket:
        for text in ("hello", "x" * 300_000):
            assert websocket.send(text).receive() == text


def test_uploads_are_taken_while_they_come(asgi: Server) -> None:
    body = os.urandom(SIZE)
    assert asgi.request("/echo", "POST", body=body).body == body


# those who do not speak it


def test_plain_http_gets_a_readable_answer_and_a_log_line(probe: Server) -> None:
    mark = probe.mark()
    with probe.connect(tls=None) as connection:
        response = connection.request()
    assert response.status == 400
    assert "The plain HTTP request was sent to HTTPS port" in response.text
    probe.wait_for_log("The plain HTTP request was sent to HTTPS port", since=mark)


@pytest.mark.parametrize(
    "words", [("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), ("-tls1_2", "-cipher", "AES128-SHA")]
)
def test_what_is_not_sound_is_refused_with_an_alert(probe: Server, words: tuple[str, ...]) -> None:
    mark = probe.mark()
    printed = connects(probe, *words)
    assert "alert" in printed
    probe.wait_for_log("The TLS handshake with .* failed", since=mark)


def test_a_renegotiation_harms_nobody_else(probe: Server) -> None:
    connects(probe, "-tls1_2", feed=b"R\nR\nR\n")
    assert probe.request().status == 200


def test_handshakes_occupy_nobody_and_are_closed_in_time(
    serve: Serve, authority: Authority
) -> None:
    options = ("--tls-handshake-timeout", "1", *authority.issue().options)
    server = serve("apps.probe:application", *options, tls=authority.client())
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(500)]
    assert server.request().status == 200
    for one in silent:
        one.settimeout(20)
        assert one.recv(1) == b""
        one.close()
    server.wait_for_log("did not finish the TLS handshake within tls_handshake_timeout", 500)


def test_a_scan_finds_nothing_but_that_the_tests_authority_is_unknown(
    serve: Serve, authority: Authority, tmp_path: Path
) -> None:
    """Mozilla's intermediate configuration, with a certificate of each kind."""
    for rsa in (False, True):
        options = authority.issue(rsa=rsa).options
        server = serve("apps.probe:application", *options, tls=authority.client())
        found = tmp_path / f"scan-{rsa}.json"
        words = ("--mozilla_config=intermediate", f"--json_out={found}", f"127.0.0.1:{server.port}")
        command = [sys.executable, "-W", "ignore", "-m", "sslyze", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        _, _, verdict = done.stdout.partition("COMPLIANCE AGAINST TLS CONFIGURATION")
        findings = re.findall(r"^ +\* (\w+): ", verdict, re.MULTILINE)
        assert findings == ["certificate_path_validation"], done.stdout + done.stderr
        [result] = json.loads(found.read_text())["server_scan_results"]
        assert result["scan_status"] == "COMPLETED"
        scan = result["scan_result"]
        renegotiation = scan["session_renegotiation"]["result"]
        assert not renegotiation["is_vulnerable_to_client_renegotiation_dos"]
        assert not scan["heartbleed"]["result"]["is_vulnerable_to_heartbleed"]


# clients' certificates


@pytest.mark.parametrize("how", ["1", "2"])
def test_clients_are_asked_for_certificates(serve: Serve, tmp_path: Path, how: str) -> None:
    authority, stranger = Authority(tmp_path / "a"), Authority(tmp_path / "b", "stranger")
    options = (*authority.issue().options, "--cert-reqs", how, "--ca-certs", str(authority.cert))
    known = authority.client(authority.issue("client"))
    server = serve("apps.probe:application", *options, tls=known)
    assert server.request().status == 200
    assert is_let_in(server, authority.client()) == (how == "1")
    assert not is_let_in(server, authority.client(stranger.issue("client")))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("how", ["1", "2"])
def test_a_session_does_not_stand_for_a_certificate_that_is_believed_no_more(
    serve: Serve, authority: Authority, tmp_path: Path, version: ssl.TLSVersion, how: str
) -> None:
    old, new, believed = Authority(tmp_path / "a"), Authority(tmp_path / "b"), tmp_path / "ca.pem"
    shutil.copy(old.cert, believed)
    context = authority.client(old.issue("client"), version)
    options = ("--cert-reqs", how, "--ca-certs", str(believed))
    server = serve("apps.probe:application", *authority.issue().options, *options, tls=context)
    with server.connect() as connection:
        connection.request("/")
        session = connection.tls.session
    shutil.copy(new.cert, believed)
    server.wait_for_log("The certificate was renewed: ")
    for offered in (None, session):
        assert not is_let_in(server, context, offered)


def is_let_in(
    server: Server, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> bool:
    try:
        with server.connect(tls=context, session=session) as connection:
            return connection.request().status == 200
    except (ssl.SSLError, ConnectionError, Ended):
        return False


# settings


def test_only_chosen_ciphers_are_offered(serve: Serve, authority: Authority) -> None:
    chosen = ("--ciphers", "ECDHE-ECDSA-CHACHA20-POLY1305")
    context = authority.client(version=ssl.TLSVersion.TLSv1_2)
    server = serve("apps.probe:application", *authority.issue().options, *chosen, tls=context)
    with server.connect() as connection:
        cipher = connection.tls.cipher()
        assert cipher is not None and cipher[0] == "ECDHE-ECDSA-CHACHA20-POLY1305"
    context.set_ciphers("ECDHE+AESGCM")
    assert not is_let_in(server, context)


def test_a_key_may_be_in_the_certificates_file_and_be_of_rsa(
    serve: Serve, authority: Authority, tmp_path: Path
) -> None:
    identity = authority.issue(rsa=True)
    both = tmp_path / "both.pem"
    both.write_text(identity.key.read_text() + identity.cert.read_text())
    server = serve("apps.probe:application", "--certfile", str(both), tls=authority.client())
    assert server.request().status == 200


def test_the_addresses_are_those_of_https(probe: Server) -> None:
    assert f"Listening at: https://127.0.0.1:{probe.port} (" in probe.log


def broken(what: str, authority: Authority, folder: Path) -> tuple[Identity, str]:
    """Files that cannot be used, and what is said of them."""
    made = authority.issue()
    mine = Identity(folder / "cert.pem", folder / "key.pem")
    shutil.copy(made.cert, mine.cert)
    shutil.copy(made.key, mine.key)
    said = BROKEN[what]
    if what == "missing":
        mine.cert.unlink()
    elif what == "directory":
        mine.cert.unlink()
        mine.cert.mkdir()
    elif what == "no-certificate":
        mine.cert.write_text("hello")
    elif what == "cut":
        mine.cert.write_text(made.cert.read_text()[:-30])
    elif what == "damaged-chain":
        more = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
        mine.cert.write_text(made.cert.read_text() + more)
    elif what == "order":
        mine.cert.write_text(authority.cert.read_text() + made.cert.read_text())
    elif what == "no-key":
        mine.key.write_text("hello")
    elif what == "other-key":
        shutil.copy(authority.issue().key, mine.key)
    elif what == "encrypted":
        openssl("pkey", "-in", made.key, "-aes128", "-passout", "pass:x", "-out", mine.key)
    elif what == "encrypted-of-old":
        openssl("ec", "-in", made.key, "-aes128", "-passout", "pass:x", "-out", mine.key)
        assert "Proc-Type: 4,ENCRYPTED" in mine.key.read_text()
    else:
        openssl(
            "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024", "-out", mine.key
        )
    return mine, said.format(cert=mine.cert, key=mine.key)


BROKEN = {
    "missing": "certfile: '{cert}' cannot be read: No such file",
    "directory": "certfile: '{cert}' cannot be read: Is a directory",
    "no-certificate": "certfile: '{cert}' holds no certificate in PEM form.",
    "cut": "certfile: '{cert}' is cut short: there is no END CERTIFICATE.",
    "damaged-chain": "certfile: '{cert}' is damaged in certificate 2.",
    "order": "certfile: '{cert}' holds the server's certificate behind another one; it has to be",
    "no-key": "keyfile: '{key}' holds no private key in PEM form.",
    "other-key": "keyfile: '{key}' does not fit the certificate in '{cert}'.",
    "encrypted": "keyfile: '{key}' holds an encrypted private key; decrypt it: openssl pkey",
    "encrypted-of-old": "keyfile: '{key}' holds an encrypted private key; decrypt it: openssl pkey",
    "weak": "RSA with 2048 to 4096 bits, ECDSA with P-256 or P-384, and Ed25519 can.",
}


def run(*options: str) -> subprocess.CompletedProcess[str]:
    """Oxicorn with options with which it ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "oxicorn", "-b", "127.0.0.1:0", *options, "apps.probe:application"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("check", [False, True])
def test_files_that_cannot_be_used_are_named_at_the_start(
    authority: Authority, tmp_path: Path, what: str, check: bool
) -> None:
    identity, said = broken(what, authority, tmp_path)
    done = run(*identity.options, *(["--check-config"] if check else []))
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_files_are_named_from_the_directory_that_is_changed_to(
    serve: Serve, authority: Authority, tmp_path: Path
) -> None:
    identity = authority.issue()
    shutil.copy(identity.cert, tmp_path / "c.pem")
    shutil.copy(identity.key, tmp_path / "k.pem")
    options = ("--chdir", str(tmp_path), "--certfile", "c.pem", "--keyfile", "k.pem")
    server = serve("apps.probe:application", *options, tls=authority.client())
    assert server.request().status == 200


# resumption


def resumes(server: Server, session: Any) -> tuple[bool, int, Any]:
    """Whether the session was resumed, by whom, and the next one."""
    with server.connect(session=session) as connection:
        worker = connection.request("/process").json()["pid"]
        tls = connection.tls
        return bool(tls.session_reused), worker, tls.session


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed_by_every_worker(
    serve: Serve, authority: Authority, version: ssl.TLSVersion
) -> None:
    tls = authority.client(version=version)
    server = serve("apps.probe:application", *authority.issue().options, workers=2, tls=tls)
    _, first, session = resumes(server, None)
    workers = {first}

    def by_both() -> bool:
        nonlocal session
        resumed, worker, session = resumes(server, session)
        assert resumed
        workers.add(worker)
        return len(workers) == 2

    until(by_both, "a session is resumed by both workers")


def test_openssl_resumes_by_tickets(probe: Server, tmp_path: Path) -> None:
    ask = b"GET / HTTP/1.0\r\n\r\n"
    for version in ("-tls1_2", "-tls1_3"):
        session = tmp_path / version
        out = connects(probe, version, "-ign_eof", "-sess_out", str(session), feed=ask)
        assert "New, TLS" in out
        again = connects(probe, version, "-ign_eof", "-sess_in", str(session), feed=ask)
        assert "Reused, TLS" in again


# renewal


def serial(server: Server) -> int:
    """The number of the certificate that a new connection gets."""
    with server.connect() as connection:
        found = connection.tls.getpeercert()
        assert found is not None
        return int(str(found["serialNumber"]), 16)


@pytest.mark.parametrize("preload", [False, True])
def test_a_renewed_certificate_is_taken_without_a_restart(
    serve: Serve, authority: Authority, preload: bool
) -> None:
    identity, new = authority.issue(), authority.issue()
    expected = new.serial
    options = (*identity.options, *(["--preload"] if preload else []))
    server = serve("apps.probe:application", *options, workers=2, tls=authority.client())
    workers = server.workers()
    with server.connect() as before:
        new.move_to(identity)
        until(lambda: serial(server) == expected, "the new certificate")
        assert before.request().status == 200
    assert {serial(server) for _ in range(20)} == {expected}
    assert server.workers() == workers
    server.wait_for_log("The certificate was renewed: ")
    # Also by a worker that is forked from now on.
    os.kill(workers[0], signal.SIGKILL)
    until(lambda: len(set(server.workers()) - set(workers)) == 1, "another worker")
    assert {serial(server) for _ in range(20)} == {expected}


def test_links_are_followed_when_they_are_turned(
    serve: Serve, authority: Authority, tmp_path: Path
) -> None:
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
        made = authority.issue()
        shutil.copy(made.cert, tmp_path / name / "cert.pem")
        shutil.copy(made.key, tmp_path / name / "key.pem")
    (tmp_path / "live").symlink_to("1")
    live = Identity(tmp_path / "live" / "cert.pem", tmp_path / "live" / "key.pem")
    server = serve("apps.probe:application", *live.options, tls=authority.client())
    assert serial(server) == live.serial
    (tmp_path / "next").symlink_to("2")
    os.replace(tmp_path / "next", tmp_path / "live")
    until(lambda: serial(server) == live.serial, "the certificate behind the link")


def test_a_broken_renewal_leaves_the_old_one_and_a_log_line(
    serve: Serve, authority: Authority
) -> None:
    identity = authority.issue()
    good = identity.serial
    server = serve("apps.probe:application", *identity.options, tls=authority.client())
    identity.cert.write_text("half a certi")
    server.wait_for_log("The certificate is not renewed, the old one stays: certfile: ")
    assert serial(server) == good
    new = authority.issue()
    expected = new.serial
    new.move_to(identity)
    until(lambda: serial(server) == expected, "the new certificate")
    assert server.log.count("is not renewed") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("preload", [False, True])
def test_only_root_need_be_able_to_read_the_key(
    serve: Serve, authority: Authority, tmp_path: Path, preload: bool
) -> None:
    identity, new = authority.issue(), authority.issue()
    expected = new.serial
    for one in (identity, new):
        one.key.chmod(0o600)
    open_to_everybody(tmp_path)
    (tmp_path / "site_app.py").write_text(
        "import os\n"
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Length', '5')])\n"
        "    return [b'%05d' % os.getuid()]\n"
    )
    # The interpreter's own files may be closed to the user.
    (tmp_path / "gunicorn.conf.py").write_text("import json, threading\n")
    options = (*identity.options, "--user", "nobody", *(["--preload"] if preload else []))
    server = serve("site_app:app", *options, cwd=tmp_path, tls=authority.client())
    nobody = pwd.getpwnam("nobody").pw_uid
    assert int(server.request().text) == nobody
    new.move_to(identity)
    until(lambda: serial(server) == expected, "the new certificate")
    os.kill(server.worker, signal.SIGKILL)
    until(lambda: serial(server) == expected, "a new worker with the new certificate")


@pytest.mark.parametrize("what", ["instances", "watches"])
def test_files_that_cannot_be_watched_are_said_to_be(
    serve: Serve, authority: Authority, what: str
) -> None:
    options, tls = authority.issue().options, authority.client()
    server = serve("apps.probe:application", *options, tls=tls, under=limited(what))
    server.wait_for_log(
        "Renewed certificates are taken by a restart only: the files cannot be watched: "
        rf".*fs\.inotify\.max_user_{what}"
    )
    assert server.request().status == 200


# rest


def test_an_idle_server_with_tls_never_wakes_up(serve: Serve, authority: Authority) -> None:
    options = (*authority.issue().options, "--keep-alive", "60")
    server = serve("apps.probe:application", *options, workers=2, tls=authority.client())
    connections = [server.connect() for _ in range(10)]
    for connection in connections:
        connection.request("/")
    until(lambda: rests(server), f"{SECONDS} s without a wake-up, once its timers have run out")
    for connection in connections:
        assert connection.request("/").status == 200
        connection.close()


def test_connections_leave_nothing_behind(probe: Server) -> None:
    def work() -> None:
        for _ in range(20):
            with probe.connect() as connection:
                connection.request("/")
            socket.create_connection(("127.0.0.1", probe.port)).close()

    work()
    before = processes.descriptors(probe.worker)
    for _ in range(5):
        work()
    processes.wait_for_no_more_than(before, lambda: [probe.worker])
