"""Certificates for a test: made by the openssl command in the test's own folder, and never kept."""

from __future__ import annotations

import os
import ssl
import subprocess
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

__all__ = ["Authority", "Identity", "openssl"]

_NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"

_CA = """
[ca]
default_ca = ours
[ours]
database = {folder}/database
new_certs_dir = {folder}
default_md = sha256
rand_serial = yes
unique_subject = no
copy_extensions = copyall
policy = any
[any]
organizationName = optional
commonName = supplied
"""


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

    def behind(self, *chain: Authority) -> Identity:
        """The same with these in its chain."""
        texts = [self.cert.read_text(), *(one.cert.read_text() for one in chain)]
        whole = self.cert.with_suffix(".chain.pem")
        whole.write_text("".join(texts))
        return Identity(whole, self.key)

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

    def __init__(
        self,
        folder: Path,
        name: str = "authority",
        *,
        above: Authority | None = None,
        begin: int = 0,
    ) -> None:
        """`above`: who signs it, if not itself; `begin`: days from now to the first of 30."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.cert = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        self._made = 0
        signer = above.signs if above else ()
        extensions = ("-addext", "basicConstraints=critical,CA:TRUE") if above else ()
        openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "30", "-subj", f"/CN={name}"),
            *(*signer, *extensions, "-keyout", self._key, "-out", self.cert),
        )
        if begin:
            (above or self)._date(Identity(self.cert, self._key), begin, 30)

    @property
    def signs(self) -> tuple[str | Path, ...]:
        """What lets the command sign with it."""
        return ("-CA", self.cert, "-CAkey", self._key)

    def issue(
        self,
        name: str = "localhost",
        *,
        rsa: bool = False,
        days: int = 30,
        begin: int = 0,
        extensions: tuple[str, ...] = (),
    ) -> Identity:
        """A new certificate for `localhost` with this subject; `begin`: days from now."""
        self._made += 1
        stem = self._folder / f"{self._made}"
        made = Identity(stem.with_suffix(".pem"), stem.with_suffix(".key"))
        ec = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
        kind = ("-newkey", "rsa:2048") if rsa else ec
        openssl(
            *("req", "-x509", *kind, "-nodes", "-days", str(days)),
            *("-subj", f"/O=Test/CN={name}", "-addext", _NAMES),
            *("-addext", "basicConstraints=critical,CA:FALSE"),
            *(word for one in extensions for word in ("-addext", one)),
            *self.signs,
            *("-keyout", made.key, "-out", made.cert),
        )
        if begin:
            self._date(made, begin, days)
        return made

    def _date(self, made: Identity, begin: int, days: int) -> None:
        """Signs it again for another time: only this command of OpenSSL 3.0 can choose one."""
        request, config = made.cert.with_suffix(".csr"), self._folder / "ca.cnf"
        config.write_text(_CA.format(folder=self._folder))
        (self._folder / "database").write_text("")
        openssl(
            *("x509", "-x509toreq", "-copy_extensions", "copyall"),
            *("-in", made.cert, "-signkey", made.key, "-out", request),
        )
        first = datetime.now(timezone.utc) + timedelta(days=begin)
        itself = made.cert == self.cert
        openssl(
            *("ca", "-batch", "-notext", "-config", config, "-in", request),
            *("-selfsign",) * itself,
            *("-keyfile", self._key, "-cert", self.cert, "-out", made.cert),
            *("-startdate", f"{first:%Y%m%d%H%M%SZ}"),
            *("-enddate", f"{first + timedelta(days=days):%Y%m%d%H%M%SZ}"),
        )

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
