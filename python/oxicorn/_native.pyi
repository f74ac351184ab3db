"""The extension module: settings, arbiter, workers and logs, written in Rust (crates/native)."""

from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Any, Literal, final

from oxicorn._settings import Config as Settings

__all__ = [
    "Arbiter",
    "BindError",
    "CommandLine",
    "Config",
    "ConfigError",
    "Pump",
    "Seed",
    "Stem",
    "Worker",
    "__version__",
    "beginning",
    "check_state",
    "daemonize",
    "log",
    "reopen_logs",
    "setup_logs",
    "undo",
]

__version__: str

class ConfigError(Exception):
    """A setting has a wrong value; the message names setting, value and source."""

class BindError(Exception):
    """A socket or the pidfile could not be had; the message names it and the reason."""

@final
class CommandLine:
    """What was typed, checked value by value; no file has been read yet."""

    def __new__(cls, args: list[str], environ: dict[str, str]) -> CommandLine: ...
    @staticmethod
    def from_arguments(
        application: str, arguments: dict[str, object], environ: dict[str, str]
    ) -> CommandLine: ...
    @property
    def exit(self) -> tuple[int, str, bool] | None: ...
    @property
    def config_file(self) -> tuple[str, bool] | None: ...
    @property
    def chdir(self) -> str | None: ...
    def resolve(self, label: str | None, values: dict[str, object]) -> Config: ...

@final
class Config(Settings):
    """All settings in force, each an attribute by gunicorn's name."""

    @property
    def warnings(self) -> list[str]: ...
    @property
    def app(self) -> str | None: ...
    @staticmethod
    def names() -> list[str]: ...
    def report(self) -> str: ...

@final
class Seed:
    """What a worker inherits from the arbiter or from its stem through the fork."""

    @property
    def id(self) -> int: ...
    @property
    def generation(self) -> int: ...
    @property
    def config(self) -> Config: ...

@final
class Stem:
    """What a stem inherits from the arbiter through the fork."""

    @property
    def generation(self) -> int: ...
    @property
    def config(self) -> Config: ...
    def begin(self) -> None: ...
    def unready(self, reason: str) -> None: ...
    def ready(self) -> None: ...
    def grow(
        self,
        reopen: Callable[[], None],
        before: Callable[[int], tuple[int, str] | None],
    ) -> Seed | None: ...
    def forked(self) -> None: ...

@final
class Arbiter:
    """The process manager. `fork` is `os.fork`; `owner` gets the Unix sockets (uid, gid).

    `configure` reads the configuration again, for a restart into a generation; `observer` is told
    what happens (`oxicorn.observer`). `command`: how the server was started: program, arguments,
    environment, directory.
    """

    def __new__(
        cls,
        config: Config,
        fork: Callable[[], int],
        configure: Callable[[int], Config],
        observer: object,
        command: tuple[str, list[str], dict[str, str], str],
        owner: tuple[int, int] | None = None,
    ) -> Arbiter: ...
    @property
    def listeners(self) -> list[str]: ...
    @property
    def sockets(self) -> list[tuple[int, str]]: ...
    def bind(self) -> None: ...
    def run(self) -> int | Seed | Stem: ...

@final
class Worker:
    """A worker process's engine and its threads."""

    def __new__(cls, config: Config, seed: Seed) -> Worker: ...
    @property
    def exit_code(self) -> int: ...
    def begin(self) -> None: ...
    @property
    def interrupted(self) -> bool: ...
    @property
    def leaving(self) -> bool: ...
    @property
    def requests(self) -> int: ...
    def start(
        self,
        app: Callable[..., object],
        asynchronous: bool = False,
        farewell: Callable[[], None] | None = None,
        observer: object = None,
    ) -> None: ...
    def pump(self, event_loop: AbstractEventLoop, state: dict[str, Any]) -> Pump: ...
    def unready(self, reason: str) -> None: ...
    def lead(self) -> None: ...
    def watch(self) -> None: ...
    def stop(self, graceful: bool = True) -> None: ...
    def forked(self) -> None: ...

@final
class Pump:
    """What an event loop watches and calls to serve requests."""

    @property
    def over(self) -> bool: ...
    def fileno(self) -> int: ...
    def __call__(self, *args: object, **kwargs: object) -> None: ...

def beginning() -> Literal["start", "check", "resume"]: ...
def check_state() -> str: ...
def undo(reason: str) -> None: ...
def setup_logs(config: Config) -> None: ...
def reopen_logs() -> None: ...
def log(level: str, message: str) -> None: ...
def daemonize(inherit_stdio: bool) -> None: ...
