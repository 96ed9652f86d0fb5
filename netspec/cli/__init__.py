"""The command line: a thin translation of arguments into calls of the library, and of errors into exit codes.

0 fine; 1 the file, input or weights are wrong; 2 wrong usage; 3 the machine cannot do it.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Entry point of the `netspec` command."""
    # netspec's models use no plug-ins; looking for them reads the metadata of every installed distribution.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
    from netspec.cli.app import app
    from netspec.diagnostics import DeviceError, NetspecError

    try:
        app()
    except DeviceError as error:
        _say(f"error: {error}")
        sys.exit(3)
    except NetspecError as error:
        _say(str(error) if error.diagnostics and _is_rendered(error) else f"error: {error}")
        sys.exit(1)
    except MemoryError as error:
        _say(f"error: not enough memory{f': {error}' if str(error) else ''}")
        sys.exit(3)
    except BrokenPipeError:
        # The reader of our output went away; Python would complain again while closing stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _is_rendered(error: Exception) -> bool:
    from netspec.diagnostics import SpecError

    return isinstance(error, SpecError)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
