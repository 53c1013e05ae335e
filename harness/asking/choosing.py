"""Which tasks a run asks: those that are named, or every one that its models can be asked; or why it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from harness import registry
from harness.asking import controls
from harness.asking.evaluate import open_task
from harness.asking.run_options import RunOptions
from harness.data import Data
from harness.errors import BrokenDataError, DataError, UsageError
from harness.types import OF_ENCODERS, Mode, Task


def chosen(options: RunOptions, data: Data, say: Callable[[str], None]) -> list[Task]:
    """The tasks named; with none named, every task that these models can be asked and whose files are there.

    UsageError says why one that is named cannot be asked.
    """
    if not options.tasks:
        return _every(options, data, say)
    opened = [open_task(name, data.root, data.outside) for name in options.tasks]
    tasks = list({task.name: task for task in opened}.values())  # named twice it is asked, and shown, once
    for why, names in _left_out(tasks, options).items():
        raise UsageError(f"{', '.join(names)} {why}")
    return tasks


def _every(options: RunOptions, data: Data, say: Callable[[str], None]) -> list[Task]:
    opened = [open_task(name, data.root, data.outside) for name in sorted(registry.tasks)]
    tasks = list(_there([task for task in opened if not _unasked(task.mode, options)], data, say))
    left_out = _left_out(opened, options).items()  # nobody misses what models that are not named would be asked
    controlled = [f"{', '.join(names)} {why}" for why, names in left_out if "--control" in why]
    if controlled and not tasks and not options.lvlm:
        raise UsageError(f"{controlled[0]}; it needs an --lvlm")
    for told in controlled:
        say(told)
    if not tasks:
        raise DataError(f"{data.root} holds no task these models can answer; docs/data.md says what a folder holds")
    return tasks


def _there(tasks: Iterable[Task], data: Data, say: Callable[[str], None]) -> Iterator[Task]:
    """Those whose files are there; of the user's own data it is said what another one lacks."""
    for task in tasks:
        try:
            if next(iter(task.samples()), None):
                yield task
        except BrokenDataError:
            raise
        except DataError as error:
            if data.name != "micro":
                say(f"not asked: {task.name}: {error}")


def _left_out(tasks: Iterable[Task], options: RunOptions) -> dict[str, list[str]]:
    """The names of those tasks that these models cannot be asked in this way, by the reason."""
    found: dict[str, list[str]] = {}
    for task in tasks:
        if why := _unasked(task.mode, options):
            found.setdefault(why, []).append(task.name)
    return found


def _unasked(mode: Mode, options: RunOptions) -> str:
    """Why these models cannot be asked a task of this mode in this way; empty where they can."""
    who, named = ("an --encoder", options.encoders) if mode in OF_ENCODERS else ("an --lvlm", options.lvlm)
    if not named:
        return f"needs {who} to answer it"
    why = controls.unasked(mode, options.control)
    return f"cannot be asked under --control {options.control}: {why}" if why else ""
