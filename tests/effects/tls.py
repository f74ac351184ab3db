"""What the settings of TLS do."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from harness.certificates import Authority
from harness.server import Server

from .stage import Stage, act, shows

CIPHER = "ECDHE-ECDSA-AES256-GCM-SHA384"


@act("tls")
def tls(stage: Stage, folder: Path) -> Server:
    """Clients need a certificate of the authority."""
    authority = Authority(folder / "authority")
    served = authority.issue()
    lines = [
        'bind = "127.0.0.1:0"',
        f"certfile = {str(served.cert)!r}",
        f"keyfile = {str(served.key)!r}",
        f"ca_certs = {str(authority.cert)!r}",
        "cert_reqs = 2",
        f"ciphers = {CIPHER!r}",
    ]
    server = stage.launch(folder, "\n".join(lines), app="site_app:app")
    client = authority.client(authority.issue("client"), ssl.TLSVersion.TLSv1_2)
    server.tls = client
    server.wait_for_log("Listening at: https://")
    return server


@shows("certfile", "keyfile", "ciphers")
def certfile(stage: Stage) -> None:
    with stage.server("tls").connect() as connection:
        chosen = connection.tls.cipher()
        assert chosen is not None
        assert chosen[0] == CIPHER
        seen = connection.request("/facts").json()["environ"]
        assert seen["wsgi.url_scheme"] == "https"


@shows("ca_certs", "cert_reqs")
def cert_reqs(stage: Stage) -> None:
    server = stage.server("tls")
    assert server.request().status == 200
    folder = stage.folder("tls")
    stranger = Authority(folder / "stranger").issue("client")
    trusting = ssl.create_default_context(cafile=str(folder / "authority" / "authority.pem"))
    trusting.maximum_version = ssl.TLSVersion.TLSv1_2
    for identity in (None, stranger):
        if identity is not None:
            trusting.load_cert_chain(identity.cert, identity.key)
        with pytest.raises(OSError):
            server.connect(tls=trusting)
