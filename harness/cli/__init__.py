"""The command line: each command reads its words, calls one function, prints."""

from __future__ import annotations

import importlib.util
import signal
import sys
import traceback
from types import FrameType
from typing import NoReturn

import typer

from harness.errors import OhdBenchError

app = typer.Typer(
    name="ohd-bench",
    help="Does a better eye make a more honest vision-language model?",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Terminated(KeyboardInterrupt):
    """SIGTERM, taken like Ctrl-C so that everything is flushed."""


def _register() -> None:
    from harness.cli import data, leaderboard, listing, run

    for group in (run, listing, leaderboard, data):
        group.register(app)
    for name in ("score", "compare", "report", "encoder", "train", "export"):
        if importlib.util.find_spec(f"harness.cli.{name}"):
            importlib.import_module(f"harness.cli.{name}").register(app)


def main() -> NoReturn:
    """Run the command; errors end in one line on stderr and the documented exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    _register()
    verbose = "-v" in sys.argv or "--verbose" in sys.argv
    try:
        app(standalone_mode=True)
    except OhdBenchError as error:
        if verbose:
            traceback.print_exc()
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(error.code)
    except Terminated:
        print("terminated; the same command goes on where it stopped", file=sys.stderr)
        sys.exit(143)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated
