"""Limits of inotify for a server of a test, which nobody else on the machine notices."""

from __future__ import annotations

import subprocess

import pytest

__all__ = ["limited"]


def limited(what: str) -> tuple[str, ...]:
    """A command that gives whatever it executes no more of `instances` or `watches`.

    In a user namespace of its own, where root's numbers are counted anew.
    """
    script = f'echo 0 > /proc/sys/user/max_inotify_{what} && exec "$@"'
    command = ("unshare", "--user", "--map-root-user", "sh", "-c", script, "sh")
    try:
        probe = subprocess.run([*command, "true"], capture_output=True, timeout=30, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare")
    if probe.returncode != 0:
        pytest.skip(f"no namespace for users: {probe.stderr.decode()}")
    return command
