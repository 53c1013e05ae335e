"""``ohd-bench data``: put the benchmarks' files where they belong."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the ``data`` commands, those of other command files included."""
    data = typer.Typer(help="Prepare and examine data.", no_args_is_help=True)
    data.command()(prepare)
    for name in ("score", "artefacts"):
        if importlib.util.find_spec(f"harness.cli.{name}"):
            module = importlib.import_module(f"harness.cli.{name}")
            if hasattr(module, "register_data"):
                module.register_data(data)
    app.add_typer(data, name="data")


def prepare(what: Annotated[str, typer.Argument(help="micro: write the bundled world.")] = "micro") -> None:
    """Write the micro world, and say where it lies."""
    from harness.data import micro
    from harness.errors import UsageError

    if what != "micro":
        raise UsageError(f"cannot prepare '{what}'; there is micro (docs/data.md says where real data comes from)")
    print(micro())
