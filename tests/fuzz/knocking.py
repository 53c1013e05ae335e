"""How one command over something broken is asked in this process, and how it ended."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import breaking

PATIENCE = 60
"""Seconds after which a command counts as one that cannot finish."""


@dataclass(frozen=True)
class Said:
    """How a command ended: its code, what it printed, and the traceback where it ended in one."""

    code: int
    out: str
    err: str
    trace: str = ""


class Endless(BaseException):
    """A command that did not come to an end in time."""


def _too_long(number: int, frame: object) -> None:
    raise Endless


@cache
def _app() -> Any:
    from harness.cli import build

    return build()


def ask(*words: object) -> Said:
    """One command in this process; whatever is no clear refusal has its traceback kept."""
    from harness.cli import NO_PLACE
    from harness.errors import OhdBenchError

    out, err = io.StringIO(), io.StringIO()
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(PATIENCE)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            _app()(args=[str(word) for word in words], standalone_mode=True)
        return Said(0, out.getvalue(), err.getvalue())
    except SystemExit as end:
        return Said(int(end.code or 0), out.getvalue(), err.getvalue())
    except OhdBenchError as error:
        return Said(error.code, out.getvalue(), err.getvalue() + f"error: {error}")
    except OSError as error:  # the command says these in a line of its own
        code = 2 if error.errno == errno.ENAMETOOLONG or error.errno in NO_PLACE else 1
        return Said(code, out.getvalue(), err.getvalue() + f"error: {error.filename}: {error.strerror}")
    except Endless:
        return Said(-1, out.getvalue(), err.getvalue(), f"not through after {PATIENCE} s")
    except Exception:
        return Said(-1, out.getvalue(), err.getvalue(), traceback.format_exc())
    finally:
        signal.alarm(0)


@dataclass(frozen=True)
class Tried:
    """One broken input: what was done, how the command ended, and what is wrong with that (nothing, if it is right)."""

    what: str
    said: Said
    wrong: str = ""

    @property
    def end(self) -> str:
        """``traceback``, ``wrong``, ``refused`` or ``answered``."""
        if self.said.trace:
            return "traceback"
        return "wrong" if self.wrong else "answered" if self.said.code == 0 else "refused"


Door = Callable[[Random, Path, Path], Tried]
"""Called with a generator, the sound world and an empty folder: breaks something in a copy, and knocks."""


def files(folder: Path, *patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in folder.glob(pattern) if path.is_file())


def break_in(rng: Random, path: Path, how: Callable[[Random, bytes], tuple[str, bytes]] = breaking.broken) -> str:
    done, data = how(rng, path.read_bytes())
    path.write_bytes(data)
    return f"{path.name} {done}"


def loose(path: Path) -> list[Any] | None:
    """The rows of a file as any JSON reader has them; None where it has none."""
    try:
        rows, _ = breaking.unpacked(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    return rows if isinstance(rows, list) else [rows]


def values(said: Said, metric: str, group: str) -> dict[str, Any]:
    rows = json.loads(said.out)["rows"]
    return next((row["values"][0] for row in rows if (row["metric"], row["group"]) == (metric, group)), {})
