"""``ohd-bench list``: which tasks, encoders, LVLMs and recipes there are."""

from __future__ import annotations

import inspect
from typing import Annotated

import typer

from harness.cli.options import Include, Json

KINDS = ("tasks", "encoders", "lvlms", "recipes")


def register(app: typer.Typer) -> None:
    """Add ``list``."""
    app.command("list")(list_)


def list_(
    kind: Annotated[
        str, typer.Argument(help="tasks, encoders, lvlms or recipes; all of them where none is named.")
    ] = "",
    include: Include = None,
    as_json: Json = False,
) -> None:
    """Say which tasks, encoders, LVLMs and recipes there are."""
    from harness import registry
    from harness.console import out, print_json
    from harness.errors import UsageError

    if kind and kind not in KINDS:
        raise UsageError(f"there is nothing to list called '{kind}'; there is {', '.join(KINDS)}")
    registry.load(include or ())
    found = {
        name: {key: _first_line(thing) for key, thing in sorted(getattr(registry, name).items())}
        for name in ([kind] if kind else KINDS)
    }
    if as_json:
        print_json(found)
        return
    for name, things in found.items():
        out().print(name, style="bold")
        width = max((len(key) for key in things), default=0)
        for key, line in things.items():
            out().print(f"  {key:<{width}}  {line}", soft_wrap=True)
            for more in _other_lines(getattr(registry, name)[key]) if kind else ():
                out().print(f"  {'':<{width}}  {more}", soft_wrap=True, style="dim")


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def _other_lines(thing: object) -> list[str]:
    """The rest of what it says of itself: options and how its spec is written."""
    return [line for line in (inspect.getdoc(thing) or "").splitlines()[1:] if line.strip()]
