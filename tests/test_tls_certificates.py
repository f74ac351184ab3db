"""Certificates that are not as they should be, of the server and of clients: who is served, and
what is said about it. Files that cannot be used at all are in `test_tls`.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import Serve
from harness.certificates import Authority, Identity, openssl
from harness.client import Ended
from harness.deployment import Deployment
from harness.server import Server
from harness.site import APP
from test_tls import run

OVER = -40
"""Days from now; certificates are for 30."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


# the server's own


@pytest.fixture
def site(tmp_path: Path, serve: Serve) -> Iterator[Deployment]:
    # The path of a Unix socket is short, and that of a test's folder may be long.
    with tempfile.TemporaryDirectory(prefix="oxi-") as runtime:
        yield Deployment(tmp_path, Path(runtime), serve, APP)


def blind() -> ssl.SSLContext:
    """A client that takes every certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.mark.parametrize(("begin", "said"), [(OVER, "expired at"), (2, "is not valid before")])
def test_a_certificate_out_of_its_time_is_served_with_a_warning(
    site: Deployment, authority: Authority, begin: int, said: str
) -> None:
    identity = authority.issue(begin=begin)
    warning = rf"WARNING\] certfile: '{identity.cert}' holds a certificate that {said} \S+ \(CN="
    server = site.start(*identity.options, tls=blind())
    server.wait_for_log(warning)
    assert server.request().text == "one"
    # And by the next generation, since it is the same.
    mark = server.mark()
    site.write("two")
    assert site.restart()[0] == 0
    server.wait_for_log(warning, since=mark)
    assert server.request().text == "two"


def test_a_check_of_the_configuration_warns_of_a_certificate_out_of_its_time(
    authority: Authority,
) -> None:
    identity = authority.issue(begin=OVER)
    done = run("--check-config", *identity.options)
    assert done.returncode == 0
    assert f"Warning: certfile: '{identity.cert}' holds a certificate that expired" in done.stderr


def test_a_certificate_that_has_expired_takes_the_place_of_no_other(
    site: Deployment, authority: Authority
) -> None:
    identity, over = authority.issue(), authority.issue(begin=OVER)
    server = site.start(*identity.options, tls=authority.client())
    reason = f"certfile: '{identity.cert}' holds a certificate that expired at "
    over.move_to(identity)
    server.wait_for_log(f"The certificate is not renewed, the old one stays: {reason}")
    site.write("two")
    assert reason in site.fails_to_restart(server)
    assert "Restart refused, generation 1 goes on serving" in server.log


def test_a_chain_of_which_a_part_has_expired_is_served_with_a_warning(
    serve: Serve, authority: Authority, tmp_path: Path
) -> None:
    over = Authority(tmp_path / "over", "over", above=authority, begin=OVER)
    identity = authority.issue().behind(over)
    server = serve("apps.probe:application", *identity.options, tls=authority.client())
    assert server.request().status == 200
    server.wait_for_log(r"holds a certificate in its chain that expired at \S+ \(CN=over\)")


def test_a_certificate_of_version_1_is_served(serve: Serve, tmp_path: Path) -> None:
    """As guides have made them for decades, and as OpenSSL makes them without extensions."""
    identity, other = Identity(tmp_path / "c.pem", tmp_path / "k.pem"), tmp_path / "other.pem"
    request = tmp_path / "r.csr"
    openssl("genrsa", "-out", other, "2048")
    words = ("-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost")
    openssl("req", *words, "-keyout", identity.key, "-out", request)
    openssl("x509", "-req", "-in", request, "-signkey", identity.key, "-out", identity.cert)
    assert "Version: 1 " in openssl("x509", "-in", identity.cert, "-noout", "-text")
    server = serve("apps.probe:application", *identity.options, tls=blind())
    assert server.request().status == 200
    wrong = Identity(identity.cert, other)
    server = serve("apps.probe:application", *wrong.options, launch=True)
    server.expect_exit(1)
    assert f"keyfile: '{other}' does not fit the certificate in '{identity.cert}'." in server.log


# clients'


class Clients:
    """Authorities of clients, of which one has expired and one is not known to the server."""

    def __init__(self, folder: Path) -> None:
        self.first = Authority(folder / "first", "first")
        self.second = Authority(folder / "second", "second")
        self.over = Authority(folder / "over", "over", begin=OVER)
        self.unknown = Authority(folder / "unknown", "unknown")
        self.below = Authority(folder / "below", "below", above=self.first)
        self.below_over = Authority(folder / "below-over", "below", above=self.first, begin=OVER)
        self.file = folder / "clients.pem"
        texts = [one.cert.read_text() for one in (self.over, self.first, self.second)]
        junk = "# of clients \xff -----BEGIN\r\n\nSubject: CN=somebody\n"
        self.file.write_bytes(junk.join(["", *texts, ""]).encode("latin-1"))


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Clients:
    return Clients(tmp_path_factory.mktemp("clients"))


@pytest.fixture(scope="module", params=["1", "2"])
def strict(
    request: pytest.FixtureRequest, serve_module: Serve, authority: Authority, clients: Clients
) -> Server:
    """A server that asks for certificates, which may be shown or must be."""
    asks = ("--cert-reqs", request.param, "--ca-certs", str(clients.file))
    options = (*authority.issue().options, *asks, "--access-logfile", "-")
    return serve_module("apps.probe:application", *options, tls=authority.client())


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
PURPOSE = "extendedKeyUsage="
GOOD: dict[str, Callable[[Clients], Identity]] = {
    "of the first": lambda known: known.first.issue("client"),
    "of the second": lambda known: known.second.issue("client", rsa=True),
    "of one below": lambda known: known.below.issue("client").behind(known.below),
    "for clients": lambda known: known.first.issue("c", extensions=(f"{PURPOSE}clientAuth",)),
}
BAD: dict[str, tuple[Callable[[Clients], Identity], str]] = {
    "expired": (lambda known: known.first.issue("client", begin=OVER), "certificate expired"),
    "early": (lambda known: known.first.issue("client", begin=2), "certificate not valid yet"),
    "unknown": (lambda known: known.unknown.issue("client"), "UnknownIssuer"),
    "unknown, with its authority": (
        lambda known: known.unknown.issue("client").behind(known.unknown),
        "UnknownIssuer",
    ),
    "without what is between": (lambda known: known.below.issue("client"), "UnknownIssuer"),
    "what is between has expired": (
        lambda known: known.below_over.issue("client").behind(known.below_over),
        "certificate expired",
    ),
    "the authority has expired": (lambda known: known.over.issue("client"), "Expired"),
    "for servers": (
        lambda known: known.first.issue("client", extensions=(f"{PURPOSE}serverAuth",)),
        "does not allow extended key usage for client authentication",
    ),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("who", GOOD)
def test_clients_with_a_good_certificate_are_let_in(
    strict: Server, authority: Authority, clients: Clients, who: str, version: ssl.TLSVersion
) -> None:
    context = authority.client(GOOD[who](clients), version)
    with strict.connect(tls=context) as connection:
        assert connection.request().status == 200


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("who", BAD)
def test_clients_with_a_bad_certificate_are_told_and_named_and_nobody_else_notices(
    strict: Server, authority: Authority, clients: Clients, who: str, version: ssl.TLSVersion
) -> None:
    make, reason = BAD[who]
    good = authority.client(clients.first.issue("client"), version)
    with strict.connect(tls=good) as other:
        other.request()
        mark = strict.mark()
        refused = refusal(strict, authority.client(make(clients), version))
        assert "alert" in refused
        strict.wait_for_log(rf"The TLS handshake with 127\.0\.0\.1 failed: .*{reason}", since=mark)
        assert other.request("/?after").status == 200
    strict.wait_for_log(r'"GET /\?after ', since=mark)
    assert "refused" not in strict.log


def refusal(server: Server, context: ssl.SSLContext) -> str:
    """What a client hears that is not let in, whose first request is on its way already."""
    try:
        with server.connect(tls=context) as connection:
            connection.request("/body?refused", "POST", body=b"x" * 100_000)
    except (ssl.SSLError, ConnectionError, Ended) as error:
        return str(error)
    raise AssertionError("it was let in")


def test_without_cert_reqs_nobody_is_asked(
    serve: Serve, authority: Authority, clients: Clients
) -> None:
    asks = ("--cert-reqs", "0", "--ca-certs", str(clients.file))
    context = authority.client(clients.unknown.issue("client"))
    server = serve("apps.probe:application", *authority.issue().options, *asks, tls=context)
    assert server.request().status == 200


def test_an_authority_that_has_expired_is_named(strict: Server, clients: Clients) -> None:
    said = rf"ca_certs: '{clients.file}' holds an authority that expired at \S+ \(CN=over\); nobody"
    assert strict.wait_for_log(rf"WARNING\] {said} is let in by it")


def test_authorities_that_have_all_expired_let_nobody_in(
    serve: Serve, authority: Authority, clients: Clients
) -> None:
    asks = ("--cert-reqs", "1", "--ca-certs", str(clients.over.cert))
    options = (*authority.issue().options, *asks)
    server = serve("apps.probe:application", *options, tls=authority.client())
    assert server.request().status == 200
    assert "alert" in refusal(server, authority.client(clients.over.issue("client")))
