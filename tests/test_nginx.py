"""Behind nginx and HAProxy as they come with Debian: over TCP, a Unix socket, the PROXY protocol
and uwsgi, with TLS in front. Client address, scheme and path are right; uploads, kept-alive
upstream connections and restarts beneath go unnoticed. The configurations are those of
`docs/guide/behind-a-proxy.md`.
"""

from __future__ import annotations

import ast
import hashlib
import http.client
import re
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from conftest import Serve
from harness.front import (
    Front,
    free_port,
    haproxy,
    haproxy_command,
    nginx,
    nginx_command,
)
from harness.load import Load
from harness.server import Server
from harness.site import Site, restart

PROBE = "apps.probe:application"
ASGI = "apps.asgi_probe:application"

HEADERS = """
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
"""

KEPT = 'proxy_http_version 1.1; proxy_set_header Connection "";'

PARAMS = "include /etc/nginx/uwsgi_params;"

Open = Callable[..., Front]


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Open]:
    """Starts nginx with the locations of one server, or with other blocks."""
    with ExitStack() as stack:

        def start(locations: str, before: str = "", listen: str = "") -> Front:
            port = free_port()
            where = listen or f"listen 127.0.0.1:{port};"
            server = f"{before} server {{ {where.format(port=port)} {locations} }}"
            return stack.enter_context(nginx(tmp_path / "nginx", port, server))

        yield start


def environ(front: Front, target: str = "/environ", **how: Any) -> dict[str, Any]:
    with front.connect() as connection:
        found: dict[str, Any] = connection.request(target, **how).json()
        found["own port"] = str(connection.socket.getsockname()[1])
        return found


def scope(front: Front, target: str = "/scope", **how: Any) -> dict[str, Any]:
    with front.connect() as connection:
        found: dict[str, Any] = ast.literal_eval(connection.request(target, **how).text)
        found["own port"] = connection.socket.getsockname()[1]
        return found


def upstream(server: Server) -> str:
    return f"unix:{server.address}" if isinstance(server.address, str) else _host(server)


def _host(server: Server) -> str:
    return f"127.0.0.1:{server.port}"


@pytest.fixture(params=["tcp", "unix"])
def bind(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "127.0.0.1:0" if request.param == "tcp" else f"unix:{tmp_path}/app.sock"


# HTTP


def test_nginx_names_client_and_scheme_to_asgi(serve: Serve, front: Open, bind: str) -> None:
    server = serve(ASGI, bind=bind)
    opened = front(f"location / {{ proxy_pass http://{upstream(server)}; {HEADERS} }}")
    seen = scope(opened)
    assert (seen["client"], seen["scheme"]) == (("127.0.0.1", 0), "http")
    seen = scope(opened, headers=[("X-Forwarded-For", "192.0.2.7")])
    # 127.0.0.1 is a trusted proxy, so it is the one before who counts.
    assert seen["client"] == ("192.0.2.7", 0)


def test_nginx_names_host_scheme_and_script_name_to_wsgi(
    serve: Serve, front: Open, bind: str
) -> None:
    server = serve(PROBE, bind=bind)
    mounted = f"""
        location /app/ {{
            proxy_pass http://{upstream(server)};
            {HEADERS}
            proxy_set_header SCRIPT_NAME /app;
        }}
    """
    seen = environ(front(mounted), "/app/environ?a=%20b", host="www.example:81")
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("/app", "/environ")
    assert (seen["HTTP_HOST"], seen["QUERY_STRING"]) == ("www.example:81", "a=%20b")
    assert seen["wsgi.url_scheme"] == "http"
    assert seen["HTTP_X_FORWARDED_FOR"] == "127.0.0.1"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    return folder


def over_tls(front: Front, target: str) -> bytes:
    return over_tls_from(front, target)[0]


def over_tls_from(front: Front, target: str) -> tuple[bytes, int]:
    """The body of an answer, and the port that the client has asked from."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", front.port, context=context, timeout=30)
    connection.connect()
    own: int = connection.sock.getsockname()[1]
    connection.request("GET", target)
    return connection.getresponse().read(), own


def test_tls_at_nginx_is_https_for_the_application(
    serve: Serve, front: Open, bind: str, certificate: Path
) -> None:
    server = serve(ASGI, bind=bind)
    listen = f"""
        listen 127.0.0.1:{{port}} ssl;
        ssl_certificate {certificate}/cert.pem;
        ssl_certificate_key {certificate}/key.pem;
    """
    opened = front(
        f"location / {{ proxy_pass http://{upstream(server)}; {HEADERS} }}", listen=listen
    )
    assert ast.literal_eval(over_tls(opened, "/scope").decode())["scheme"] == "https"


def test_a_forwarded_field_of_nginx_names_client_and_scheme(serve: Serve, front: Open) -> None:
    server = serve(ASGI)
    fields = 'proxy_set_header Forwarded "for=$remote_addr, for=192.0.2.60;proto=https";'
    opened = front(f"location / {{ proxy_pass http://{upstream(server)}; {fields} }}")
    seen = scope(opened)
    assert (seen["client"], seen["scheme"]) == (("192.0.2.60", 0), "https")


def upload(front: Front, size: int) -> None:
    data = bytes(range(256)) * (size // 256)
    with front.connect() as connection:
        seen = connection.request("/body", "POST", body=data).json()
    assert seen["sha256"] == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("buffering", ["on", "off"])
def test_twenty_megabytes_are_uploaded(
    serve: Serve, front: Open, bind: str, buffering: str
) -> None:
    server = serve(PROBE, bind=bind)
    upload(
        front(f"""
            location / {{
                proxy_pass http://{upstream(server)}; {KEPT}
                proxy_request_buffering {buffering};
            }}
        """),
        20 << 20,
    )


def test_nginx_uses_one_connection_for_many_requests(serve: Serve, front: Open, bind: str) -> None:
    server = serve(
        PROBE, "--access-logfile", "-", "--access-logformat", "from %({REMOTE_PORT}e)s", bind=bind
    )
    opened = front(
        f"location / {{ proxy_pass http://kept; {KEPT} }}",
        f"upstream kept {{ server {upstream(server)}; keepalive 4; }}",
    )
    with opened.connect() as connection:
        for _ in range(20):
            assert connection.request("/").status == 200
    if bind.startswith("127"):
        server.wait_for_log(r"from \d+", 20)
        ports = {line.split()[-1] for line in server.log.splitlines() if line.startswith("from ")}
        assert len(ports) == 1


# uwsgi


def test_uwsgi_pass_names_the_client_to_wsgi(serve: Serve, front: Open, bind: str) -> None:
    server = serve(PROBE, "--protocol", "uwsgi", bind=bind)
    opened = front(f"location / {{ uwsgi_pass {upstream(server)}; {PARAMS} }}")
    seen = environ(opened, "/environ?a=b", headers=[("X-Id", "7")], host="www.example")
    assert (seen["REMOTE_ADDR"], seen["REMOTE_PORT"]) == ("127.0.0.1", seen["own port"])
    assert (seen["SERVER_PORT"], seen["SERVER_PROTOCOL"]) == (str(opened.port), "HTTP/1.1")
    assert (seen["PATH_INFO"], seen["QUERY_STRING"]) == ("/environ", "a=b")
    assert (seen["SCRIPT_NAME"], seen["HTTP_X_ID"]) == ("", "7")
    assert seen["HTTP_HOST"] == "www.example"
    assert seen["wsgi.url_scheme"] == "http"


def test_uwsgi_pass_names_the_client_to_asgi(serve: Serve, front: Open, bind: str) -> None:
    server = serve(ASGI, "--protocol", "uwsgi", bind=bind)
    seen = scope(
        front(f"location / {{ uwsgi_pass {upstream(server)}; {PARAMS} uwsgi_param HTTPS on; }}")
    )
    assert seen["client"] == ("127.0.0.1", seen["own port"])
    assert (seen["scheme"], seen["path"], seen["root_path"]) == ("https", "/scope", "")
    names = [name for name, _ in seen["headers"]]
    assert b"host" in names and len(names) == len(set(names)), names


def test_uwsgi_script_names_are_taken_off_the_path(serve: Serve, front: Open) -> None:
    server = serve(PROBE, "--protocol", "uwsgi")
    opened = front(f"""
        location /app/ {{ uwsgi_pass {upstream(server)}; {PARAMS} uwsgi_param SCRIPT_NAME /app; }}
    """)
    seen = environ(opened, "/app/environ")
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("/app", "/environ")
    assert seen["REQUEST_URI"] == "/app/environ"


def test_tls_at_nginx_is_https_over_uwsgi(serve: Serve, front: Open, certificate: Path) -> None:
    server = serve(ASGI, "--protocol", "uwsgi")
    listen = f"""
        listen 127.0.0.1:{{port}} ssl;
        ssl_certificate {certificate}/cert.pem;
        ssl_certificate_key {certificate}/key.pem;
    """
    opened = front(f"location / {{ uwsgi_pass {upstream(server)}; {PARAMS} }}", listen=listen)
    assert ast.literal_eval(over_tls(opened, "/scope").decode())["scheme"] == "https"


@pytest.mark.parametrize("buffering", ["on", "off"])
def test_twenty_megabytes_are_uploaded_over_uwsgi(
    serve: Serve, front: Open, bind: str, buffering: str
) -> None:
    server = serve(PROBE, "--protocol", "uwsgi", bind=bind)
    upload(
        front(f"""
            location / {{
                uwsgi_pass {upstream(server)}; {PARAMS}
                uwsgi_request_buffering {buffering};
            }}
        """),
        20 << 20,
    )


def test_a_response_of_unknown_length_ends_with_its_connection(serve: Serve, front: Open) -> None:
    server = serve(PROBE, "--protocol", "uwsgi")
    opened = front(f"location / {{ uwsgi_pass {upstream(server)}; {PARAMS} }}")
    with opened.connect() as connection:
        response = connection.request("/stream?count=50&size=2000")
    assert (response.status, response.complete) == (200, True)
    direct = serve(PROBE).request("/stream?count=50&size=2000")
    assert response.body == direct.body


# The PROXY protocol


def test_nginx_stream_names_the_client(serve: Serve, tmp_path: Path, bind: str) -> None:
    server = serve(
        PROBE, "--proxy-protocol", "v1", "--proxy-protocol-required", bind=bind, launch=True
    )
    server.wait_for_log("Listening at")
    port = free_port()
    stream = f"""
        server {{
            listen 127.0.0.1:{port};
            proxy_pass {upstream(server)};
            proxy_protocol on;
        }}
    """
    with nginx(tmp_path / "nginx", port, stream=stream) as opened, opened.connect() as connection:
        for _ in range(2):
            seen = connection.request("/environ").json()
            assert seen["REMOTE_ADDR"] == "127.0.0.1"
            assert seen["REMOTE_PORT"] == str(connection.socket.getsockname()[1])
            assert (seen["PROXY_ADDR"], seen["PROXY_PORT"]) == ("127.0.0.1", str(port))


def _passes_on(port: int, server: Server, options: str) -> str:
    """For HAProxy: what it gets at the port, it passes on as it is."""
    return f"""
frontend web
    mode tcp
    bind 127.0.0.1:{port}
    default_backend app
backend app
    mode tcp
    server one {_host(server)} {options}
"""


@pytest.mark.parametrize(
    "option", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c"]
)
def test_haproxy_names_the_client(serve: Serve, tmp_path: Path, option: str) -> None:
    server = serve(PROBE, "--proxy-protocol", "auto")
    port = free_port()
    sections = _passes_on(port, server, f"{option} check inter 100ms")
    with haproxy(tmp_path / "haproxy", port, sections) as opened, opened.connect() as connection:
        for _ in range(2):
            seen = connection.request("/environ").json()
            assert seen["REMOTE_PORT"] == str(connection.socket.getsockname()[1])
            assert (seen["PROXY_PROTOCOL"], seen["PROXY_PORT"]) == ("TCP4", str(port))
    assert "Invalid request" not in server.log, "nor do its health checks disturb"


@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2"])
def test_haproxy_passes_on_tls_behind_its_header(
    serve: Serve, tmp_path: Path, certificate: Path, option: str
) -> None:
    files = ["--certfile", f"{certificate}/cert.pem", "--keyfile", f"{certificate}/key.pem"]
    always = ["--proxy-protocol", "auto", "--proxy-protocol-required"]
    server = serve(ASGI, *always, *files, launch=True)
    server.wait_for_log("Listening at")
    port = free_port()
    sections = _passes_on(port, server, option)
    with haproxy(tmp_path / "haproxy", port, sections) as opened:
        seen, own = over_tls_from(opened, "/scope")
    found = ast.literal_eval(seen.decode())
    assert (found["client"], found["scheme"]) == (("127.0.0.1", own), "https")


# Restarts beneath


class Beneath:
    """What `Load` asks: the front server in place of the server itself."""

    def __init__(self, front: Front) -> None:
        self.connect = front.connect


@pytest.mark.parametrize("how", ["http", "uwsgi"])
def test_a_hot_restart_beneath_nginx_fails_no_request(
    serve: Serve, front: Open, tmp_path: Path, how: str
) -> None:
    site = Site(tmp_path, serve, "--keep-alive", "600", "--protocol", how)
    server = site.launch("--restart-mode", "hot").wait_serving()
    passes = {
        "http": f"proxy_pass http://kept; {KEPT} proxy_next_upstream off;",
        "uwsgi": f"uwsgi_pass kept; {PARAMS} uwsgi_next_upstream off;",
    }
    opened = front(
        f"location / {{ {passes[how]} }}",
        f"upstream kept {{ server {_host(server)}; keepalive 8; }}",
    )
    with Load(Beneath(opened), clients=8) as load:  # type: ignore[arg-type]
        load.wait_for("one", 50)
        site.write("two")
        restart(server)
        load.wait_for("two", 50)
    assert "upstream" not in opened.log, opened.log


# The guide


def guide(language: str) -> list[str]:
    """The blocks of the guide in this language."""
    text = (Path(__file__).parent.parent / "docs/guide/behind-a-proxy.md").read_text()
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)
    assert found
    return found


def on_free_ports(text: str, certificate: Path) -> str:
    """A configuration with ports of loopback and a certificate that is there."""
    both = certificate / "both.pem"
    both.write_bytes(
        (certificate / "cert.pem").read_bytes() + (certificate / "key.pem").read_bytes()
    )
    text = text.replace("/etc/ssl/shop", str(certificate))
    text = re.sub(r"(?<=listen )\d+", lambda _: f"127.0.0.1:{free_port()}", text)
    return re.sub(r"(?<=bind ):\d+", lambda _: f"127.0.0.1:{free_port()}", text)


@pytest.mark.parametrize("block", guide("nginx"), ids=lambda text: text.split()[0])
def test_nginx_accepts_what_the_guide_shows(tmp_path: Path, certificate: Path, block: str) -> None:
    text = on_free_ports(block, certificate)
    is_stream = text.startswith("stream")
    servers, stream = ("", text[8:].strip()[:-1]) if is_stream else (text, "")
    command = nginx_command(tmp_path / "nginx", servers, stream)
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("block", guide("haproxy"), ids=["tcp", "http"])
def test_haproxy_accepts_what_the_guide_shows(
    tmp_path: Path, certificate: Path, block: str
) -> None:
    command = haproxy_command(tmp_path / "haproxy", on_free_ports(block, certificate))
    checked = subprocess.run([*command, "-c"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
