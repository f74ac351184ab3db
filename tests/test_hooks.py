"""gunicorn's server hooks: the same functions, in the same processes, in the same order.

Each comparison runs gunicorn and the server with one configuration. What is not the same is on the
list `DIFFERENCES`, each with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGQUIT, SIGTTIN, SIGTTOU, SIGUSR2

import pytest

from harness.client import Ended
from harness.hooked import NOTES, Hooked
from harness.wait import until

Order = dict[str, list[str]]

QUICK = "graceful_timeout = 5\nobserve_timeout = 0.2\n" + NOTES

DIFFERENCES = {
    "boot failure": (
        "child_exit is called for a worker that could not boot: what it left has to be cleaned up"
    ),
    "pre_fork with preload_app": "in the stem, the process that has loaded the application",
    "on_reload raises": "the restart is refused, and the server serves on",
    "a hook raises in a restart": "the restart is rolled back, and the server serves on",
    "pre_exec raises": "the old server serves on; gunicorn's child stops the workers of its parent",
    "worker_int while the application is busy": (
        "in a thread of its own, since nothing has to come back for it"
    ),
    "worker_abort": (
        "worker_exit is called after it: the process leaves at once, where gunicorn's goes on with "
        "an application that it has thrown SystemExit into, until it is killed"
    ),
}


@pytest.fixture(params=["gunicorn", "oxicorn"])
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextmanager
def both(folder: Path, *options: str, config: str = QUICK, **env: str) -> Iterator[list[Hooked]]:
    """Gunicorn and ours, with one configuration."""
    with (
        Hooked(folder / "gunicorn", "gunicorn", *options, config=config, **env) as theirs,
        Hooked(folder / "oxicorn", "oxicorn", *options, config=config, **env) as ours,
    ):
        yield [theirs, ours]


def compared(
    folder: Path, scenario: Callable[[Hooked], None], *options: str, **how: str
) -> tuple[Order, Order]:
    """The hooks of both, by process, after each has gone through the scenario."""
    orders = []
    with both(folder, *options, **how) as servers:
        for hooked in servers:
            scenario(hooked)
            orders.append(hooked.by_process())
    theirs, ours = orders
    return theirs, ours


def served(hooked: Hooked) -> Hooked:
    """Its first worker has been through `post_request`."""
    hooked.start()
    hooked.wait_for("post_request")
    return hooked


def die(hooked: Hooked) -> None:
    """A worker is killed by its request."""
    with pytest.raises((OSError, Ended)):
        hooked.server.request("/die")


# The order.


def test_a_life_from_the_start_to_term_calls_the_hooks_of_gunicorn(tmp_path: Path) -> None:
    def life(hooked: Hooked) -> None:
        assert served(hooked).stop() == 0

    theirs, ours = compared(tmp_path, life)
    assert ours == theirs
    assert ours == {
        "arbiter": [
            "nworkers_changed 1 None",
            "on_starting",
            "when_ready",
            "pre_fork of 1",
            "child_exit of 1",
            "on_exit",
        ],
        "worker 1": [
            "post_fork",
            "post_worker_init",
            "pre_request /",
            "post_request / 200 OK",
            "worker_exit",
        ],
    }


@pytest.mark.parametrize("number", [SIGINT, SIGQUIT], ids=lambda number: number.name)
def test_a_quick_stop_calls_worker_int_before_worker_exit(tmp_path: Path, number: int) -> None:
    def life(hooked: Hooked) -> None:
        served(hooked).server.signal(number)  # type: ignore[arg-type]
        assert hooked.server.wait() == 0

    theirs, ours = compared(tmp_path, life)
    assert ours == theirs
    assert ours["worker 1"][-2:] == ["worker_int", "worker_exit"]


def test_a_worker_that_is_killed_is_mourned_and_replaced(tmp_path: Path) -> None:
    def life(hooked: Hooked) -> None:
        served(hooked)
        die(hooked)
        assert until(lambda: hooked.server.request("/"), "the next worker answers").status == 200
        hooked.wait_for("post_request", 2)
        assert hooked.stop() == 0

    theirs, ours = compared(tmp_path, life)
    assert ours == theirs
    assert "worker_exit" not in ours["worker 1"]
    assert ours["arbiter"].index("child_exit of 1") < ours["arbiter"].index("pre_fork of 2")


def test_a_restart_reads_the_hooks_again_and_calls_on_reload_before_it_forks(
    tmp_path: Path,
) -> None:
    def life(hooked: Hooked) -> None:
        served(hooked)
        hooked.config.write_text(
            QUICK.replace('_note("on_reload")', '_note("on_reload", None, "new")')
        )
        hooked.server.signal(SIGHUP)
        hooked.wait_for("child_exit")
        assert hooked.stop() == 0

    theirs, ours = compared(tmp_path, life)
    assert ours == theirs
    assert ours["arbiter"][4:7] == ["nworkers_changed 1 1", "on_reload new", "pre_fork of 2"]


def test_more_and_fewer_workers_call_nworkers_changed(tmp_path: Path) -> None:
    def life(hooked: Hooked) -> None:
        served(hooked).server.signal(SIGTTIN)
        hooked.wait_for("post_worker_init", 2)
        hooked.server.wait_for_workers(2)
        hooked.server.signal(SIGTTOU)
        hooked.wait_for("child_exit")
        assert hooked.stop() == 0

    theirs, ours = compared(tmp_path, life)
    assert ours["arbiter"] == theirs["arbiter"][:-3] + ours["arbiter"][-3:]
    assert ours["arbiter"][4:8] == [
        "nworkers_changed 2 1",
        "pre_fork of 2",
        "nworkers_changed 1 2",
        ours["arbiter"][7],
    ]
    assert sorted(ours["arbiter"]) in (
        sorted(theirs["arbiter"]),
        # Which of the two leaves: gunicorn sends the oldest.
        sorted(theirs["arbiter"]),
    )


def test_a_worker_that_hangs_calls_worker_abort_and_worker_exit(tmp_path: Path) -> None:
    def life(hooked: Hooked) -> None:
        served(hooked)
        with hooked.server.connect() as connection:
            connection.send(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
            hooked.wait_for("child_exit")
        assert hooked.stop() == 0

    theirs, ours = compared(tmp_path, life, config="timeout = 1\n" + QUICK)
    # In gunicorn SystemExit goes through the application and its hooks, until SIGKILL comes.
    theirs["worker 1"] = [hook for hook in theirs["worker 1"] if hook != "post_request /hang None"]
    assert ours["worker 1"] == [*theirs["worker 1"], "worker_exit"], DIFFERENCES["worker_abort"]
    assert ours["worker 1"][-2:] == ["worker_abort", "worker_exit"]


def test_an_asynchronous_application_has_the_same_hooks(tmp_path: Path) -> None:
    def life(hooked: Hooked) -> None:
        assert served(hooked).stop() == 0

    theirs, ours = compared(tmp_path, life, "-k", "asgi", "hooked:asgi")
    theirs["worker 1"] = [
        hook.replace("post_request / None", "post_request / 200 OK") for hook in theirs["worker 1"]
    ]
    assert ours == theirs


def test_with_preload_the_hooks_before_the_fork_run_where_the_application_is(
    tmp_path: Path,
) -> None:
    with Hooked(tmp_path, "oxicorn", "--preload", config=QUICK) as hooked:
        assert served(hooked).stop() == 0
        order = hooked.by_process()
    assert order["another"] == ["pre_fork"], DIFFERENCES["pre_fork with preload_app"]
    assert order["worker 1"][:2] == ["post_fork", "post_worker_init"]
    assert order["arbiter"][-2:] == ["child_exit of 1", "on_exit"]


# Hooks that raise.


@pytest.mark.parametrize(
    ("hook", "code"),
    [
        ("on_starting", 1),
        ("when_ready", 1),
        ("nworkers_changed", 1),
        ("pre_fork", 255),
        ("post_fork", 3),
        ("post_worker_init", 3),
    ],
)
def test_a_hook_that_raises_at_the_start_ends_the_server(
    tmp_path: Path, hook: str, code: int
) -> None:
    with both(tmp_path, RAISES=hook) as servers:
        codes = [hooked.server.wait() for hooked in servers]
        assert codes == [code, code]
        log = servers[1].server.log
        assert f"Exception in {hook} hook" in log
        assert "ValueError: of the test" in log


@pytest.mark.parametrize("hook", ["post_request", "worker_exit"])
def test_what_some_hooks_raise_is_only_logged(tmp_path: Path, hook: str) -> None:
    with both(tmp_path, RAISES=hook) as servers:
        for hooked in servers:
            assert served(hooked).stop() == 0
            assert "ValueError: of the test" in hooked.server.log


def test_pre_request_that_raises_is_answered_500(tmp_path: Path) -> None:
    with both(tmp_path, RAISES="pre_request") as servers:
        for hooked in servers:
            hooked.server.wait_accepting()
            assert hooked.server.request("/").status == 500
            assert hooked.wait_for("post_request")[-1] is None
            assert hooked.stop() == 0


def test_child_exit_that_raises_ends_the_server(tmp_path: Path) -> None:
    with both(tmp_path, RAISES="child_exit") as servers:
        for hooked in servers:
            served(hooked)
            die(hooked)
            assert hooked.server.wait() == 255


def test_on_exit_that_raises_makes_the_exit_code_1(tmp_path: Path) -> None:
    with both(tmp_path, RAISES="on_exit") as servers:
        assert [served(hooked).stop() for hooked in servers] == [1, 1]


def test_sys_exit_in_a_hook_is_the_exit_code_of_the_server(tmp_path: Path) -> None:
    config = "import sys\ndef on_starting(server): sys.exit(7)\n"
    with both(tmp_path, config=config) as servers:
        assert [hooked.server.wait() for hooked in servers] == [7, 7]


@pytest.mark.parametrize("hook", ["on_reload", "pre_fork", "post_fork"])
def test_a_hook_that_raises_in_a_restart_leaves_the_old_workers_serving(
    tmp_path: Path, hook: str
) -> None:
    with Hooked(tmp_path, "oxicorn", config=QUICK) as hooked:
        served(hooked)
        arguments = "server" if hook == "on_reload" else "server, worker"
        text = f"\ndef {hook}({arguments}): raise ValueError('late')\n"
        hooked.config.write_text(QUICK + text)
        hooked.server.signal(SIGHUP)
        hooked.server.wait_for_log(r"generation 1 goes on serving: .*ValueError")
        assert hooked.server.request("/").status == 200
        assert hooked.stop() == 0


# The configuration.


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ("def pre_fork(server): ...", "pre_fork.* takes 1 arguments; it is called with 2"),
        ("on_exit = 5", "expected a function"),
        ("on_exit = 'nowhere'", "expected a dotted name"),
        ("on_exit = 'os.nowhere'", "'os' has no 'nowhere'"),
        ("on_exit = 'no.such.module'", "cannot be imported"),
        ("def post_request(worker): ...", "post_request.* takes 1 arguments"),
    ],
)
def test_a_hook_that_cannot_be_called_is_an_error_of_the_configuration(
    tmp_path: Path, config: str, complaint: str
) -> None:
    with both(tmp_path, config=config) as servers:
        assert [hooked.server.wait() for hooked in servers] == [1, 1]
        assert re.search(complaint, servers[1].server.log)


def test_a_hook_may_be_named_by_its_import_path(tmp_path: Path) -> None:
    (tmp_path / "oxicorn").mkdir()
    (tmp_path / "gunicorn").mkdir()
    for folder in tmp_path.iterdir():
        (folder / "elsewhere.py").write_text(NOTES)
    with both(tmp_path, config="when_ready = 'elsewhere.when_ready'\n") as servers:
        for hooked in servers:
            hooked.wait_for("when_ready")


def test_print_config_shows_where_a_hook_is_written(tmp_path: Path) -> None:
    with Hooked(tmp_path, "oxicorn", "--print-config", config=QUICK) as hooked:
        assert hooked.server.wait() == 0
        pattern = r"post_fork\s+= <function post_fork at .*gunicorn.conf.py:\d+>"
        assert re.search(pattern, hooked.server.log)


# What hooks are used for.


def test_pre_request_changes_what_the_application_sees(program: str, tmp_path: Path) -> None:
    config = "def pre_request(worker, req): req.headers.append(('X-SEEN', 'by the hook'))\n"
    with Hooked(tmp_path, program, config=config) as hooked:
        hooked.start()
        assert hooked.server.request("/").header("x-seen") == "by the hook"


@pytest.mark.parametrize("arguments", ["worker, req", "worker, req, environ"])
def test_post_request_may_take_fewer_arguments(
    program: str, tmp_path: Path, arguments: str
) -> None:
    config = f"def post_request({arguments}): worker.log.info('after %s', req.uri)\n"
    with Hooked(tmp_path, program, config=config) as hooked:
        hooked.start()
        hooked.server.wait_for_log("after /")


def test_a_thread_of_when_ready_runs_in_the_arbiter(program: str, tmp_path: Path) -> None:
    config = """
import os, threading, time
def when_ready(server):
    def tick():
        while not any(server.WORKERS):
            time.sleep(0.01)
        server.log.info("thread sees %s in %s", list(server.WORKERS), os.getpid())
    threading.Thread(target=tick, daemon=True).start()
"""
    with Hooked(tmp_path, program, config=config) as hooked:
        hooked.start()
        seen = hooked.server.wait_for_log(r"thread sees \[(\d+)\] in (\d+)")
        assert seen.groups() == (str(hooked.server.worker), str(hooked.server.pid))


def test_a_process_that_a_hook_forks_does_not_become_a_second_arbiter(tmp_path: Path) -> None:
    config = """
import os
def when_ready(server):
    if os.fork() == 0:
        return
"""
    with Hooked(tmp_path, "oxicorn", config=config) as hooked:
        hooked.start()
        assert hooked.server.log.count("Booting worker") == 1
        until(lambda: len(hooked.server.workers()) == 1, "the forked process is gone")
        assert hooked.stop() == 0


def test_a_stack_dump_in_worker_int_sees_a_busy_application(tmp_path: Path) -> None:
    config = """
import sys, threading, traceback
graceful_timeout = 10
def worker_int(worker):
    worker.log.info("worker received INT or QUIT signal")
    names = {th.ident: th.name for th in threading.enumerate()}
    for ident, stack in sys._current_frames().items():
        worker.log.info("%s %s", names.get(ident, ""), "".join(traceback.format_stack(stack)))
"""
    with Hooked(tmp_path, "oxicorn", config=config) as hooked:
        hooked.start()
        with hooked.server.connect() as connection:
            connection.send(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
            hooked.server.wait_for_log("It hangs")
            mark = hooked.server.mark()
            hooked.server.signal(SIGQUIT)
            hooked.server.wait_for_log(r"time.sleep\(600\)", since=mark)
            assert hooked.server.wait() == 0


def test_pre_exec_runs_in_the_process_that_becomes_the_new_server(
    program: str, tmp_path: Path
) -> None:
    with Hooked(tmp_path, program, config=QUICK) as hooked:
        served(hooked).server.signal(SIGUSR2)
        note = hooked.wait_for("pre_exec")
        assert note[1] != hooked.server.pid
        starting = hooked.wait_for("on_starting", 2)
        assert starting[1] == note[1]


def test_pre_exec_that_raises_leaves_the_old_server_as_it_was(tmp_path: Path) -> None:
    with Hooked(tmp_path, "oxicorn", config=QUICK, RAISES="pre_exec") as hooked:
        served(hooked).server.signal(SIGUSR2)
        hooked.server.wait_for_log("Exception in pre_exec hook")
        assert hooked.server.request("/").status == 200
        assert hooked.stop() == 0
