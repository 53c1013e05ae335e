"""``ohd-bench data list | where | verify``: which data sets there are, where their files lie, and whether they do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.options import DataDir, Json

Names = Annotated[list[str] | None, typer.Argument(help="NAME[/PART][@VERSION], as `data list` shows them.")]


def register_data(data: typer.Typer) -> None:
    """Add the commands to ``data``."""
    data.command("list")(list_all)
    data.command()(where)
    data.command()(verify)


def list_all(as_json: Json = False) -> None:
    """Every data set that can be prepared: parts and versions, licence, source, and where its pictures come from."""
    from harness import console
    from harness.datasets.manifests import manifests

    rows: list[dict[str, Any]] = [
        {
            "name": one.name,
            "about": one.about,
            "parts": sorted({file.part for file in one.files} - {""}),
            "versions": sorted({one.version, *(file.version for file in one.files)} - {""}),
            "files": len(one.files),
            "licence": one.licence,
            "citation": one.citation,
            "source": one.source,
            "pictures": one.pictures,
        }
        for one in manifests().values()
    ]
    if as_json:
        console.print_json(rows)
        return
    _table(rows, ("name", "about", "parts", "versions", "licence", "citation", "source"))


def where(names: Names = None, data: DataDir = "data", as_json: Json = False) -> None:
    """Where each data set's files belong in a data folder, and whether they are there."""
    from harness import console
    from harness.datasets.checking import is_there
    from harness.datasets.manifests import chosen, manifests

    root = _root(data, must_exist=False)
    rows = [
        {"data set": one.text, "file": str(root / file.path), "there": is_there(file, root / file.path)}
        for one in map(chosen, names or manifests())
        for file in one.files
    ]
    if as_json:
        console.print_json(rows)
        return
    for row in rows:
        console.tell(f"{row['data set']}  {row['file']}{'' if row['there'] else '  (missing)'}")


def verify(
    names: Names = None,
    data: DataDir = "data",
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte and decode every picture again.")] = False,
    as_json: Json = False,
) -> None:
    """Is what lies there what is published? Fast by size and time, or --deep by digest; exit 3 where it is not.

    With no name: every data set of which a file is there.
    """
    from harness import console
    from harness.verbs import datasets

    told = datasets.verify(names or (), _root(data), deep)
    if as_json:
        console.print_json([one.json() for one in told])
    else:
        _table([one.json() for one in told], ("data set", "version", "files", "pictures", "state"))
    for one in told:
        for line in (*one.wrong, *one.remarks):
            console.say(f"{one.name}: {line}")
    raise typer.Exit(3 if any(one.wrong for one in told) else 0)


def prepare(names: Sequence[str], data: str, source: Path | None, link: bool, mirrors: Sequence[str]) -> None:
    """Put these data sets in place, say of each what licence it has, and end with 3 where something is not there."""
    from harness import console
    from harness.verbs import datasets

    failed = False
    root = _root(data, must_exist=False)
    for manifest, one in datasets.prepare(names, root, source, link=link, mirrors=mirrors):
        about = f"{manifest.licence}; {manifest.citation}; {manifest.source}"
        console.tell(
            f"{one.name}: {one.placed} files put into {root}, {one.there} were there, {one.pictures} pictures put "
            f"there ({about})"
        )
        for line in (*one.wrong, *one.remarks):
            console.say(f"{one.name}: {line}")
        failed = failed or bool(one.wrong)
    raise typer.Exit(3 if failed else 0)


def _root(data: str, must_exist: bool = True) -> Path:
    from harness.data import resolve

    return resolve(data).root.resolve() if must_exist or data == "micro" else Path(data).expanduser().resolve()


def _table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
    from rich.table import Table

    from harness.console import out

    table = Table(*columns)
    for row in rows:
        table.add_row(*(", ".join(row[key]) if isinstance(row[key], list) else str(row[key]) for key in columns))
    out().print(table)
