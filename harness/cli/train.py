"""``ohd-bench train``: make a new encoder by a recipe."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from harness.cli.options import AllowOutside, Changes, DataDir, Include, Json, TrainedOut, Verbose


def register(app: typer.Typer) -> None:
    """Add ``train``."""
    app.command()(train)


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe, e.g. micro-ohd; a wrong name lists those there are.")],
    out: TrainedOut,
    data: DataDir = "micro",
    fraction: Annotated[float | None, typer.Option(help="Part of the training rows, drawn by the seed.")] = None,
    max_samples: Annotated[int | None, typer.Option(min=0, help="At most this many training rows.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything that is drawn.")] = None,
    change: Changes = None,
    include: Include = None,
    allow_outside: AllowOutside = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Train an encoder by a recipe; the same command goes on where it stopped.

    Exit codes: 0 trained, 2 usage, 3 data missing, 4 base not loadable, 6 loss not finite, 130/143 interrupted.
    """
    import json
    import os

    from harness import data as places
    from harness import registry, sweep
    from harness.cli.showing import quiet
    from harness.console import out as result
    from harness.console import print_json

    if not verbose:
        quiet()
    registry.load(include or ())
    told: dict[str, Any] = {"fraction": fraction, "max_samples": max_samples, "seed": seed}
    told |= {"allow_outside": True} if allow_outside else {}
    words = sweep.assignments(change or []) | {name: str(value) for name, value in told.items() if value is not None}
    asked = sweep.with_settings(registry.find(registry.recipes, recipe, "recipe")(), words)
    folder = asked.train(places.resolve(data).root, out)
    if os.environ.get("RANK", "0") != "0":  # one of torchrun's processes tells the result
        return
    measured = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))["measured"]
    if as_json:
        print_json({"folder": str(folder), **measured})
        return
    result().print(_before_after(measured))
    result().print(f"now: ohd-bench run --encoder {asked.base} --encoder clip:{folder} --data {data}", markup=False)  # type: ignore[attr-defined]


def _before_after(measured: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table("dev rows, classes, drift", "base", "trained")
    for name, value in measured["after"].items():
        table.add_row(name, f"{measured['before'][name]:.3g}", f"{value:.3g}")
    return table
