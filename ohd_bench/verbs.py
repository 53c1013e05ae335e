"""The verbs: what the commands do, called from Python. Each gives back a result with ``.table()`` and ``.json()``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.report.comparisons import Comparisons
    from harness.scoring.scoreboard import Board
    from harness.verbs.compare import CompareOptions
    from harness.verbs.leaderboard import Leaderboard
    from harness.verbs.report import Report
    from harness.verbs.run import Asked

Names = str | Path | Sequence[str | Path]


def run(encoder: str | Sequence[str] = (), lvlm: str = "", *, progress: bool = False, **options: Any) -> Asked:
    """Ask models every question of the chosen tasks, and keep every answer; the same call goes on where it stopped.

    ``encoder`` and ``lvlm`` are specs, ``NAME[:LOCATION][?key=value]``; several encoders are compared with the first.
    ``options`` are those of the command (``task``, ``data``, ``results``, ``limit``, ``control``, ``seed``, …: the
    fields of ``harness.asking.run_options.RunOptions``). With ``progress`` the bars and remarks go to stderr.

    Raises UsageError for what cannot be asked, DataError where files or images are missing, ModelError where a model
    does not load or fit. A sample that failed is no error: see ``complete`` and ``remarks()`` of what comes back.
    """
    from harness import console
    from harness.asking.run_options import RunOptions
    from harness.errors import UsageError
    from harness.verbs import run as verb

    options = {name: told for name, told in options.items() if told is not None}
    if encoder is not None and encoder != ():
        options["encoder"] = encoder
    for name, field in {"encoder": "encoders", "task": "tasks"}.items():
        if {name, field} <= set(options):
            raise UsageError(f"run is told {name} and {field}, which are one option; give one of the two")
        if name in options:
            options[field] = options.pop(name)
    asked = RunOptions.of(lvlm=lvlm, **options)
    return verb.run(asked, console if progress else console.Silent())


def score(task: str, files: Names, data: str | Path = "micro", **options: Any) -> Board:
    """Score answers that any tool has written, as the official scripts do, without a model.

    ``options``: ``rules`` (``official`` or ``strict``), ``synonyms`` (of AMBER), ``reference`` (a published model to
    stand beside), ``field`` (what holds the answers, where several fields could), ``repeats`` (count a question each
    time it is answered). ``files`` are paths, or ``NAME=A+B`` for one model's answers in several files.
    Raises DataError for a file that cannot be read as answers to this task, UsageError for an unknown task or option.
    """
    from harness import kinds, registry
    from harness.errors import UsageError
    from harness.scoring import scoreboard

    registry.load()
    rules, synonyms = str(options.pop("rules", "official")), str(options.pop("synonyms", ""))
    if unknown := set(options) - {"reference", "repeats", "field"}:
        raise UsageError(f"score has no option '{min(unknown)}'; it has rules, synonyms, reference, field, repeats")
    if not isinstance(task, str):
        raise kinds.refused("task", task, "a text")
    named = [file if isinstance(file, str) else kinds.path("files", file) for file in kinds.several("files", files)]
    return scoreboard.board(task, named, str(data), rules, {"synonyms": synonyms}, options)


def compare(*runs: str | Path | Sequence[str], **options: Any) -> Comparisons:
    """Say which differences are real, whether they are sight or bias, and what is left without the picture.

    ``runs``: the base first; kept runs by id or by encoder, files of answers (then with
    ``task``), or lists of runs that differ by seed alone.
    ``options``: ``task``, ``data``, ``results`` (the folder of runs), ``by_seed``, ``seeds``, ``full``, ``include``.
    Raises UsageError where they do not compare, with the reason.
    """
    from harness.verbs.compare import compare as verb

    full = bool(options.pop("full", False))
    return verb(_options("compare", runs, options, "full"), full)


def report(*runs: str | Path | Sequence[str], out: str | Path = "report.html", **options: Any) -> Report:
    """Write one HTML page that opens from disk: what changed, is it sight or bias, and the pictures behind it.

    ``options``: those of ``compare``, ``export`` (a folder for figures and tables) with ``metrics`` and ``width``
    (docs/report.md), ``sweep`` (PERCENT=RUN, …), ``allow_outside`` (the data may name images outside its folder).
    ``files`` of what comes back are the files written.
    """
    from harness import kinds
    from harness.verbs.report import ReportOptions
    from harness.verbs.report import report as write

    export = options.pop("export", None)
    made = ReportOptions(
        out=kinds.path("out", out),
        export=kinds.path("export", export) if export else None,
        sweep=kinds.several("sweep", options.pop("sweep", ())),
        metrics=kinds.several("metrics", options.pop("metrics", ())),
        width=str(options.pop("width", "")),
        allow_outside=bool(options.pop("allow_outside", False)),
    )
    return write(_options("report", runs, options, *ReportOptions.__dataclass_fields__), made)


def leaderboard(results: str | Path = "results", include: Iterable[str | Path] = (), **unknown: Any) -> Leaderboard:
    """The leaderboard of kept runs: ``markdown`` is the page, ``left_out`` names the runs that cannot be read.

    The page's links lead to the runs from beside ``results``.
    """
    from harness import kinds, registry
    from harness.errors import UsageError
    from harness.verbs.leaderboard import leaderboard as verb

    if unknown:
        raise UsageError(f"leaderboard has no option '{min(unknown)}'; it has results, include")
    registry.load(tuple(kinds.path("include", folder) for folder in kinds.several("include", include)))
    return verb(kinds.path("results", results))


def _options(
    verb: str, runs: Sequence[str | Path | Sequence[str]], options: dict[str, Any], *more: str
) -> CompareOptions:
    """The runs, each a text or for several seeds a list of them, with the options of ``compare``.

    UsageError for an option that the verb does not have, beside these and the ``more`` that are read.
    """
    from harness import kinds, registry
    from harness.errors import UsageError
    from harness.verbs.compare import CompareOptions

    include = kinds.several("include", options.pop("include", ()))
    registry.load(tuple(kinds.path("include", folder) for folder in include))
    known = ("by_seed", "seeds", "task", "data", "results")
    if unknown := set(options) - set(known):
        raise UsageError(f"{verb} has no option '{min(unknown)}'; it has {', '.join((*known, 'include', *more))}")
    if "results" in options:
        options["results"] = kinds.path("results", options["results"])
    if "data" in options:
        options["data"] = str(options["data"])
    sides = [[str(kinds.path("a run", name)) for name in kinds.several("a run", one)] for one in runs]
    several = any(len(side) > 1 for side in sides)
    return CompareOptions(sides if several else [[name for side in sides for name in side]], **options)
