"""gunicorn's `gunicornc` and our `oxicornctl`, each with its own server: the same words, and what
comes of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import oxicorn
from effects.stage import SITE
from harness import control
from harness.control import Said
from harness.pair import Differences, Side, agree, differs, pair
from harness.server import Server
from harness.wait import until

SITE_APP = SITE.read_text()
CONF = "workers = 2\n"

#: What there is not here, or not in effect.
NOT_HERE = {"dirty_workers", "dirty_apps", "dirty_timeout", "worker_connections"}
#: What is not the same value: see the guide.
OTHER_VALUES = {"worker_class", "control_socket", "proc_name", "preload_app"}

CODES = ("- exit code 0", "+ exit code 1")
NOBODY = "nothing was done, and a script has to see it"
DIRTY = "there are no dirty arbiters, and what asks for them has to be changed"
DIFFERENCES: Differences = {
    "worker kill 4194304": differs(NOBODY, *CODES),
    "show dirty": differs(DIRTY, *CODES),
    "dirty add 1": differs(DIRTY, *CODES),
    "dirty remove": differs(DIRTY, *CODES),
}


class Post:
    """A server of one side, and the program that controls it."""

    def __init__(self, side: Side) -> None:
        place = side.short / "ctl"
        ours = ("--observe-timeout", "0.1") if side.is_ours else ()
        self.side = side
        self.place = place
        self.server: Server = side.serve("--control-socket", str(place), *ours)
        until(place.exists, "there is a control socket")
        until(lambda: len(self.pids()) == 2, "both workers are there")
        until(lambda: side.is_ours is all(self.booted()), "those that say so have booted")

    def ask(self, *words: str) -> Said:
        program = "oxicorn.ctl" if self.side.is_ours else "gunicorn.ctl.cli"
        return control.said(control.client(*words, at=self.place, program=program))

    def asked(self, command: str) -> Any:
        """The JSON of a command that succeeds."""
        found = self.ask("-c", command, "-j")
        assert found.code == 0, found
        return found.json()

    def pids(self) -> list[int]:
        return [worker["pid"] for worker in self.asked("show workers")["workers"]]

    def booted(self) -> list[bool]:
        return [worker["booted"] for worker in self.asked("show workers")["workers"]]

    def wait_for_workers(self, count: int) -> list[int]:
        return until(
            lambda: pids if len(pids := self.pids()) == count else None, f"{count} workers"
        )


def kinds(value: Any) -> Any:
    """The names in it, and of what kind their values are."""
    if isinstance(value, dict):
        return {name: kinds(one) for name, one in value.items()}
    if isinstance(value, list):
        return [kinds(one) for one in value[:1]]
    return type(value)


def has(ours: Any, theirs: Any) -> bool:
    """Whether ours has all that theirs has; what is none in one may be known to the other."""
    if isinstance(theirs, dict):
        return isinstance(ours, dict) and all(
            name in ours and has(ours[name], one) for name, one in theirs.items()
        )
    if isinstance(theirs, list):
        return isinstance(ours, list) and all(map(has, ours, theirs))
    return ours is theirs or type(None) in (ours, theirs) or {ours, theirs} <= {int, float}


def test_what_is_shown_has_gunicorns_names(tmp_path: Path) -> None:
    def life(side: Side) -> list[Any]:
        post = Post(side)
        return [post.asked(f"show {what}") for what in ("all", "workers", "stats", "listeners")]

    with pair(tmp_path, site_app=SITE_APP, conf=CONF) as made:
        for theirs, ours in zip(*made.both(life), strict=True):
            assert has(kinds(ours), kinds(theirs)), (ours, theirs)


def test_the_settings_have_gunicorns_names_and_values(tmp_path: Path) -> None:
    conf = CONF + "timeout = 17\npidfile = None\nmax_requests = 1000\n"
    with pair(tmp_path, site_app=SITE_APP, conf=conf) as made:
        theirs, ours = made.both(lambda side: Post(side).asked("show config"))
    assert theirs["timeout"] == 17
    differing = {name for name in theirs if name not in ours or ours[name] != theirs[name]}
    assert differing - OTHER_VALUES == NOT_HERE


def test_workers_are_added_and_removed_down_to_one(tmp_path: Path) -> None:
    def life(side: Side) -> list[Any]:
        post = Post(side)
        told = [post.asked("worker add 2"), len(post.wait_for_workers(4))]
        told += [post.asked("worker add"), len(post.wait_for_workers(5))]
        told += [post.asked("worker remove"), len(post.wait_for_workers(4))]
        told += [post.asked("worker remove 2"), len(post.wait_for_workers(2))]
        told += [post.asked("worker remove 9"), len(post.wait_for_workers(1))]
        stats = post.asked("show stats")
        # gunicorn counts a worker once for each signal that it has sent to it.
        killed = stats["workers_killed"]
        assert killed == 4 if side.is_ours else killed >= 4
        return [*told, stats["workers_target"], stats["workers_spawned"]]

    with pair(tmp_path, site_app=SITE_APP, conf=CONF) as made:
        theirs, ours = made.both(life)
    assert ours == theirs
    assert ours[-2:] == [1, 5]


def test_a_worker_that_is_killed_is_replaced_by_another(tmp_path: Path) -> None:
    def life(side: Side) -> list[Any]:
        post = Post(side)
        pids = post.pids()
        told = post.asked(f"worker kill {pids[0]}")
        assert told.pop("killed") == pids[0]
        after = until(
            lambda: seen if pids[0] not in (seen := post.pids()) and len(seen) == 2 else None,
            "another worker is there",
        )
        ages = [worker["age"] for worker in post.asked("show workers")["workers"]]
        return [told, pids[1] in after, ages]

    with pair(tmp_path, site_app=SITE_APP, conf=CONF) as made:
        theirs, ours = made.both(life)
    assert ours == theirs == [{"success": True}, True, [2, 3]]


def test_a_reload_replaces_every_worker(tmp_path: Path) -> None:
    def life(side: Side) -> list[Any]:
        post = Post(side)
        pids = set(post.pids())
        told = post.asked("reload")
        until(lambda: len(seen := post.pids()) == 2 and not pids & set(seen), "all workers are new")
        stats = post.asked("show stats")
        assert stats["workers_killed"] == 2 if side.is_ours else stats["workers_killed"] >= 2
        numbers = [stats[f"workers_{what}"] for what in ("current", "target", "spawned")]
        return [told, stats["reloads"], *numbers]

    with pair(tmp_path, site_app=SITE_APP, conf=CONF) as made:
        theirs, ours = made.both(life)
    assert ours == theirs == [{"status": "reloading"}, 1, 2, 2, 4]


def test_logs_that_were_moved_are_opened_anew(tmp_path: Path) -> None:
    def life(side: Side) -> list[Any]:
        post = Post(side)
        log = side.folder / "access.log"
        log.rename(side.folder / "access.log.1")
        told = post.asked("reopen")
        until(log.exists, "there is a new log file")
        return [told]

    conf = CONF + "accesslog = 'access.log'\n"
    with pair(tmp_path, site_app=SITE_APP, conf=conf) as made:
        theirs, ours = made.both(life)
    assert ours == theirs == [{"status": "reopening"}]


@pytest.mark.parametrize("mode", ["", " graceful", " quick"])
def test_a_shutdown_ends_the_server(tmp_path: Path, mode: str) -> None:
    def life(side: Side) -> list[Any]:
        post = Post(side)
        told = post.asked(f"shutdown{mode}")
        return [told, post.server.wait(), post.place.exists()]

    with pair(tmp_path, site_app=SITE_APP, conf=CONF) as made:
        theirs, ours = made.both(life)
    told = {"status": "shutting_down", "mode": mode.strip() or "graceful"}
    assert ours == theirs == [told, 0, False]


def test_a_command_that_is_no_command_fails(tmp_path: Path) -> None:
    wrong = [
        "dance",
        "show",
        "show me",
        "worker",
        "worker dance",
        "worker add many",
        "worker kill",
        "worker kill all",
        "show 'workers",
    ]

    def life(side: Side) -> list[Any]:
        post = Post(side)
        found = [post.ask("-c", words, *options) for words in wrong for options in ([], ["-j"])]
        return [(said.code, said.out, bool(said.err)) for said in found]

    with pair(tmp_path, site_app=SITE_APP, conf=CONF) as made:
        theirs, ours = made.both(life)
    assert ours == theirs == [(1, "", True)] * 2 * len(wrong)


def test_the_options_and_the_case_of_words_are_gunicorncs(tmp_path: Path) -> None:
    def life(side: Side) -> list[Any]:
        post = Post(side)
        version = post.ask("-v")
        commands = post.asked("help")["commands"]
        forms = [
            post.ask("-c", "SHOW Stats", "--json"),
            post.ask("--json", "--command", "show stats"),
            post.ask("-c", "show stats"),
        ]
        return [version.code, version.out, set(commands), [one.code for one in forms]]

    with pair(tmp_path, site_app=SITE_APP, conf=CONF) as made:
        theirs, ours = made.both(life)
    assert ours[0] == theirs[0] == 0
    assert ours[1] == f"oxicornctl (oxicorn {oxicorn.__version__})\n"
    dirty = {"show dirty", "dirty add [N]", "dirty remove [N]"}
    assert theirs[2] - ours[2] == dirty
    assert ours[3] == theirs[3] == [0, 0, 0]


def test_what_is_refused_where_gunicornc_ends_well(tmp_path: Path) -> None:
    def life(side: Side) -> list[Said]:
        post = Post(side)
        return [post.ask("-c", words, "-j") for words in DIFFERENCES]

    with pair(tmp_path, site_app=SITE_APP, conf=CONF) as made:
        found = zip(DIFFERENCES, *made.both(life), strict=True)
    for words, theirs, ours in found:
        agree(words, ([f"exit code {theirs.code}"], [f"exit code {ours.code}"]), DIFFERENCES)
        if words.startswith("worker kill"):
            killed = ours.json()
            assert killed["success"] is theirs.json()["success"] is False
            assert "oxicornctl status" in killed["error"]
        else:
            assert "task queue" in ours.err
