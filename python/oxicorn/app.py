"""From `MODULE[:EXPRESSION]` to an application, or to one message that says what is wrong.

`MODULE` is a dotted path. `EXPRESSION` is a name, an attribute path (`site.app`), or a call of
one with literal arguments (`create_app("prod", debug=False)`); nothing else is evaluated. Without
it the names `application` and `app` are tried, or `create_app` and `make_app` for a factory.

Not for: running the application, or anything that a request could see.

Invariant: whatever `load` raises is an `ApplicationError` whose text can be shown alone.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import os
import pkgutil
import reprlib
import sys
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import accumulate
from typing import Any, NoReturn

from oxicorn.errors import ApplicationError, ApplicationRaised, ModuleMissing, user_frames

__all__ = ["Application", "Loaded", "imported", "load", "loaded"]

Application = Callable[..., Any]
"""WSGI (PEP 3333): called with environ and start_response. ASGI 3: with scope, receive and send."""

_DEFAULT_NAMES = ("application", "app")
_FACTORY_NAMES = ("create_app", "make_app")


@dataclass(frozen=True)
class Loaded:
    """An application, and how it is called."""

    application: Application
    asynchronous: bool = False
    """It is an ASGI application."""


def load(
    spec: str, notice: Callable[[str], None], interface: str = "auto", factory: bool = False
) -> Loaded:
    """Imports the module and returns the application that `spec` names.

    `notice` is told when a default is used that the person may not have meant. `interface`: what
    the application is called by; with `auto` it is looked at. `factory`: what is named is called
    without arguments, and what it returns is the application.
    """
    module_name, _, expression = spec.partition(":")
    target = _Target.parse(expression) if expression else None
    module = _import(module_name, expression)
    if target is None:
        target = _default_target(module, notice, factory)
    if factory:
        target = target.called()
    found = _attribute(module, target.path)
    if target.call is not None:
        found = _make(found, target, module_name)
    return _vetted(found, f"{module_name}:{target}", interface)


def imported(path: str) -> object:
    """What `MODULE:NAME` names, which need not be an application."""
    module, _, name = path.partition(":")
    return _attribute(_import(module, name), name.split("."))


def loaded(found: object, name: str, interface: str, factory: bool) -> Loaded:
    """The application that an object is, or that it makes; messages call it `name`."""
    if factory:
        found = _called(found, name, _Target((name,), ([], {})), f"{name}()")
    return _vetted(found, name, interface)


def _vetted(found: object, name: str, interface: str) -> Loaded:
    if interface == "tornado":
        from oxicorn import tornado

        found, interface = tornado.unwrapped(found), "auto"
    if interface == "asgi2":
        return Loaded(_called_once(_vetted_asgi2(found, name)), asynchronous=True)
    if interface in ("asgi", "asgi3") or (interface == "auto" and _is_asgi(found)):
        return Loaded(_coroutine_function(_vetted_asgi(found, name)), asynchronous=True)
    return Loaded(_vetted_wsgi(found, name))


@dataclass(frozen=True)
class _Target:
    """The part of the specification behind the colon."""

    path: tuple[str, ...]
    call: tuple[list[Any], dict[str, Any]] | None = None
    text: str = ""

    def __str__(self) -> str:
        return self.text or ".".join(self.path)

    @classmethod
    def parse(cls, text: str) -> _Target:
        try:
            node = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError):
            _refuse_expression(text)
        if not isinstance(node, ast.Call):
            return cls(_path(node, text))
        return cls(_path(node.func, text), _arguments(node, text), text.strip())

    def called(self) -> _Target:
        """The same, called without arguments."""
        if self.call is not None:
            raise ApplicationError(
                f"{self.text!r} is a call, whose result is served; `factory` is for a name alone."
            )
        return _Target(self.path, ([], {}), f"{self}()")


def _path(node: ast.expr, text: str) -> tuple[str, ...]:
    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.Attribute):
        return (*_path(node.value, text), node.attr)
    _refuse_expression(text)


def _arguments(node: ast.Call, text: str) -> tuple[list[Any], dict[str, Any]]:
    if any(keyword.arg is None for keyword in node.keywords):
        _refuse_expression(text)
    try:
        positional = [ast.literal_eval(argument) for argument in node.args]
        named = {str(word.arg): ast.literal_eval(word.value) for word in node.keywords}
    except (ValueError, TypeError):
        raise ApplicationError(
            f"{text!r} is called with something other than literals. Only text, numbers, True, "
            "False, None, and lists, tuples, sets and dicts of them can be given."
        ) from None
    return positional, named


def _refuse_expression(text: str) -> NoReturn:
    raise ApplicationError(
        f"{text!r} is neither a name (app), nor an attribute path (site.app), "
        "nor a call with literal arguments (create_app('prod'))."
    ) from None


# The module.


def _import(name: str, expression: str) -> types.ModuleType:
    """Imports one level after the other, so that the level that does not exist can be named."""
    if not all(name.split(".")) or os.sep in name:
        raise ModuleMissing(_not_a_module_path(name, expression))
    for level in accumulate(name.split("."), "{}.{}".format):
        try:
            importlib.import_module(level)
        except ModuleNotFoundError as error:
            if error.name == level and user_frames(error) is None:
                raise ModuleMissing(_missing(level, name, expression)) from None
            raise ApplicationRaised(f"The import of {name!r} failed:", error) from None
        except (Exception, SystemExit) as error:
            raise ApplicationRaised(f"The import of {name!r} failed:", error) from None
    return sys.modules[name]


def _not_a_module_path(name: str, expression: str) -> str:
    if not name:
        return f"':{expression}' names no module; write 'MODULE:{expression or 'app'}'."
    path = name.removeprefix("." + os.sep).removesuffix(".py").replace(os.sep, ".").strip(".")
    meant = f" Did you mean {_spec(path, expression)!r}?" if path else ""
    return f"{name!r} is not a dotted module path.{meant}"


def _missing(level: str, name: str, expression: str) -> str:
    if name.endswith(".py") and os.path.exists(name):
        return f"{name!r} is a file. Did you mean {_spec(name[:-3], expression)!r}?"
    parent, _, child = level.rpartition(".")
    if not parent:
        return _missing_at_top(level)
    package = sys.modules[parent]
    if not hasattr(package, "__path__"):
        return _not_a_package(package, child, name)
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    hint = _nearest(child, names) or _listing("It has", names)
    return f"Package {parent!r} exists, but it has no submodule {child!r}.{hint}"


def _missing_at_top(name: str) -> str:
    here = sorted(module.name for module in pkgutil.iter_modules([os.getcwd()]))
    names = here + [module.name for module in pkgutil.iter_modules()]
    hint = _nearest(name, names) or _listing("This directory has", here)
    where = os.getcwd()
    if not os.access(where, os.R_OK | os.X_OK):
        hint = f" This process (uid {os.geteuid()}) may not read {where}."
    return f"There is no module {name!r}, neither in {where} nor elsewhere on sys.path.{hint}"


def _not_a_package(module: types.ModuleType, child: str, name: str) -> str:
    parent = module.__name__
    where = f"{parent!r} is a module, not a package: there can be no {name!r}."
    if parent == "__main__" or not hasattr(module, child):
        return where
    return f"{where} Did you mean '{parent}:{child}'?"


def _spec(module: str, expression: str) -> str:
    return f"{module}:{expression}" if expression else module


# The name in the module.


def _default_target(
    module: types.ModuleType, notice: Callable[[str], None], factory: bool
) -> _Target:
    names = _FACTORY_NAMES if factory else _DEFAULT_NAMES
    for name in names:
        if _has(module, name):
            if name != names[0]:
                notice(f"{module.__name__!r} has no {names[0]!r}: serving its {name!r}.")
            return _Target((name,))
    raise ApplicationError(
        f"Module {module.__name__!r} has neither {names[0]!r} nor {names[1]!r}; name what to "
        f"serve: '{module.__name__}:NAME'.{_listing('It has', _public_callables(module))}"
    )


def _attribute(module: types.ModuleType, path: Iterable[str]) -> object:
    value: object = module
    where = module.__name__
    for name in path:
        if not _has(value, name):
            raise ApplicationError(_no_attribute(value, where, name))
        where = f"{where}:{name}" if value is module else f"{where}.{name}"
        value = getattr(value, name)
    return value


def _has(value: object, name: str) -> bool:
    """`hasattr`, but an error other than AttributeError is shown as the application's own."""
    try:
        return hasattr(value, name)
    except Exception as error:
        raise ApplicationRaised(f"Reading {name!r} failed:", error) from None


def _no_attribute(value: object, where: str, name: str) -> str:
    if not isinstance(value, types.ModuleType):
        hint = _nearest(name, _public(dir(value)))
        return f"{where!r} is {_described(value)} and has no attribute {name!r}.{hint}"
    submodules = [found.name for found in pkgutil.iter_modules(getattr(value, "__path__", ()))]
    if name in submodules:
        return f"{name!r} is a submodule of {where!r}: write '{where}.{name}'."
    callables = _public_callables(value)
    hint = (
        _nearest(name, callables)
        or _nearest(name, _public(dir(value)))
        or _listing("It has", callables)
    )
    return f"Module {where!r} has no attribute {name!r}.{hint}"


# The call and the result.


def _make(factory: object, target: _Target, module_name: str) -> object:
    what = f"{module_name}:{'.'.join(target.path)}"
    return _called(factory, what, target, f"{module_name}:{target}")


def _called(factory: object, what: str, target: _Target, call: str) -> object:
    """What a factory returns; messages call it `what`, and its call `call`."""
    if not callable(factory):
        raise ApplicationError(f"{what!r} is {_described(factory)}: it cannot be called.")
    positional, named = target.call or ([], {})
    _check_arguments(factory, what, positional, named)
    try:
        return factory(*positional, **named)
    except ApplicationError:
        raise
    except (Exception, SystemExit) as error:
        raise ApplicationRaised(f"'{call}' failed:", error) from None


def _check_arguments(
    factory: Callable[..., object], what: str, positional: list[Any], named: dict[str, Any]
) -> None:
    """Tells wrong arguments from a TypeError that the factory itself raises."""
    try:
        signature = inspect.signature(factory)
    except (ValueError, TypeError):
        return
    try:
        signature.bind(*positional, **named)
    except TypeError as error:
        raise ApplicationError(f"{what!r} takes {signature}: {error}.") from None


def _vetted_wsgi(found: object, spec: str) -> Application:
    if _is_asgi(found):
        raise ApplicationError(
            f"{spec!r} is an ASGI application (async, called with scope, receive and send), and "
            "`interface` says wsgi."
        )
    if not callable(found):
        hint = _inside(found) if isinstance(found, types.ModuleType) else ""
        raise ApplicationError(f"{spec!r} is {_described(found)}, {_NOT_WSGI}{hint}")
    if isinstance(found, (types.FunctionType, types.MethodType)) and not _takes_two(found):
        raise ApplicationError(_wrong_function(found, spec))
    return found


def _vetted_asgi(found: object, spec: str) -> Application:
    if not callable(found):
        raise ApplicationError(f"{spec!r} is {_described(found)}, {_NOT_ASGI}")
    if isinstance(found, type):
        raise ApplicationError(
            f"{spec!r} is {_described(found)}: an ASGI application is called with scope, receive "
            f"and send, which for a class makes an object. If that is an application, write "
            f"'{spec}()'."
        )
    if isinstance(found, (types.FunctionType, types.MethodType)) and not _takes_three(found):
        signature = inspect.signature(found, follow_wrapped=False)
        raise ApplicationError(
            f"{spec!r} is {_described(found)} that takes {signature}, {_NOT_ASGI}"
        )
    return found


def _vetted_asgi2(found: object, spec: str) -> Application:
    if not callable(found) or inspect.iscoroutinefunction(found):
        raise ApplicationError(f"{spec!r} is {_described(found)}, {_NOT_ASGI2}")
    return found


def _called_once(application: Application) -> Application:
    """ASGI 3 out of ASGI 2, which is called with the scope, and its result with the rest."""

    async def called(scope: Any, receive: Any, send: Any) -> None:
        instance: Any = application(scope)
        await instance(receive, send)

    return called


def _takes_three(function: Callable[..., object]) -> bool:
    try:
        inspect.signature(function, follow_wrapped=False).bind({}, None, None)
    except TypeError:
        return False
    return True


def _coroutine_function(found: Application) -> Application:
    """What a plain callable does before it returns an awaitable belongs in the task as well."""
    if _is_asgi(found):
        return found

    async def application(*arguments: object) -> None:
        await found(*arguments)

    return application


def _is_asgi(found: object) -> bool:
    while isinstance(found, functools.partial):
        found = found.func
    kind = found if isinstance(found, type) else type(found)
    call = inspect.getattr_static(kind, "__call__", None)
    return inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(call)


def _inside(module: types.ModuleType) -> str:
    names = [name for name in _DEFAULT_NAMES if _has(module, name)]
    return f" Did you mean '{module.__name__}:{names[0]}'?" if names else ""


def _takes_two(function: Callable[..., object]) -> bool:
    """Whether the function itself, not one that it wraps, can be called as PEP 3333 calls it."""
    try:
        inspect.signature(function, follow_wrapped=False).bind({}, None)
    except TypeError:
        return False
    return True


def _wrong_function(function: Callable[..., object], spec: str) -> str:
    signature = inspect.signature(function, follow_wrapped=False)
    message = f"{spec!r} is {_described(function)} that takes {signature}, {_NOT_WSGI}"
    try:
        signature.bind()
    except TypeError:
        return message
    return message if spec.endswith(")") else f"{message} If it makes one, write '{spec}()'."


# Words.

_NOT_ASGI = "not an ASGI application (a callable that takes scope, receive and send)."
_NOT_ASGI2 = (
    "not an ASGI 2 application (a callable that takes scope and returns one that takes receive "
    "and send)."
)
_NOT_WSGI = "not a WSGI application (a callable that takes environ and start_response)."


def _described(value: object) -> str:
    if value is None:
        return "None"
    kind = type(value).__name__
    if isinstance(value, (types.ModuleType, types.FunctionType, type)):
        return f"the {kind} {value.__name__!r}".replace("the type", "the class")
    article = "an" if kind[0].lower() in "aeiou" else "a"
    return f"{article} {kind}: {reprlib.repr(value)}"


def _nearest(name: str, names: Iterable[str]) -> str:
    close = get_close_matches(name, dict.fromkeys(names), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""


def _listing(words: str, names: list[str]) -> str:
    if not names:
        return ""
    more = ", ..." if len(names) > 8 else ""
    return f" {words}: {', '.join(names[:8])}{more}."


def _public(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.startswith("_")]


def _public_callables(module: types.ModuleType) -> list[str]:
    """What the module offers to be called; what it merely imported comes last."""
    members = vars(module)
    names = [name for name in _public(members) if callable(members[name])]
    own = module.__name__
    return sorted(names, key=lambda name: getattr(members[name], "__module__", own) != own)
