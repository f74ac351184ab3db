"""What the environ says about the server and its peer, beyond `spec/wsgi/environ.md`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conftest import Serve
from harness.client import Connection
from harness.server import Server


def environ(server: Server, **how: Any) -> dict[str, Any]:
    found: dict[str, Any] = server.request("/environ", **how).json()
    return found


def test_the_ports_of_both_ends_are_texts(probe: Server) -> None:
    with probe.connect() as connection:
        seen = connection.request("/environ").json()
        assert seen["REMOTE_PORT"] == str(connection.socket.getsockname()[1])
        assert seen["SERVER_PORT"] == str(probe.port)


def test_ipv6_addresses_have_no_brackets(serve: Serve) -> None:
    seen = environ(serve(bind="[::1]:0"))
    assert (seen["REMOTE_ADDR"], seen["SERVER_NAME"]) == ("::1", "::1")


def test_a_unix_socket_has_no_remote_port(serve: Serve, tmp_path: Path) -> None:
    seen = environ(serve(bind=f"unix:{tmp_path}/s"))
    assert seen["REMOTE_ADDR"] == ""
    assert "REMOTE_PORT" not in seen


@pytest.mark.parametrize(
    ("host", "name", "port"), [("site.example", "site.example", "80"), ("a.b:81", "a.b", "81")]
)
def test_behind_a_unix_socket_host_names_the_server(
    shared: Serve, tmp_path_factory: pytest.TempPathFactory, host: str, name: str, port: str
) -> None:
    server = shared(bind=f"unix:{tmp_path_factory.getbasetemp()}/by-host")
    seen = environ(server, host=host)
    assert (seen["SERVER_NAME"], seen["SERVER_PORT"]) == (name, port)


def test_the_peer_of_a_unix_socket_is_trusted(serve: Serve, tmp_path: Path) -> None:
    server = serve(bind=f"unix:{tmp_path}/s")
    seen = environ(server, headers=[("X-Forwarded-Proto", "https")])
    assert seen["wsgi.url_scheme"] == "https"
    assert seen["SERVER_PORT"] == "443"


def test_each_listener_names_itself(serve: Serve, tmp_path: Path) -> None:
    socket = f"unix:{tmp_path}/second"
    server = serve("apps.probe:application", "--bind", socket)
    assert environ(server)["SERVER_PORT"] == str(server.port)
    with Connection(f"{tmp_path}/second") as connection:
        assert connection.request("/environ", host="a.b:81").json()["SERVER_PORT"] == "81"


def test_several_threads_are_announced(serve: Serve) -> None:
    seen = environ(serve("apps.probe:application", "--threads", "2"))
    assert seen["wsgi.multithread"] is True
    assert seen["wsgi.multiprocess"] is False


def test_several_workers_are_announced(serve: Serve) -> None:
    seen = environ(serve(workers=2))
    assert seen["wsgi.multiprocess"] is True


@pytest.fixture
def distrustful(shared: Serve) -> Server:
    return shared("apps.probe:application", "--forwarded-allow-ips", "10.1.2.3,192.0.2.0/24")


def test_an_untrusted_peer_cannot_change_the_scheme(distrustful: Server) -> None:
    seen = environ(distrustful, headers=[("X-Forwarded-Proto", "https")])
    assert seen["wsgi.url_scheme"] == "http"
    assert seen["HTTP_X_FORWARDED_PROTO"] == "https"


def test_an_untrusted_peer_cannot_contradict_itself(distrustful: Server) -> None:
    both = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Ssl", "off")]
    assert environ(distrustful, headers=both)["wsgi.url_scheme"] == "http"


def test_an_untrusted_peer_cannot_set_script_name(distrustful: Server) -> None:
    seen = environ(distrustful, headers=[("SCRIPT_NAME", "/environ")])
    assert seen["SCRIPT_NAME"] == ""


@pytest.mark.parametrize("networks", ["*", "127.0.0.0/8", "10.0.0.1,127.0.0.1"])
def test_trust_is_given_to_networks(serve: Serve, networks: str) -> None:
    server = serve("apps.probe:application", "--forwarded-allow-ips", networks)
    seen = environ(server, headers=[("X-Forwarded-Proto", "https")])
    assert seen["wsgi.url_scheme"] == "https"


def test_trust_can_be_set_by_the_environment(serve: Serve) -> None:
    server = serve(env={"FORWARDED_ALLOW_IPS": "10.9.9.9"})
    seen = environ(server, headers=[("X-Forwarded-Proto", "https")])
    assert seen["wsgi.url_scheme"] == "http"


def test_script_name_can_be_set_for_the_whole_server(serve: Serve) -> None:
    server = serve(env={"SCRIPT_NAME": "/mounted"})
    seen = server.request("/mounted/environ").json()
    assert (seen["SCRIPT_NAME"], seen["PATH_INFO"]) == ("/mounted", "/environ")


def test_header_map_refuse_answers_400(serve: Serve) -> None:
    server = serve("apps.probe:application", "--header-map", "refuse")
    assert server.request("/", headers=[("X_Under", "1")]).status == 400
    assert server.request("/", headers=[("X-Dash", "1")]).status == 200


def test_header_map_dangerous_merges(serve: Serve) -> None:
    server = serve("apps.probe:application", "--header-map", "dangerous")
    seen = environ(server, headers=[("X_Name", "1"), ("X-Name", "2")])
    assert seen["HTTP_X_NAME"] == "1,2"


def test_the_values_have_exact_types(probe: Server) -> None:
    types = probe.request("/types").json()
    assert types["wsgi.version"] == "tuple"
    assert types["wsgi.multithread"] == types["wsgi.run_once"] == "bool"
    assert {types[key] for key in types if key.isupper()} == {"str"}
