"""The command line: each command reads its words, calls one function, prints."""

from __future__ import annotations

import importlib
import pkgutil
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import typer

from harness.errors import OhdBenchError

COMMANDS = (
    "run", "list", "show", "score", "compare", "attribute", "effects", "objects", "report", "encoder", "train", "sweep",
    "export", "leaderboard", "data",
)  # fmt: skip
"""The files that have commands, in the order of ``--help``. They import what is heavy inside their commands."""


class Terminated(BaseException):
    """SIGTERM, raised so that everything is flushed on the way out."""


def build() -> typer.Typer:
    """The whole command: each file of COMMANDS adds its own."""
    app = typer.Typer(
        name="ohd-bench",
        help="Does a better eye make a more honest vision-language model?",
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    there = {module.name for module in pkgutil.iter_modules(__path__)}
    for name in (name for name in COMMANDS if name in there):
        importlib.import_module(f"harness.cli.{name}").register(app)
    return app


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Run the command; errors end in one line on stderr and the documented exit code."""
    words = sys.argv[1:] if words is None else [*words]  # the module harness.cli.list hides the name
    signal.signal(signal.SIGTERM, _terminate)
    verbose = "-v" in words or "--verbose" in words
    try:
        build()(args=words, standalone_mode=True)
    except OhdBenchError as error:
        if verbose:
            traceback.print_exc()
        print(f"{error.label}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(error.code)
    except OSError as error:
        if verbose:
            traceback.print_exc()
        print(f"error: {error.filename or ''}: {error.strerror or error}; what was answered is kept", file=sys.stderr)
        sys.exit(1)
    except (Terminated, KeyboardInterrupt) as stop:
        _goodbye(*(("terminated", 143) if isinstance(stop, Terminated) else ("interrupted", 130)))
    except SystemExit as end:  # typer ends every command so, Ctrl-C with 130
        if end.code == 130:
            _goodbye("interrupted", 130)
        raise
    sys.exit(0)


def _goodbye(how: str, code: int) -> NoReturn:
    print(f"{how}; what was answered is kept, and the same command goes on from there", file=sys.stderr)
    sys.exit(code)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated
