"""The command `oxicorn`: from arguments to a running server, and to its exit code.

Order, as gunicorn's: command line, start directory on `sys.path`, configuration file, all
settings, `chdir`, import path and environment, checks, daemon, log, sockets, workers. Forked
workers and stems return through `main` as well, so that the application's `atexit` functions run.

Exit codes: 0 stopped, or checked and fine; 1 configuration, bind, or an application that fails
while it is checked or preloaded; 2 usage; 3 a worker failed to boot; 4 the application could not
be loaded.
"""

from __future__ import annotations

import os
import posix
import sys
from collections.abc import Callable, Sequence
from functools import partial

from oxicorn import banner, gevent, stem, worker
from oxicorn._native import (
    Arbiter,
    BindError,
    CommandLine,
    Config,
    ConfigError,
    Stem,
    __version__,
    beginning,
    check_state,
    daemonize,
    log,
    setup_logs,
    undo,
)
from oxicorn.boot import application, check, lost_threads
from oxicorn.compat.loggers import check as check_log
from oxicorn.compat.loggers import open_log
from oxicorn.configuration import Source
from oxicorn.errors import ApplicationError, OperatorError
from oxicorn.identity import Identity
from oxicorn.observer import Observer
from oxicorn.output import capture, let_go
from oxicorn.title import set_title

__all__ = ["main", "serve"]

FAILED = 1
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command with `argv` (without the program's name) and returns the exit code."""
    _open_standard_streams()
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except (OperatorError, ConfigError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        let_go()
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _open_standard_streams() -> None:
    """Points closed standard streams (`>&-`) nowhere: no file or socket may take their place."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or open(1, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w")  # noqa: SIM115


def _run(arguments: list[str]) -> int:
    try:
        return _begin(arguments)
    except BaseException as error:
        # A new version that has not yet taken over leaves the process to the former one.
        undo(f"{type(error).__name__}: {error}")
        raise


def _begin(arguments: list[str]) -> int:
    command_line = CommandLine(arguments, dict(os.environ))
    source = Source(command_line, os.environ)
    if command_line.exit is not None:
        code, text, to_stderr = command_line.exit
        print(text.rstrip("\n"), file=sys.stderr if to_stderr else sys.stdout)
        return code
    return serve(source)


def serve(source: Source, in_child: Callable[[], None] = lambda: None) -> int:
    """Does what the settings say; returns the exit code, in each forked process as well.

    `in_child` is called first of all in a process that was just forked.
    """
    config, warnings = source.read()
    source.enter(config)
    check(config)
    if beginning() == "check":
        return _check_upgrade(config)
    if config.print_config:
        print(config.report())
    if config.print_config or config.check_config:
        return _check(source, config, warnings)
    return _serve(source, config, warnings, in_child)


# The two ends.


def _check(source: Source, config: Config, warnings: list[str]) -> int:
    """`--check-config`, `--print-config`: everything short of serving."""
    unknown = config.unknown_names
    for text in [one for one in warnings if one not in unknown]:
        print(f"Warning: {text}", file=sys.stderr)
    if unknown:
        raise OperatorError("\n".join(unknown))
    try:
        Identity.of(config)
        gevent.patch(config)
        check_log(config)
        application(source, config, lambda text: print(text, file=sys.stderr))
    except ApplicationError as error:
        raise OperatorError(f"The application could not be loaded. {error}") from None
    return 0


def _check_upgrade(config: Config) -> int:
    """A running server asks whether it could go on as this version."""
    Identity.of(config)
    setup_logs(config)
    check_log(config)
    print(check_state(), flush=True)
    return 0


def _serve(
    source: Source, config: Config, warnings: list[str], in_child: Callable[[], None]
) -> int:
    identity = Identity.of(config)
    is_successor = beginning() == "start" and "GUNICORN_PID" in os.environ
    # Whoever started this process as its successor (USR2) is in the background already.
    if config.daemon and beginning() == "start" and not is_successor:
        daemonize(config.enable_stdio_inheritance)
    setup_logs(config)
    journal = open_log(config)
    identity.give(config.errorlog, config.accesslog)
    if config.capture_output:
        capture(config.errorlog)
    _warn(config, warnings)
    if source.script is not None and (threads := lost_threads()):
        log("warning", f"Threads that were started before oxicorn.run end at the fork: {threads}")
    set_title("master", config, ".2" if is_successor else "")
    # What applications find out by, as gunicorn has it, that they are served.
    os.environ["SERVER_SOFTWARE"] = f"oxicorn/{__version__}"
    try:
        observer = Observer(config, source.command(), partial(_configure_again, source), journal)
        if source.embedded is not None:
            observer.server.app = source.embedded
        # What a configuration has done to `os` (gevent's patches) is not for the arbiter.
        arbiter = Arbiter(config, posix.fork, observer, source.command(), identity.owner)
        arbiter.bind()
        observer.bound(arbiter.sockets)
    except BindError as error:
        undo(str(error))
        log("error", str(error))
        return observer.code or FAILED
    if beginning() == "start":
        _announce(config, arbiter.listeners)
    # What the configuration printed must not be in every worker's buffer.
    sys.stdout.flush()
    end = arbiter.run()
    if isinstance(end, int):
        return end
    in_child()
    if isinstance(end, Stem):
        return stem.run(source, end, identity, observer)
    return worker.run(source, end, identity, observer)


def _configure_again(source: Source) -> Config:
    """For a restart, in the arbiter, which has to outlive whatever the file does."""
    try:
        config, warnings = source.read_again()
    except (OperatorError, ConfigError):
        raise
    except BaseException as error:
        raise OperatorError(f"{type(error).__name__}: {error}") from None
    finally:
        # What the file printed must not be in every worker's buffer.
        sys.stdout.flush()
    _warn(config, warnings)
    return config


def _warn(config: Config, warnings: list[str]) -> None:
    for text in warnings:
        log("warning", text)
    for text in config.notices:
        log("info", text)
    for text in config.idle:
        log("debug", text)
    if config.preload_app and config.reload:
        log("warning", "preload_app is ignored under reload: new code has to be imported.")


def _announce(config: Config, urls: Sequence[str]) -> None:
    facts = banner.Facts.of(config, config.app or "", urls)
    if config.loglevel in ("debug", "info") and not config.daemon:
        banner.show(facts, sys.stderr, os.environ)
    for line in banner.log_lines(facts):
        log("info", line)
