"""`MODULE[:EXPRESSION]`: what it finds, and the one message for what it does not find."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oxicorn.app import Application, load, loaded
from oxicorn.errors import ApplicationError, ApplicationRaised, ModuleMissing

SHOP = """
import functools

def app(environ, start_response):
    return [b"app"]

class site:
    app = app

class Callable:
    def __call__(self, environ, start_response):
        return [b"instance"]

instance = Callable()

def create_app(*args, **options):
    def made(environ, start_response):
        return [repr((args, options)).encode()]
    return made

site.make = create_app

def make_text():
    return version

def configured(name):
    return app

def wrapped(function):
    @functools.wraps(function)
    def call(environ, start_response):
        return function("database", environ, start_response)
    return call

@wrapped
def with_database(database, environ, start_response):
    return [database.encode()]

class Asgi:
    async def __call__(self, scope, receive, send):
        pass

asgi = Asgi()

async def asgi_function(scope, receive, send):
    pass

asgi_partial = functools.partial(asgi_function)

def of_three(scope, receive, send):
    return asgi_function(scope, receive, send)

version = "1.0"

def makes_nothing():
    pass

def raises():
    raise TypeError("inner trouble")
"""

FILES = {
    "shop.py": SHOP,
    "pkg/__init__.py": "import pkg.wsgi\n",
    "pkg/wsgi.py": "def application(environ, start_response):\n    return [b'pkg']\n",
    "pkg/other.py": "",
    "lonely.py": "def run_it(environ, start_response):\n    return []\n",
    "broken.py": "import no_such_library\n",
    "broken_pkg/__init__.py": "import broken_pkg.missing\n",
    "syntax.py": "def f(:\n",
    "exits.py": "import sys\nsys.exit(7)\n",
    "lazy.py": "def __getattr__(name):\n    raise ValueError('lazily ' + name)\n",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The start directory, with all of `FILES`, importable for one test."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def answer(spec: str) -> bytes:
    """What the application that `spec` names answers."""
    return b"".join(found(spec)({}, None))  # type: ignore[attr-defined]


def found(spec: str, notices: list[str] | None = None) -> Application:
    return load(spec, (notices if notices is not None else []).append).application


def refusal(spec: str) -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        found(spec)
    return caught.value


@pytest.mark.parametrize(
    ("spec", "body"),
    [
        ("shop:app", b"app"),
        ("shop:site.app", b"app"),
        ("shop:instance", b"instance"),
        ("shop:with_database", b"database"),
        ("pkg.wsgi", b"pkg"),
        ("pkg.wsgi:application", b"pkg"),
        ("pkg:wsgi.application", b"pkg"),
        ("shop:create_app()", b"((), {})"),
        ("shop: create_app() ", b"((), {})"),
        ("shop:create_app('prod', debug=False)", b"(('prod',), {'debug': False})"),
        ("shop:create_app([1, {'a': (2.5, None)}])", b"(([1, {'a': (2.5, None)}],), {})"),
        ("shop:create_app(-1)", b"((-1,), {})"),
    ],
)
def test_a_specification_names_an_application(spec: str, body: bytes) -> None:
    assert answer(spec) == body


def test_without_a_name_application_is_served_silently() -> None:
    notices: list[str] = []
    found("pkg.wsgi", notices)
    assert notices == []


def test_without_an_application_app_is_served_with_a_notice() -> None:
    notices: list[str] = []
    found("shop", notices)
    assert notices == ["'shop' has no 'application': serving its 'app'."]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("shp:app", "There is no module 'shp', neither in {folder} nor elsewhere on sys.path. "),
        ("shp:app", "Did you mean 'shop'"),
        (
            "qqqqq",
            "This directory has: broken, broken_pkg, exits, lazy, lonely, pkg, shop, syntax.",
        ),
        ("pkg.wsgo", "Package 'pkg' exists, but it has no submodule 'wsgo'. Did you mean 'wsgi'?"),
        ("pkg.zzz", "Package 'pkg' exists, but it has no submodule 'zzz'. It has: other, wsgi."),
        ("shop.app", "'shop' is a module, not a package: there can be no 'shop.app'. "),
        ("shop.app", "Did you mean 'shop:app'?"),
        ("shop.py:app", "'shop.py' is a file. Did you mean 'shop:app'?"),
        ("./shop.py:app", "'./shop.py' is not a dotted module path. Did you mean 'shop:app'?"),
        ("pkg/wsgi", "'pkg/wsgi' is not a dotted module path. Did you mean 'pkg.wsgi'?"),
        ("pkg.", "'pkg.' is not a dotted module path. Did you mean 'pkg'?"),
        (":app", "':app' names no module; write 'MODULE:app'."),
    ],
)
def test_a_wrong_module_is_named_with_the_nearest(folder: Path, spec: str, message: str) -> None:
    error = refusal(spec)
    assert message.format(folder=folder) in str(error)
    assert isinstance(error, ModuleMissing)
    assert error.exit_code == 3


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("shop:ap", "Module 'shop' has no attribute 'ap'. Did you mean 'app'?"),
        ("shop:verzion", "Module 'shop' has no attribute 'verzion'. Did you mean 'version'?"),
        ("shop:site.ap", "'shop:site' is the class 'site' and has no attribute 'ap'. "),
        ("lonely:qqq", "Module 'lonely' has no attribute 'qqq'. It has: run_it."),
        ("lonely", "Module 'lonely' has neither 'application' nor 'app'; name what to serve: "),
        ("lonely", "'lonely:NAME'. It has: run_it."),
        ("pkg:other", "'other' is a submodule of 'pkg': write 'pkg.other'."),
        ("pkg:wsgi", "is the module 'pkg.wsgi', not a WSGI application"),
        ("pkg:wsgi", "Did you mean 'pkg.wsgi:application'?"),
        ("shop:version", "'shop:version' is a str: '1.0', not a WSGI application"),
        ("shop:version()", "'shop:version' is a str: '1.0': it cannot be called."),
        ("shop:makes_nothing()", "'shop:makes_nothing()' is None, not a WSGI application"),
        ("shop:configured", "is the function 'configured' that takes (name), not a WSGI"),
        ("shop:makes_nothing", "If it makes one, write 'shop:makes_nothing()'."),
        (
            "shop:configured()",
            "'shop:configured' takes (name): missing a required argument: 'name'",
        ),
        ("shop:configured(nom='x')", "'shop:configured' takes (name): "),
        ("shop:create_app(version)", "is called with something other than literals."),
        ("shop:create_app(**{'a': 1})", "is neither a name (app), nor an attribute path"),
        ("shop:app[0]", "'app[0]' is neither a name (app), nor an attribute path (site.app), "),
        ("shop:create_app(", "'create_app(' is neither a name"),
        ("shop:app; import os", "'app; import os' is neither a name"),
    ],
)
def test_a_wrong_name_gets_one_clear_message(spec: str, message: str) -> None:
    error = refusal(spec)
    assert message in str(error)
    assert "Traceback" not in str(error)
    assert error.exit_code == 4


@pytest.mark.parametrize("name", ["asgi", "asgi_function", "asgi_partial"])
def test_an_asgi_application_is_known_by_its_looks(name: str) -> None:
    spec = f"shop:{name}"
    assert load(spec, print).asynchronous
    assert load(spec, print, "asgi").asynchronous
    with pytest.raises(ApplicationError, match=r"is an ASGI application .* says wsgi"):
        load(spec, print, "wsgi")


def test_any_callable_of_three_can_be_said_to_be_an_asgi_application() -> None:
    assert load("shop:of_three", print, "asgi").asynchronous
    with pytest.raises(ApplicationError, match="not an ASGI application"):
        load("shop:app", print, "asgi")
    with pytest.raises(ApplicationError, match="not an ASGI application"):
        load("shop:version", print, "asgi")


def test_a_class_is_no_asgi_application_but_its_objects_may_be() -> None:
    assert "write 'shop:Asgi()'" in str(refusal("shop:Asgi"))
    assert load("shop:Asgi()", print).asynchronous


# Factories.


@pytest.mark.parametrize("spec", ["shop:create_app", "shop", "shop:site.make"])
def test_a_factory_is_called_without_arguments(spec: str) -> None:
    made = load(spec, print, factory=True)
    assert b"".join(made.application({}, None)) == b"((), {})"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("shop:create_app()", "'create_app()' is a call, whose result is served"),
        ("shop:version", "it cannot be called"),
        ("shop:app", "'shop:app' takes (environ, start_response): missing a required argument"),
        ("pkg.wsgi", "neither 'create_app' nor 'make_app'; name what to serve: 'pkg.wsgi:NAME'"),
        ("shop:make_text", "'shop:make_text()' is a str: '1.0', not a WSGI application"),
    ],
)
def test_what_is_no_factory_is_refused(spec: str, message: str) -> None:
    with pytest.raises(ApplicationError) as caught:
        load(spec, print, factory=True)
    assert message in str(caught.value)


def test_what_a_factory_raises_has_its_traceback() -> None:
    with pytest.raises(ApplicationRaised) as caught:
        load("shop:raises", print, factory=True)
    assert "'shop:raises()' failed:" in str(caught.value)
    assert "TypeError: inner trouble" in str(caught.value)


def test_an_object_may_be_the_application_or_its_factory() -> None:
    def app(environ: object, start_response: object) -> list[bytes]:
        return [b"mine"]

    assert loaded(app, "main.py:app", "auto", False).application is app
    assert loaded(lambda: app, "main.py:make", "auto", True).application is app
    with pytest.raises(ApplicationError, match=r"'main.py:7' is an int: 7, not a WSGI"):
        loaded(7, "main.py:7", "auto", False)


def test_an_asgi_2_application_is_called_twice() -> None:
    said: list[object] = []

    def application(scope: object) -> Any:
        async def instance(receive: object, send: object) -> None:
            said.extend([scope, receive, send])

        return instance

    made = loaded(application, "app", "asgi2", False)
    assert made.asynchronous
    asyncio.run(made.application("scope", "receive", "send"))  # type: ignore[arg-type]
    assert said == ["scope", "receive", "send"]
    with pytest.raises(ApplicationError, match="not an ASGI 2 application"):
        loaded(7, "app", "asgi2", False)


@pytest.mark.parametrize(
    ("spec", "cause"),
    [
        ("broken:app", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("broken_pkg", "ModuleNotFoundError: No module named 'broken_pkg.missing'"),
        ("syntax", "SyntaxError: "),
        ("exits", "SystemExit: 7"),
        ("lazy:app", "ValueError: lazily app"),
        ("shop:raises()", "TypeError: inner trouble"),
    ],
)
def test_an_error_of_the_users_code_comes_with_its_traceback(spec: str, cause: str) -> None:
    error = refusal(spec)
    assert isinstance(error, ApplicationRaised)
    assert cause in str(error)
    assert error.exit_code == 3


@pytest.mark.parametrize("spec", ["broken", "broken_pkg", "exits", "lazy:app", "shop:raises()"])
def test_a_traceback_begins_at_the_users_code(folder: Path, spec: str) -> None:
    lines = str(refusal(spec)).splitlines()
    frames = [line for line in lines if line.startswith("  File ")]
    assert frames
    assert all(str(folder) in frame for frame in frames)


def test_the_files_of_a_failed_import_are_known(folder: Path) -> None:
    files = refusal("broken").files
    # And those that the missing module could be in.
    assert files[:2] == [str(folder / "broken.py"), str(folder / "no_such_library.py")]
    assert all("no_such_library" in file for file in files[1:])
    assert refusal("syntax").files == [str(folder / "syntax.py")]


def test_literal_arguments_are_never_evaluated(folder: Path) -> None:
    refusal("shop:create_app(open('made', 'w'))")
    assert not (folder / "made").exists()


def test_an_interrupt_during_the_import_is_not_an_error_of_the_application(folder: Path) -> None:
    (folder / "interrupted.py").write_text("raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        found("interrupted")
