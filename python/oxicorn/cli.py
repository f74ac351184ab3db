"""The command `oxicorn`: from arguments to a running server, and to its exit code.

Order, as gunicorn's: command line, start directory on `sys.path`, configuration file, all
settings, `chdir`, import path and environment, checks, daemon, log, preload, sockets, workers.
Forked workers return through `main` as well, so that the application's `atexit` functions run.

Exit codes: 0 stopped, or checked and fine; 1 configuration, bind, or an application that fails
while it is checked or preloaded; 2 usage; 3 a worker failed to boot; 4 the application could not
be loaded.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Sequence

from oxicorn import banner, config_file, worker
from oxicorn._native import (
    Arbiter,
    BindError,
    CommandLine,
    Config,
    ConfigError,
    Seed,
    daemonize,
    log,
    setup_logs,
)
from oxicorn.app import Application, load
from oxicorn.errors import ApplicationError, OperatorError
from oxicorn.identity import Identity
from oxicorn.output import capture
from oxicorn.title import set_title

__all__ = ["main"]

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
        # Whoever read our output has seen enough; Python must not complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
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
    command_line = CommandLine(arguments, dict(os.environ))
    if command_line.exit is not None:
        code, text, to_stderr = command_line.exit
        print(text.rstrip("\n"), file=sys.stderr if to_stderr else sys.stdout)
        return code
    _make_importable(os.getcwd())
    config, warnings = _configure(command_line)
    if config.app is None:
        raise OperatorError("No application was named: oxicorn [OPTIONS] MODULE[:VARIABLE]")
    _enter(config)
    if config.print_config:
        print(config.report())
    if config.print_config or config.check_config:
        return _check(config, warnings)
    return _serve(config, warnings)


# Configuration.


def _configure(command_line: CommandLine) -> tuple[Config, list[str]]:
    """All settings, and what is to be said about them once there is a log."""
    if command_line.config_file is None:
        config = command_line.resolve(None, {})
        return config, list(config.warnings)
    source, _named = command_line.config_file
    file = config_file.load(source)
    config = command_line.resolve(file.label, file.values)
    return config, [text for text in (file.warning, *config.warnings) if text]


def _enter(config: Config) -> None:
    """Makes this process what the settings say: directory, import path, environment."""
    if config.chdir:
        try:
            os.chdir(config.chdir)
        except OSError as error:
            raise OperatorError(f"chdir: {config.chdir!r}: {error.strerror}.") from None
        _make_importable(os.getcwd())
    for path in filter(None, (config.pythonpath or "").split(",")):
        _make_importable(os.path.abspath(path))
    for entry in config.raw_env:
        name, _, value = entry.partition("=")
        os.environ[name] = value


def _make_importable(directory: str) -> None:
    if directory not in sys.path:
        sys.path.insert(0, directory)


# The two ends.


def _check(config: Config, warnings: list[str]) -> int:
    """`--check-config`, `--print-config`: everything short of serving."""
    for text in warnings:
        print(f"Warning: {text}", file=sys.stderr)
    try:
        Identity.of(config)
        load(config.app or "", lambda text: print(text, file=sys.stderr))
    except ApplicationError as error:
        raise OperatorError(f"The application could not be loaded. {error}") from None
    return 0


def _serve(config: Config, warnings: list[str]) -> int:
    identity = Identity.of(config)
    if config.daemon:
        daemonize(config.enable_stdio_inheritance)
    setup_logs(config)
    identity.give(config.errorlog, config.accesslog)
    if config.capture_output:
        capture(config.errorlog)
    for text in warnings:
        log("warning", text)
    set_title("master", config)
    try:
        application = _preload(config)
        arbiter = Arbiter(config, os.fork, identity.owner)
        arbiter.bind()
    except (ApplicationError, BindError) as error:
        log("error", str(error))
        return FAILED
    _announce(config, arbiter.listeners)
    # What the import printed must not be in every worker's buffer.
    sys.stdout.flush()
    end = arbiter.run()
    if isinstance(end, Seed):
        return worker.run(config, end, application, identity)
    return end


def _preload(config: Config) -> Application | None:
    if not config.preload_app:
        return None
    if config.reload:
        log("warning", "preload_app is ignored under reload: new code has to be imported.")
        return None
    application = load(config.app or "", lambda text: log("info", text))
    threads = [thread.name for thread in threading.enumerate()][1:]
    if threads:
        names = ", ".join(threads)
        log("warning", f"preload_app: threads started by the import end at the fork: {names}")
    # What exists now is never collected by the workers, so its pages stay shared.
    gc.freeze()
    return application


def _announce(config: Config, urls: Sequence[str]) -> None:
    facts = banner.Facts.of(config, config.app or "", urls)
    if config.loglevel in ("debug", "info") and not config.daemon:
        banner.show(facts, sys.stderr, os.environ)
    for line in banner.log_lines(facts):
        log("info", line)
