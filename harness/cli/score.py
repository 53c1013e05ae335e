"""``ohd-bench score`` and ``ohd-bench data synonyms``: answers from any tool, without a model."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

DataFolder = Annotated[str, typer.Option("--data", "-d", help="The data folder, or micro.", envvar="OHD_BENCH_DATA")]


def register(app: typer.Typer) -> None:
    """Add ``score``."""
    app.command()(score)


def register_data(data: typer.Typer) -> None:
    """Add ``data synonyms``."""
    data.command()(synonyms)


def score(
    task: Annotated[str, typer.Argument(help="amber, pope, chair, dash-b, with options: pope?source=flickr")],
    files: Annotated[
        list[str],
        typer.Argument(help="Answers, compared with the first; NAME=A+B joins one model's files."),
    ],
    data: DataFolder = "micro",
    rules: Annotated[
        str, typer.Option(help="official: as the papers count. strict: without its accidents.")
    ] = "official",
    synonyms: Annotated[str, typer.Option(help="AMBER's word pairs: md-3.7.1, certain, none, or a file.")] = "",
    labels: Annotated[str, typer.Option(help="POPE's labels: pope, or repope, corrected ones.")] = "",
    reference: Annotated[str, typer.Option(help="The published model to stand beside.")] = "",
    field: Annotated[str, typer.Option(help="The field that holds the answers, where several could.")] = "",
    csv: Annotated[Path | None, typer.Option("--csv", help="Write every value to this CSV file.")] = None,
    tex: Annotated[Path | None, typer.Option("--tex", help="Write the table to this LaTeX file (booktabs).")] = None,
    repeats: Annotated[bool, typer.Option("--repeats", help="Count a question each time it is answered.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Score answers that any tool has written, as the official scripts do.

    Reads AMBER's JSON, POPE's and LLaVA's lines, CHAIR's captions, our records, lmms-eval's samples, VLMEvalKit's
    tables, CSV and TSV; which it is, and which field holds the answers, the content tells.
    """
    from harness import durable, registry
    from harness.console import print_json, say, show
    from harness.scoring import scoreboard, scored_table

    registry.load()
    asked = {"reference": reference, "repeats": repeats, "field": field}
    board = scoreboard.board(task, files, data, rules, {"synonyms": synonyms, "labels": labels}, asked)
    for remark in board.remarks():
        say(remark)
    for path, text in ((csv, scored_table.as_csv), (tex, scored_table.as_tex)):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            durable.output(path, text(board.json()))
    if as_json:
        print_json(board.json())
    else:
        show(board)


def synonyms(
    model: Annotated[str, typer.Option(help="An installed spaCy model with word vectors, e.g. en_core_web_lg.")],
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("synonyms.json"),
    data: DataFolder = "micro",
) -> None:
    """Build AMBER's table of synonyms from a spaCy model's vectors."""
    from harness.console import tell
    from harness.data import resolve
    from harness.words import similar

    table = similar.table(model, resolve(data).root / "amber" / "relation.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    similar.write(table, out)
    tell(f"{len(table['pairs'])} pairs of {table['name']} in {out}")
    tell(f"now: ohd-bench score amber FILE --synonyms {shlex.quote(str(out))}")
