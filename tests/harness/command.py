"""The command as a person types it: what it printed and how it ended; for servers see `server`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .server import clean_environment
from .wait import PATIENCE

APP = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'fine']\n"
"""The application `site_app:app`."""

Done = subprocess.CompletedProcess[str]


def python(folder: Path, *words: str, env: dict[str, str] | None = None) -> Done:
    """Runs the interpreter in a folder, in an environment that configures no server."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**clean_environment(), **(env or {})},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def command(
    folder: Path, *words: str, env: dict[str, str] | None = None, program: str = "oxicorn"
) -> Done:
    """Runs the command."""
    return python(folder, "-m", program, *words, env=env)


def printed(
    folder: Path, *words: str, env: dict[str, str] | None = None, program: str = "oxicorn"
) -> dict[str, str]:
    """The settings that `--print-config` shows for `site_app:app`, which is made if need be.

    What set a setting is under its name with `from ` before it.
    """
    if not (folder / "site_app.py").exists():
        (folder / "site_app.py").write_text(APP)
    done = command(folder, "--print-config", *words, "site_app:app", env=env, program=program)
    assert done.returncode == 0, done.stderr
    found = {}
    for line in done.stdout.splitlines():
        name, _, rest = line.partition(" = ")
        value, _, source = rest.rpartition("  # ") if "  # " in rest else (rest, "", "")
        found[name.strip()] = value.strip()
        found[f"from {name.strip()}"] = source
    return found
