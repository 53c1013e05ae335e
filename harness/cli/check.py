"""``ohd-bench check``: whether a task or an encoder keeps what its kind promises."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.options import AllowOutside, DataDir, Include, Json


def register(app: typer.Typer) -> None:
    """Add ``check``."""
    app.command()(check)


def check(
    kind: Annotated[str, typer.Argument(help="task or encoder.")],
    name: Annotated[str, typer.Argument(help="Its spec, NAME[:LOCATION][?key=value].")],
    data: DataDir = "micro",
    include: Include = None,
    allow_outside: AllowOutside = False,
    as_json: Json = False,
) -> None:
    """Check every promise: exit 5 where one is not kept.

    A task: samples load, ids are unique and stable, images open, prompts are whole, true answers are never below a
    floor. An encoder: rows are finite, of length 1 and independent of the batch; digest and description are stable.
    """
    from harness import console, registry
    from harness.data import resolve
    from harness.errors import GateError, UsageError
    from harness.verbs.check import check_encoder, check_task

    registry.load(include or ())
    if kind not in ("task", "encoder"):
        raise UsageError(f"there is no check for '{kind}'; there is task and encoder")
    found = check_task(name, resolve(data, allow_outside)) if kind == "task" else check_encoder(name)
    console.print_json(found.json()) if as_json else console.show(found)
    if not found.passed:
        broken = ", ".join(one.promise for one in found.findings if not one.kept)
        raise GateError(f"{name} does not keep: {broken}")
