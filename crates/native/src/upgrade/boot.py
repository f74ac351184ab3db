"""The package as it was when this server was started, run again because a newer one failed.

Above, as it is executed: FILES (a module's file and source), COMMAND and NAME (what was typed),
CONFIGURATION (what is between the environment and what was typed). The extension module is in the
descriptor whose path is the first argument. Invariant: of the package nothing on the disk is used.
"""

# ruff: noqa: D102, E402, F821

import marshal
import os
import sys
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location

LIBRARY = sys.argv[1]


class Kept:
    """Finds the modules above, whatever has become of their files."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "oxicorn._native":
            loader = ExtensionFileLoader(name, LIBRARY)
            return spec_from_file_location(name, LIBRARY, loader=loader)
        if name not in FILES:
            return None
        file = os.fsdecode(FILES[name][0])
        is_package = os.path.basename(file) == "__init__.py"
        spec = ModuleSpec(name, cls, origin=file, is_package=is_package)
        spec.has_location = True
        return spec

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        file, source = FILES[module.__name__]
        exec(compile(source, os.fsdecode(file), "exec", dont_inherit=True), vars(module))


sys.meta_path.insert(0, Kept)
sys.orig_argv = [os.fsdecode(word) for word in COMMAND]
sys.argv = [os.fsdecode(NAME), *sys.argv[2:]]
if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
    # The folder of this script, which has none.
    del sys.path[0]
# Nothing that the application starts can import this script by its name.
del __file__

from oxicorn import configuration
from oxicorn.cli import main

read = configuration.Source._resolve


def read_or_remember(source):
    """The configuration may be for the newer version by now: this one must go on all the same."""
    configuration.Source._resolve = read
    try:
        return read(source)
    except BaseException as error:
        config = source._command_line.resolve(marshal.loads(CONFIGURATION))
        text = f"The configuration is that of the start, for it cannot be read now: {error}"
        return config, [text, *config.warnings]


configuration.Source._resolve = read_or_remember
sys.exit(main())
