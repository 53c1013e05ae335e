"""Options that several commands share, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.completion import kept_run, registered

COMPUTED, SHOWN = "How it is computed", "What is shown"
"""Panels of ``--help``; what stands in none says what is asked of what."""

Tasks = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        "-t",
        help="A task, NAME[?option=value]; repeat for more. Default: all these models can answer.",
        envvar="OHD_BENCH_TASK",
        autocompletion=registered("tasks"),
    ),
]
Encoders = Annotated[
    list[str] | None,
    typer.Option(
        "--encoder",
        "-e",
        help="An encoder, NAME[:LOCATION][?key=value]; repeat to compare, the first is the base.",
        envvar="OHD_BENCH_ENCODER",
        autocompletion=registered("encoders"),
    ),
]
Lvlm = Annotated[
    str,
    typer.Option(
        "--lvlm",
        "-l",
        help="The LVLM that carries each encoder's tower, NAME[:LOCATION][?key=value].",
        envvar="OHD_BENCH_LVLM",
        autocompletion=registered("lvlms"),
    ),
]
DataDir = Annotated[
    str,
    typer.Option("--data", help="'micro', or a folder with the benchmarks' official files.", envvar="OHD_BENCH_DATA"),
]
Results = Annotated[Path, typer.Option("--results", help="Where runs are kept.", envvar="OHD_BENCH_RESULTS")]
Include = Annotated[
    list[Path] | None, typer.Option("--include", help="A folder with more tasks or models.", envvar="OHD_BENCH_INCLUDE")
]
AllowOutside = Annotated[
    bool,
    typer.Option(
        "--allow-outside",
        help="Read images that the data names outside its folder: absolute, by '..' or through links.",
        envvar="OHD_BENCH_ALLOW_OUTSIDE",
    ),
]
Runs = Annotated[
    list[str] | None,
    typer.Argument(
        help="The base first: runs by id or encoder, or files of answers with --task.", autocompletion=kept_run
    ),
]
Task = Annotated[
    str,
    typer.Option(
        "--task",
        "-t",
        autocompletion=registered("tasks"),
        help="Only this task, NAME[?option=value]; needed for files of answers.",
    ),
]
SpecText = Annotated[
    str,
    typer.Argument(
        metavar="SPEC", autocompletion=registered("encoders"), help="An encoder, NAME[:LOCATION][?key=value]."
    ),
]
Device = Annotated[
    str,
    typer.Option(
        help="Where to compute.",
        metavar="auto|cpu|cuda|cuda:N|mps",
        envvar="OHD_BENCH_DEVICE",
        rich_help_panel=COMPUTED,
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        help="In what precision.",
        metavar="auto|float32|bfloat16|float16",
        envvar="OHD_BENCH_DTYPE",
        rich_help_panel=COMPUTED,
    ),
]
Ray = Annotated[
    str,
    typer.Option(
        help="Work in this Ray cluster, HOST:PORT or auto; a worker a GPU.",
        envvar="OHD_BENCH_RAY",
        rich_help_panel=COMPUTED,
    ),
]
Out = Annotated[Path, typer.Option(help="A folder that is not there yet, or is empty.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.", rich_help_panel=SHOWN)]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", help="Show tracebacks and library logs.", envvar="OHD_BENCH_VERBOSE", rich_help_panel=SHOWN
    ),
]
TrainedOut = Annotated[Path, typer.Option("--out", help="The folder to write; an interrupted training goes on in it.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", help="FIELD=VALUE of the recipe (docs/train.md); repeat for more.")
]
Estimate = Annotated[
    bool, typer.Option("--estimate", help="Do a little of it, say what all costs one process, and keep nothing.")
]
