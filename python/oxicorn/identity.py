"""Which user and group the workers run as (`user`, `group`, `initgroups`).

Names are looked up once, in the arbiter, so that a misspelt one stops the start and not each
worker. As with gunicorn, giving only a user keeps the group. Unlike gunicorn, giving up root also
gives up root's supplementary groups.
"""

from __future__ import annotations

import grp
import os
import pwd
from dataclasses import dataclass

from oxicorn._native import Config
from oxicorn.errors import OperatorError

__all__ = ["Identity"]


@dataclass(frozen=True)
class Identity:
    """A user and a group as numbers; None keeps what the process has."""

    uid: int | None
    gid: int | None
    supplementary_of: str | None
    """The user whose supplementary groups are taken on; None for none at all."""

    @classmethod
    def of(cls, config: Config) -> Identity:
        """Looks the names up; an unknown one, or one that we may not become, is refused."""
        uid = None if config.user is None else _uid(str(config.user))
        gid = None if config.group is None else _gid(str(config.group))
        uid = None if uid == os.geteuid() else uid
        gid = None if gid == os.getegid() else gid
        if (uid is not None or gid is not None) and os.geteuid() != 0:
            raise OperatorError("user and group can only be changed when started as root.")
        final = os.geteuid() if uid is None else uid
        return cls(uid, gid, _name(final) if config.initgroups else None)

    @property
    def owner(self) -> tuple[int, int] | None:
        """The (uid, gid) that shared files are given to; None if they stay as they are."""
        if self.uid is None and self.gid is None:
            return None
        uid = os.geteuid() if self.uid is None else self.uid
        return uid, os.getegid() if self.gid is None else self.gid

    def give(self, *logs: str | None) -> None:
        """Hands over log files that are files, so that workers can reopen them."""
        if self.owner is None:
            return
        for path in filter(None, logs):
            # Never through a link: who may write to the directory must not choose the file.
            if os.path.isfile(path):
                os.chown(path, *self.owner, follow_symlinks=False)

    def assume(self) -> None:
        """Changes the calling process. Groups go first: the user's right to do so goes last."""
        if self.owner is None:
            return
        uid, gid = self.owner
        if self.supplementary_of is None:
            os.setgroups([])
        else:
            os.initgroups(self.supplementary_of, gid)
        os.setgid(gid)
        os.setuid(uid)


def _uid(user: str) -> int:
    try:
        return int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid
    except KeyError:
        raise OperatorError(f"user: there is no user named {user!r}.") from None


def _gid(group: str) -> int:
    try:
        return int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise OperatorError(f"group: there is no group named {group!r}.") from None


def _name(uid: int) -> str | None:
    """The user's name; a number without an entry has no supplementary groups."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None
