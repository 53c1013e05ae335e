"""``ohd-bench list`` and ``ohd-bench show``: what there is, and what a question or a run looks like."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.run import DataDir, Include, Results

KINDS = ("tasks", "encoders", "lvlms", "recipes")


def register(app: typer.Typer) -> None:
    """Add ``list`` and ``show``."""
    app.command("list")(list_)
    show = typer.Typer(help="Look at one question of a task, or at a kept run.", no_args_is_help=True)
    show.command("sample")(sample)
    show.command("run")(show_run)
    app.add_typer(show, name="show")


def list_(
    kind: Annotated[
        str, typer.Argument(help="tasks, encoders, lvlms or recipes; all of them where none is named.")
    ] = "",
    include: Include = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Say which tasks, encoders, LVLMs and recipes there are."""
    from harness import registry
    from harness.cli.console import out, print_json
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
        out().print(f"[bold]{name}[/bold]")
        width = max((len(key) for key in things), default=0)
        for key, line in things.items():
            out().print(f"  {key:<{width}}  {line}", markup=False, soft_wrap=True)
            for more in _other_lines(getattr(registry, name)[key]) if kind else ():
                out().print(f"  {'':<{width}}  {more}", markup=False, soft_wrap=True, style="dim")


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def _other_lines(thing: object) -> list[str]:
    """The rest of what it says of itself: options and how its spec is written."""
    return [line for line in (inspect.getdoc(thing) or "").splitlines()[1:] if line.strip()]


def sample(
    task: Annotated[str, typer.Argument(help="A task, NAME[?option=value].")],
    id: Annotated[str, typer.Argument(help="The sample's id; the first sample where none is named.")] = "",
    data: DataDir = "micro",
    include: Include = None,
) -> None:
    """Print one question of a task: its image, what is asked, and the answer that is right."""
    from harness import registry, rig
    from harness.cli.console import print_json
    from harness.data import resolve
    from harness.errors import UsageError

    registry.load(include or ())
    opened = rig.open_task(task, resolve(data).root)
    for one in opened.every():
        if one.id == id or not id:
            shown = {name: getattr(one, name) for name in one.__slots__}
            print_json(shown | {"image": str(one.image) if one.image else None})
            return
    raise UsageError(f"{task} has no sample '{id}'; its first is '{next(iter(opened.samples())).id}'")


def show_run(
    ids: Annotated[list[str], typer.Argument(help="Names of runs in --results, or the beginning of one.")],
    results: Results = Path("results"),
    include: Include = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Print every metric of kept runs, side by side."""
    from harness import registry, rig
    from harness.cli import showing
    from harness.store import pick

    registry.load(include or ())
    runs = [pick(results, id) for id in ids]
    showing.print_runs(runs, rig.kept_tasks(runs), full=True, as_json=as_json)
