"""Certificates for a test: made by the openssl command in the test's own folder, and never kept."""

from __future__ import annotations

import os
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Authority", "Identity", "openssl"]

_NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"


def openssl(*words: str | Path, feed: bytes = b"", seconds: float = 60) -> str:
    """What the command prints; it has to succeed."""
    command = ["openssl", *map(str, words)]
    done = subprocess.run(command, input=feed, capture_output=True, timeout=seconds, check=False)
    assert done.returncode == 0, (command, done.stderr.decode())
    return done.stdout.decode(errors="replace")


@dataclass(frozen=True)
class Identity:
    """A certificate and its key, in files."""

    cert: Path
    key: Path

    @property
    def options(self) -> tuple[str, ...]:
        """What lets the server use them."""
        return ("--certfile", str(self.cert), "--keyfile", str(self.key))

    def move_to(self, other: Identity) -> None:
        """Takes the place of `other`, as a renewal does: each file at once, one after the other."""
        os.replace(self.key, other.key)
        os.replace(self.cert, other.cert)

    @property
    def serial(self) -> int:
        """The certificate's serial number."""
        printed = openssl("x509", "-in", self.cert, "-noout", "-serial")
        return int(printed.strip().removeprefix("serial="), 16)


class Authority:
    """Signs certificates, and is trusted by its clients."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.cert = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        self._made = 0
        openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "30", "-subj", f"/CN={name}"),
            *("-keyout", self._key, "-out", self.cert),
        )

    def issue(self, name: str = "localhost", *, rsa: bool = False, days: int = 30) -> Identity:
        """A new certificate for `localhost` with this subject."""
        self._made += 1
        stem = self._folder / f"{self._made}"
        made = Identity(stem.with_suffix(".pem"), stem.with_suffix(".key"))
        ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
        kind = ("-newkey", "rsa:2048") if rsa else ec
        openssl(
            *("req", "-x509", *kind, "-nodes", "-days", str(days)),
            *("-subj", f"/O=Test/CN={name}", "-addext", _NAMES),
            *("-addext", "basicConstraints=critical,CA:FALSE"),
            *("-CA", self.cert, "-CAkey", self._key),
            *("-keyout", made.key, "-out", made.cert),
        )
        return made

    def client(
        self, identity: Identity | None = None, version: ssl.TLSVersion | None = None
    ) -> ssl.SSLContext:
        """What a client speaks with that trusts this authority."""
        context = ssl.create_default_context(cafile=str(self.cert))
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if identity is not None:
            context.load_cert_chain(identity.cert, identity.key)
        return context
