"""A gate inside a request: the test knows when the application has entered, and lets it go on."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from .wait import until


class Gate:
    """The other end of `apps.probe`'s `/gate` and `/gated-stream`."""

    def __init__(self, folder: Path, name: str = "gate"):
        self._base = folder / name
        self.target = f"/gate?file={quote(str(self._base))}"
        self.stream_target = f"/gated-stream?file={quote(str(self._base))}"
        self.hanging_target = f"/gate-and-hang-in-c?file={quote(str(self._base))}"

    @property
    def entered(self) -> bool:
        """Whether the application waits at the gate."""
        return Path(f"{self._base}.entered").exists()

    def wait_entered(self) -> Gate:
        """Waits until the application waits at the gate."""
        until(lambda: self.entered, f"{self._base.name} is entered")
        return self

    def wait_hanging(self) -> Gate:
        """Waits until the application keeps the interpreter lock, behind the gate."""
        until(Path(f"{self._base}.hangs").exists, f"{self._base.name} hangs")
        return self

    def open(self) -> None:
        """Lets the application go on."""
        Path(f"{self._base}.open").touch()
