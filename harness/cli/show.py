"""``ohd-bench show``: what a question or a kept run looks like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import DataDir, Include, Json, Results


def register(app: typer.Typer) -> None:
    """Add ``show``."""
    show = typer.Typer(help="Look at one question of a task, or at a kept run.", no_args_is_help=True)
    show.command("sample")(sample)
    show.command("run")(show_run)
    app.add_typer(show, name="show")


def sample(
    task: Annotated[str, typer.Argument(help="A task, NAME[?option=value].")],
    id: Annotated[str, typer.Argument(help="The sample's id; the first sample where none is named.")] = "",
    data: DataDir = "micro",
    include: Include = None,
) -> None:
    """Print one question of a task: its image, what is asked, and the answer that is right.

    On stderr the picture itself, where that is a terminal in colours; else where a small copy of it was saved.
    """
    from harness import registry
    from harness.asking import evaluate
    from harness.console import print_json
    from harness.data import resolve
    from harness.errors import UsageError

    registry.load(include or ())
    opened = evaluate.open_task(task, resolve(data).root)
    for one in opened.every():
        if one.id == id or not id:
            shown = {name: getattr(one, name) for name in one.__slots__}
            print_json(shown | {"image": str(one.image) if one.image else None})
            if one.image:
                _show_picture(one.image)
            return
    raise UsageError(f"{task} has no sample '{id}'; its first is '{next(iter(opened.samples())).id}'")


def _show_picture(path: Path) -> None:
    from harness import digest
    from harness.console import err, say
    from harness.data import cache_dir
    from harness.images import ImageError, open_image
    from harness.report import picture

    try:
        image, console = open_image(path), err()
    except ImageError as error:
        say(f"its picture cannot be shown: {error}")
        return
    if console.is_terminal and console.color_system in ("truecolor", "256"):
        console.print(picture.blocks(image, console.width))
        return
    small = cache_dir() / "shown" / f"{digest.of_json(str(path.resolve()))[:16]}.png"
    try:
        say(f"a small copy of the picture: {picture.thumbnail(image, small)}")
    except OSError as error:  # what was asked for stands on stdout already
        say(f"no small copy of the picture: {error}")


def show_run(
    ids: Annotated[list[str], typer.Argument(help="Names of runs in --results, or the beginning of one.")],
    results: Results = Path("results"),
    include: Include = None,
    as_json: Json = False,
) -> None:
    """Print every metric of kept runs, side by side."""
    from harness import registry
    from harness.asking import evaluate
    from harness.console import print_json, show
    from harness.kept_runs import pick, say_shards
    from harness.report.side_by_side import SideBySide

    registry.load(include or ())
    runs = [pick(results, id) for id in ids]
    for run in runs:
        say_shards(run)
    kept = SideBySide(runs, evaluate.kept_tasks(runs), full=True)
    print_json(kept.json()) if as_json else show(kept)
