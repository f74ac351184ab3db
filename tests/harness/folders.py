"""Folders of a test, and who may look into them."""

from __future__ import annotations

from pathlib import Path


def open_to_everybody(folder: Path) -> None:
    """Lets other users read what is in a folder of a test, and get there."""
    folder.chmod(0o755)
    for parent in folder.parents:
        if parent.name.startswith(("pytest-", "popen-")):
            parent.chmod(0o711)
