"""Where commands write: the result to stdout, progress and remarks to stderr."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from harness.shown import json_text, plain
from harness.words_only import WordsOnly

if TYPE_CHECKING:
    from harness.result import Result

WIDE = 200


class Described(Protocol):
    """An encoder, or what is known of one."""

    spec: str

    def describe(self) -> Mapping[str, Any]:
        """What belongs to its identity beside the weights."""


def out() -> Console:
    """The console for results; as wide as a table needs where nobody looks at a terminal and COLUMNS is not set."""
    return WordsOnly(width=_width(sys.stdout), highlight=False, markup=False, emoji=False)


def err() -> Console:
    """The console for everything that is not the result."""
    return WordsOnly(stderr=True, width=_width(sys.stderr), highlight=False, markup=False, emoji=False)


def _width(stream: TextIO) -> int | None:
    """None where rich finds it out: from the terminal, or from COLUMNS."""
    return None if stream.isatty() or os.environ.get("COLUMNS", "").isdigit() else WIDE


def tell(thing: object) -> None:
    """A line of the result, as it is."""
    print(plain(str(thing)))


def say(text: str) -> None:
    """A remark on stderr."""
    err().print(text, style="dim", soft_wrap=True)


def say_assumed(encoder: Described) -> None:
    """What had to be assumed about this encoder, a remark each."""
    for name, told in encoder.describe().items():
        if isinstance(told, str) and told.startswith("assumed: "):
            say(f"{encoder.spec}: {name.removesuffix('_from')} {told}")


def quiet() -> None:
    """Keep libraries' chatter off the screen."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)


def show(result: Result) -> None:
    """A result, part by part: a line of text is never broken, so that what it says can be copied."""
    for part in result.parts():
        out().print(part, soft_wrap=isinstance(part, Text))


def print_json(thing: Any) -> None:
    """The result as one JSON value on stdout: in letters where they can be written and only read, else in escapes."""
    from harness.result import versioned

    thing = versioned(thing)
    letters = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json_text(json.dumps(thing, indent=1, ensure_ascii=not letters, allow_nan=False)))


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:.1f}/s", style="dim")


@contextlib.contextmanager
def ticking(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar with rate and time left on stderr; where stderr is no terminal, a line at the end."""
    console = err()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=False) as progress:
        bar = progress.add_task(title, total=total)
        done = 0

        def tick(n: int) -> None:
            nonlocal done
            done += n
            progress.advance(bar, n)

        yield tick
    if not console.is_terminal:
        say(f"{title}: {done} of {total}")


class Silent:
    """Tells nobody how a run goes."""

    def say(self, text: str) -> None:
        """Nothing."""

    def say_assumed(self, encoder: Described) -> None:
        """Nothing."""

    @contextlib.contextmanager
    def ticking(self, title: str, total: int) -> Iterator[Callable[[int], None]]:
        """No progress bar."""
        yield lambda n: None
