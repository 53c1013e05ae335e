"""``ohd-bench train``: make a new encoder by a recipe."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import AllowOutside, Changes, DataDir, Estimate, Include, Json, TrainedOut, Verbose

if TYPE_CHECKING:
    from harness.types import Recipe

SAID = "stopped between steps; what is saved stays, and the same command goes on from there"


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
    estimate: Estimate = False,
    include: Include = None,
    allow_outside: AllowOutside = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Train an encoder by a recipe; the same command goes on where it stopped.

    Exit codes: 0 trained, 2 usage, 3 data missing, 4 base not loadable, 6 loss not finite, 130/143 interrupted.
    """
    from harness.stopping import at_once

    told = {"fraction": fraction, "max_samples": max_samples, "seed": seed, "allow_outside": allow_outside or None}
    words = [*(change or []), *(f"{name}={value}" for name, value in told.items() if value is not None)]
    with at_once(SAID):
        from harness import data as places
        from harness import registry, sweep
        from harness.console import quiet

        if not verbose:
            quiet()
        registry.load(include or ())
        asked = sweep.with_settings(registry.find(registry.recipes, recipe, "recipe")(), sweep.assignments(words))
        root = places.resolve(data).root
        if estimate:
            _estimate(recipe, asked, root, as_json)
            return
        folder = asked.train(root, out)
        if os.environ.get("RANK", "0") == "0":  # one of torchrun's processes tells the result
            _tell(folder, asked.base, data, as_json)  # type: ignore[attr-defined]


def _estimate(name: str, recipe: Recipe, data: Path, as_json: bool) -> None:
    """What the training would cost."""
    from harness.cli import expected
    from harness.compute.forecast import Forecasts
    from harness.errors import UsageError

    if not isinstance(recipe, Forecasts):
        raise UsageError(f"{name} cannot say what it costs: its recipe has no forecast(data)")
    expected.show({name: recipe.forecast(data)}, as_json)


def _tell(folder: Path, base: str, data: str, as_json: bool) -> None:
    """What was measured, and what to do next."""
    from harness.console import out as result
    from harness.console import print_json
    from harness.errors import UsageError
    from harness.rows import object_of

    measured = object_of(folder / "recipe.json")["measured"]
    if not (folder / "model.safetensors").is_file():
        raise UsageError(f"{folder} was trained by a sweep that did not keep its weights; give another --out")
    if as_json:
        print_json({"folder": str(folder), **measured})
        return
    result().print(_before_after(measured))
    command = ["ohd-bench", "run", "--encoder", base, "--encoder", f"clip:{folder}", "--data", data]
    result().print(f"now: {shlex.join(command)}", soft_wrap=True)


def _before_after(measured: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table("dev rows, classes, drift")
    for head in ("base", "trained"):
        table.add_column(head, justify="right")
    for name, value in measured["after"].items():
        table.add_row(name, f"{measured['before'][name]:.3g}", f"{value:.3g}")
    return table
