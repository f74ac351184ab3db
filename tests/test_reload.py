"""`--reload`: a saved file becomes the served code, and an error in it becomes a page."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import threading
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from conftest import Serve
from harness import processes
from harness.inotify import limited
from harness.server import Server
from harness.wait import until
from oxicorn.reload import Reloader, failure_page

GOOD = 'def app(environ, start_response):\n    start_response("200 OK", [])\n    return [b"{}"]\n'


def ignore(path: str) -> None:
    """For reloaders that a test asks by itself."""


def touch(path: Path, text: str = "changed") -> None:
    """Writes the file so that its time of modification differs, however coarse the clock is."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text)
    after = path.stat()
    os.utime(path, ns=(after.st_atime_ns, max(after.st_mtime_ns, before + 1_000_000_000)))


# Seeing changes.


def test_nothing_is_a_change_at_the_first_look(tmp_path: Path) -> None:
    touch(tmp_path / "a.txt")
    assert Reloader([str(tmp_path / "a.txt")], ignore).first_change() is None


def change_seen_after_saving(file: Path) -> str | None:
    touch(file)
    reloader = Reloader([str(file)], ignore)
    reloader.remember()
    touch(file)
    return reloader.first_change()


def test_a_saved_extra_file_is_a_change(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    assert change_seen_after_saving(file) == str(file)


def test_an_older_version_put_back_is_a_change(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    touch(file)
    reloader = Reloader([str(file)], ignore)
    reloader.remember()
    os.utime(file, (1, 1))
    assert reloader.first_change() == str(file)


def test_a_file_being_replaced_is_a_change_only_once_it_is_back(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    touch(file)
    reloader = Reloader([str(file)], ignore)
    reloader.remember()
    time = file.stat().st_mtime_ns
    file.unlink()
    assert reloader.first_change() is None
    file.write_text("back")
    os.utime(file, ns=(time, time + 1))
    assert reloader.first_change() == str(file)


def test_patterns_are_expanded_at_each_look(tmp_path: Path) -> None:
    reloader = Reloader([str(tmp_path / "**/*.html")], ignore)
    reloader.remember()
    (tmp_path / "deep").mkdir()
    touch(tmp_path / "deep/page.html")
    assert reloader.first_change() is None
    touch(tmp_path / "deep/page.html")
    assert reloader.first_change() == str(tmp_path / "deep/page.html")


@pytest.mark.parametrize("excluded", ["made", "made/page.html", "*.html", "made/*.html"])
def test_what_is_excluded_is_not_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, excluded: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made").mkdir()
    touch(tmp_path / "made/page.html")
    reloader = Reloader(["**/*.html", "other.txt"], ignore, excluded=[excluded, ""])
    reloader.remember()
    touch(tmp_path / "made/page.html")
    assert reloader.first_change() is None
    touch(tmp_path / "other.txt")
    reloader.remember()
    touch(tmp_path / "other.txt")
    assert reloader.first_change() == "other.txt"


@pytest.mark.parametrize("suffix", ["py", "pyc"])
def test_the_source_of_a_loaded_module_is_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    touch(tmp_path / "loaded.py")
    module = ModuleType("loaded_for_this_test")
    module.__file__ = str(tmp_path / f"loaded.{suffix}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    reloader = Reloader([], ignore)
    reloader.remember()
    touch(tmp_path / "loaded.py")
    assert reloader.first_change() == str(tmp_path / "loaded.py")


def test_modules_without_a_file_are_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    odd: Any = ModuleType("odd_for_this_test")
    odd.__file__ = None
    monkeypatch.setitem(sys.modules, "odd_for_this_test", odd)
    assert Reloader([], ignore).first_change() is None


def test_a_module_that_cannot_be_asked_does_not_end_the_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lazy(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise RuntimeError(f"{name} cannot be loaded")

    monkeypatch.setitem(sys.modules, "lazy_for_this_test", Lazy("lazy_for_this_test"))
    file = tmp_path / "a.txt"
    assert change_seen_after_saving(file) == str(file)


def test_a_file_saved_while_it_is_imported_is_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SourceFileLoader, "path_stats", SourceFileLoader.path_stats)
    monkeypatch.setitem(sys.modules, "slow_to_import", None)
    del sys.modules["slow_to_import"]
    monkeypatch.syspath_prepend(tmp_path)
    changes: list[str] = []
    Reloader([], changes.append, interval=0.001).start()
    touch(tmp_path / "slow_to_import.py", "import os\nos.utime(__file__, (1, 1))\n")
    importlib.import_module("slow_to_import")
    until(lambda: "oxicorn-reloader" not in threads(), "the reloader's thread ends")
    assert changes == [str(tmp_path / "slow_to_import.py")]


def test_the_thread_reports_the_first_change_once_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SourceFileLoader, "path_stats", SourceFileLoader.path_stats)
    file = tmp_path / "a.txt"
    touch(file)
    changes: list[str] = []
    reloader = Reloader([str(file)], changes.append, interval=0.001)
    reloader.start()
    touch(file)
    until(lambda: "oxicorn-reloader" not in threads(), "the reloader's thread ends")
    assert changes == [str(file)]


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


# Hearing of changes.


class Watched:
    """A reloader that listens to the kernel, in its thread, until the first change."""

    def __init__(self, *extra: Path) -> None:
        self.changes: list[str] = []
        files = [str(entry) for entry in extra]
        self.reloader = Reloader(files, self.changes.append, interval=1000, engine="inotify")
        self.reloader.start()

    def expect(self, path: Path) -> None:
        until(lambda: self.changes == [str(path)], f"{path.name} is reported")
        until(lambda: "oxicorn-reloader" not in threads(), "the reloader's thread ends")


class Counted:
    """Counts how often a reloader looks at the files."""

    def __init__(self, reloader: Reloader) -> None:
        self._looks, look = 0, reloader.first_change

        def first_change() -> str | None:
            self._looks += 1
            return look()

        reloader.first_change = first_change  # type: ignore[method-assign]

    def wait(self) -> None:
        """Waits until it has looked once more."""
        before = self._looks
        until(lambda: self._looks > before, "it looks once more")


@pytest.fixture
def _own_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SourceFileLoader, "path_stats", SourceFileLoader.path_stats)


@pytest.mark.usefixtures("_own_imports")
def test_a_saved_file_is_heard_of(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    touch(file)
    watched = Watched(file)
    touch(file)
    watched.expect(file)


@pytest.mark.usefixtures("_own_imports")
def test_a_file_that_is_put_in_the_place_of_another_is_heard_of(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    touch(file)
    watched = Watched(file)
    touch(tmp_path / ".a.txt.swp")
    os.utime(tmp_path / ".a.txt.swp", (1, 1))
    os.rename(tmp_path / ".a.txt.swp", file)
    watched.expect(file)


@pytest.mark.usefixtures("_own_imports")
def test_a_release_that_a_link_is_turned_to_is_heard_of(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"release-{number}").mkdir()
        touch(tmp_path / f"release-{number}/a.txt", "text" * number)
    (tmp_path / "current").symlink_to("release-1")
    watched = Watched(tmp_path / "current/a.txt")
    (tmp_path / "next").symlink_to("release-2")
    os.rename(tmp_path / "next", tmp_path / "current")
    watched.expect(tmp_path / "current/a.txt")


@pytest.mark.usefixtures("_own_imports")
def test_a_directory_that_was_removed_and_is_made_again_is_heard_of(tmp_path: Path) -> None:
    file = tmp_path / "package/deep/a.txt"
    file.parent.mkdir(parents=True)
    touch(file, "first")
    watched = Watched(file)
    looked = Counted(watched.reloader)
    shutil.rmtree(tmp_path / "package")
    looked.wait()
    file.parent.mkdir(parents=True)
    looked.wait()
    touch(file, "second")
    watched.expect(file)


@pytest.mark.usefixtures("_own_imports")
@pytest.mark.parametrize("pattern", ["**/*.html", "*/deep/*.html"])
def test_a_file_that_appears_later_is_heard_of_once_it_is_known(
    tmp_path: Path, pattern: str
) -> None:
    watched = Watched(tmp_path / pattern)
    (tmp_path / "new/deep").mkdir(parents=True)
    page = tmp_path / "new/deep/page.html"
    touch(page)
    until(lambda: str(page) in watched.reloader._seen, "it is known")
    touch(page)
    watched.expect(page)


@pytest.mark.usefixtures("_own_imports")
def test_what_is_imported_later_is_heard_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "later_imported.py", "")
    monkeypatch.syspath_prepend(tmp_path)
    watched = Watched()
    importlib.import_module("later_imported")
    monkeypatch.delitem(sys.modules, "later_imported")
    touch(tmp_path / "later_imported.py")
    watched.expect(tmp_path / "later_imported.py")


@pytest.mark.usefixtures("_own_imports")
def test_where_the_kernel_may_not_hear_it_is_looked_as_well(tmp_path: Path) -> None:
    changes: list[str] = []
    # A directory that is not there yet cannot be followed.
    file = tmp_path / "later/a.txt"
    reloader = Reloader([str(file)], changes.append, interval=0.001, engine="auto")
    reloader.start()
    until(lambda: reloader._ears is not None and reloader._ears._deaf, "it knows that it is deaf")
    file.parent.mkdir()
    touch(file)
    until(lambda: str(file) in reloader._seen, "it is known")
    touch(file)
    until(lambda: changes == [str(file)], "the change is reported")


# The page.


def page(accept: str) -> tuple[str, dict[str, str], bytes]:
    seen: list[Any] = []
    application = failure_page("NameError: <oops> & co")
    body = b"".join(application({"HTTP_ACCEPT": accept}, lambda *head: seen.extend(head)))  # type: ignore[attr-defined]
    return seen[0], dict(seen[1]), body


def test_the_page_is_text_unless_html_is_asked_for() -> None:
    status, headers, body = page("*/*")
    assert status == "500 Internal Server Error"
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert headers["Content-Length"] == str(len(body))
    assert body == b"NameError: <oops> & co\n"


def test_the_page_is_escaped_as_html() -> None:
    _, headers, body = page("text/html,*/*;q=0.8")
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert b"NameError: &lt;oops&gt; &amp; co" in body
    assert b"<oops>" not in body


# The server.


@pytest.fixture
def site(tmp_path: Path, serve: Serve) -> Callable[..., Server]:
    """Starts a server under `--reload` whose application is `site_app.py` of the folder."""

    def start(text: str = GOOD.format("first"), *options: str) -> Server:
        touch(tmp_path / "site_app.py", text)
        return serve("site_app:app", "--reload", *options, cwd=tmp_path)

    return start


def answers(server: Server, status: int, body: bytes) -> None:
    """Waits until the server answers so: an old worker may still take a few requests."""

    def matches() -> bool:
        response = server.request()
        return response.status == status and body in response.body

    until(matches, f"the answer {status} {body!r}")


@pytest.mark.parametrize("engine", ["auto", "inotify", "poll"])
@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent", "tornado"])
def test_saved_code_is_served(
    site: Callable[..., Server], tmp_path: Path, engine: str, worker: str
) -> None:
    server = site(GOOD.format("first"), "--reload-engine", engine, "-k", worker)
    answers(server, 200, b"first")
    touch(tmp_path / "site_app.py", GOOD.format("second"))
    server.wait_for_log(rf"Worker reloading: {tmp_path}/site_app.py modified")
    answers(server, 200, b"second")


@pytest.mark.parametrize("engine", ["auto", "inotify"])
@pytest.mark.parametrize("what", ["instances", "watches"])
def test_where_inotify_has_reached_its_limit_it_is_looked_and_said(
    serve: Serve, tmp_path: Path, engine: str, what: str
) -> None:
    touch(tmp_path / "site_app.py", GOOD.format("first"))
    options = ("--reload", "--reload-engine", engine, "--reload-delay", "0.1")
    server = serve("site_app:app", *options, cwd=tmp_path, under=limited(what))
    said = rf"WARNING\] reload: inotify .*fs\.inotify\.max_user_{what}.* looked at every 0\.1 s"
    server.wait_for_log(said)
    answers(server, 200, b"first")
    touch(tmp_path / "site_app.py", GOOD.format("second"))
    answers(server, 200, b"second")


def test_a_saved_extra_file_reloads(site: Callable[..., Server], tmp_path: Path) -> None:
    touch(tmp_path / "texts.yaml")
    server = site(GOOD.format("same"), "--reload-extra-file", str(tmp_path / "*.yaml"))
    answers(server, 200, b"same")
    touch(tmp_path / "texts.yaml")
    server.wait_for_log(rf"Worker reloading: {tmp_path}/texts.yaml modified")
    server.wait_for_log("Booting worker with pid", 2)
    answers(server, 200, b"same")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("def app(:\n", b"SyntaxError"),
        ("import no_such_library\n", b"No module named 'no_such_library'"),
        ("undefined_name\n", b"NameError: name 'undefined_name' is not defined"),
        ("ap = 1\n", b"Module 'site_app' has no attribute 'app'. Did you mean 'ap'?"),
    ],
)
def test_an_error_is_a_page_until_the_next_save(
    site: Callable[..., Server], tmp_path: Path, text: str, shown: bytes
) -> None:
    server = site()
    touch(tmp_path / "site_app.py", text)
    answers(server, 500, shown)
    assert shown.decode() in server.log
    touch(tmp_path / "site_app.py", GOOD.format("mended"))
    answers(server, 200, b"mended")


def test_a_file_that_is_no_text_at_all_is_watched_too(
    site: Callable[..., Server], tmp_path: Path
) -> None:
    """Such an error does not say which file it is about."""
    (tmp_path / "helper.py").write_text("TEXT = 'one'\0")
    code = "from helper import TEXT\n" + GOOD.format("same")
    server = site(code)
    assert server.request().status == 500
    (tmp_path / "helper.py").write_text("TEXT = 'one'")
    server.wait_for_log(rf"Worker reloading: {tmp_path}/helper.py modified")
    until(lambda: server.request().text == "same", "the mended code")


ASGI = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        {start}
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
    else:
        await send({{"type": "http.response.start", "status": 200}})
        await send({{"type": "http.response.body", "body": b"started"}})
"""


@pytest.mark.parametrize(
    "start",
    [
        "raise OSError('no database')",
        "return await send({'type': 'lifespan.startup.failed', 'message': 'no database'})",
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["at the start", "later"])
def test_a_start_up_that_fails_is_a_page_until_the_next_save(
    site: Callable[..., Server], tmp_path: Path, start: str, first: bool
) -> None:
    file, good, bad = tmp_path / "site_app.py", ASGI.format(start=""), ASGI.format(start=start)
    server = site(bad if first else good, "--asgi-lifespan", "on")
    if not first:
        answers(server, 200, b"started")
        touch(file, bad)
    until(lambda: server.request().status == 500, "the page")
    assert "no database" in server.request().text
    touch(file, good)
    answers(server, 200, b"started")


@pytest.mark.parametrize("engine", ["inotify", "poll"])
@pytest.mark.parametrize("missing", ["forms.py", "forms/__init__.py", "shop/forms.py"])
def test_a_module_that_was_missing_is_served_as_soon_as_it_is_written(
    site: Callable[..., Server], tmp_path: Path, missing: str, engine: str
) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").touch()
    name = missing.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    server = site(f"from {name} import TEXT\n" + GOOD.format("mended"), "--reload-engine", engine)
    assert server.request().status == 500
    (tmp_path / missing).parent.mkdir(exist_ok=True)
    (tmp_path / missing).write_text("TEXT = 'one'")
    answers(server, 200, b"mended")


def test_files_that_are_saved_together_are_one_change(
    site: Callable[..., Server], tmp_path: Path
) -> None:
    helper = tmp_path / "helper.py"
    touch(helper, "TEXT = 'one'\n")
    code = "from helper import TEXT\n" + GOOD.format("{}").replace('b"{}"', "TEXT.encode()")
    server = site(code)
    answers(server, 200, b"one")
    touch(tmp_path / "site_app.py", code + "# saved\n")
    touch(helper, "TEXT = 'two'\n")
    answers(server, 200, b"two")
    assert server.log.count("Worker reloading") == 1


def test_under_inotify_an_idle_worker_does_not_wake_up(site: Callable[..., Server]) -> None:
    server = site(GOOD.format("still"), "--reload-engine", "inotify")
    answers(server, 200, b"still")
    until(lambda: processes.is_settled(server.worker), "no wake-up for a second")


def test_a_missing_module_ends_the_start_even_under_reload(serve: Serve, tmp_path: Path) -> None:
    server = serve("no_such_module:app", "--reload", cwd=tmp_path, launch=True)
    server.expect_exit(3)
    assert "There is no module 'no_such_module'" in server.log
