"""What ``score`` shows: the official numbers, and beside them the strict ones, the readings, floors and references."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import yes_no
from harness.data import resolve
from harness.errors import UsageError
from harness.result import Result
from harness.scoring import published, scored_json
from harness.scoring import score as scoring
from harness.scoring.score import Scored
from harness.types import Task

READ_GROUPS = ("discriminative", "random", "popular", "adversarial", "pooled")
"""The groups whose readings are printed; --json holds them all."""
READ_METRICS = ("accuracy", "f1", "yes_ratio", "unread")
LABEL_METRICS = ("accuracy", "precision", "recall", "f1")
WORDS = ("model", "group", "metric", "source")
"""Columns of words; all others are of numbers."""


@dataclass(frozen=True)
class Board(Result):
    """The scored files of one command; the first is what the others are compared with."""

    scored: Sequence[Scored]
    strict: Sequence[Scored | None]
    references: Sequence[str]
    world: str
    told: Sequence[str] = ()

    def remarks(self) -> Iterator[str]:
        """What a reader of the numbers has to know."""
        yield from self.told
        for one in self.scored:
            yield from one.remarks
            yield from _counted(one)
        for one in self.scored[1:]:
            yield from _shared(self.scored[0], one)

    def content(self) -> dict[str, Any]:
        """One object for one file; for several, each one's and the differences to the first."""
        each = [self._json(i) for i in range(len(self.scored))]
        if len(each) == 1:
            return each[0]
        gaps = [scored_json.compared(self.scored[0], one) for one in self.scored[1:]]
        return {"files": each, "comparison": gaps}

    def _json(self, i: int) -> dict[str, Any]:
        made = scored_json.as_json(self.scored[i], self.strict[i], self.references[i])
        if self.world == "micro":  # published numbers are about real images
            made["reference"] = []
        return made

    def rows(self) -> list[dict[str, Any]]:
        """A row for each file, group and metric: the value by these rules, and its interval."""
        return [
            {
                "file": made["file"], "task": made["task"], "rules": made["rules"], "group": group, "metric": metric,
                "value": value, "low": spreads[group][metric][0], "high": spreads[group][metric][1],
            }
            for made in map(self._json, range(len(self.scored)))
            for values, spreads in ((made["metrics"], made["intervals"]), (made["whole"], made["whole_intervals"]))
            for group, metrics in values.items()
            for metric, value in metrics.items()
        ]  # fmt: skip

    def parts(self) -> Iterator[Any]:
        """The same as tables, in the order in which they are read."""
        for i in range(len(self.scored)):
            made = self._json(i)
            yield from _titled(_headline(made))
            for table in _optional(made):
                yield from _titled(table)
        for one in self.scored[1:]:
            yield from _titled(_difference(self.scored[0], one))


def _counted(one: Scored) -> Iterator[str]:
    """How many questions are answered, and how many answers are about others."""
    if one.missing:
        asked = len(one.samples)
        yield (
            f"{one.path}: {asked - one.missing} of {asked} questions are answered; {one.missing} are missing, and "
            "count nowhere: official denominators cover what was answered"
        )
    if one.failed:
        yield f"{one.path}: {one.failed} answers are recorded as failed; they are not scored"
    if one.off_list:
        yield f"{one.path}: {one.off_list} answers are about images off the task's list; not comparable with it"


def _shared(base: Scored, other: Scored) -> Iterator[str]:
    """On which questions two are compared, where these are not all of both."""
    made = [{record.id for record in one.records} for one in (base, other)]
    both = len(made[0] & made[1])
    if not both:
        yield (
            f"{base.path} and {other.path} answer no question in common, and are not compared; NAME=A+B joins the "
            "files of one model"
        )
    elif made[0] != made[1]:
        yield (
            f"{other.path} minus {base.path}: on the {both} questions that both answered; {base.path} answered "
            f"{len(made[0])}, {other.path} {len(made[1])}"
        )


def board(
    task: str,
    files: Sequence[str | Path],
    data: str,
    rules: str,
    options: Mapping[str, str],
    asked: Mapping[str, Any],
) -> Board:
    """Every model's answers scored by these rules, and, under the official ones, by the strict ones beside them.

    Each of ``files`` is a path, or ``NAME=A+B+C`` for one model's answers in several files. ``asked`` may hold
    ``reference`` (a published model's name), ``repeats`` (count repeated questions) and ``field`` (what holds answers).
    """
    where = resolve(data)
    chosen = scoring.make_task(task, where.root, rules, **options)
    scored, told = _models(chosen, files, bool(asked.get("repeats")), str(asked.get("field") or ""))
    has_strict = rules == "official" and getattr(chosen, "positive", None) is not None
    strict = scoring.make_task(task, where.root, "strict", **options) if has_strict else None
    name = str(asked.get("reference") or "")
    return Board(
        scored,
        [scoring.again(one, strict) if strict else None for one in scored],
        [name or published.named_in(chosen.spec, one.path.name) for one in scored],
        where.name,
        told,
    )


def _models(task: Task, files: Sequence[str | Path], repeats: bool, field: str) -> tuple[list[Scored], list[str]]:
    """Each model's answers counted, and what has to be said of which files are one model's."""
    scored = []
    for name, paths in (_parts(str(one)) for one in files):
        parts = [scoring.score(task, path, repeats, field) for path in paths]
        scored.append(scoring.joined(name, parts, repeats) if name else parts[0])
    if len(scored) < 2 or not _are_parts(scored):
        return scored, []
    remark = f"{', '.join(map(str, files))}: taken for one model, as each answers another sampling (NAME=A+B+C says so)"
    return [scoring.joined(_common_name(scored), scored)], [remark]


def _parts(text: str) -> tuple[str, list[Path]]:
    """The name and the files of one model: ``NAME=A+B+C``; or no name and the file that is called so.

    UsageError where no such file is there and a part has no name.
    """
    name, equals, files = text.partition("=")
    if Path(text).exists() or not equals:
        return "", [Path(text)]
    parts = files.split("+")
    if not all((name, *parts)):
        raise UsageError(f"there is no file '{text}', and as NAME=A+B+C it lacks a name or a file")
    return name, [Path(file) for file in parts]


def _are_parts(scored: Sequence[Scored]) -> bool:
    """Whether each of these answers a sampling of its own, as POPE's three files of one model do."""
    if not getattr(scored[0].task, "means", None):
        return False
    groups = [{sample.group for sample in one.asked} for one in scored]
    return all(len(one) == 1 for one in groups) and len(set.union(*groups)) == len(groups)


def _common_name(scored: Sequence[Scored]) -> str:
    """What the names of these files have in common, or else all of them."""
    stems = [one.path.stem for one in scored]
    alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*stems, strict=False))
    return "".join(letters[0] for letters in alike).rstrip("-_. ") or "+".join(stems)


def _table(title: str, columns: Sequence[str]) -> Any:
    from rich.table import Table

    table = Table(title=title, header_style="bold")
    for name in columns:
        table.add_column(name, justify="left" if name in WORDS else "right")
    return table


def _titled(table: Any) -> Iterator[Any]:
    """The title as a line of its own: in the table it wraps at the table's width."""
    from rich.text import Text

    title, table.title = table.title, None
    yield Text(title, style="bold")
    yield table


def _headline(made: Mapping[str, Any]) -> Any:
    """Group by metric: the value, its interval, and the strict value where there is one."""
    metrics, intervals, strict = made["metrics"], made["intervals"], made["strict"] or {}
    words = f", synonyms {made['synonyms']}" if made["synonyms"] else ""
    many = f"{made['n_scored']} of {made['n_expected']}"
    title = f"{made['task']}: {made['file']} ({made['format']}), rules {made['rules']}{words}, {many}"
    table = _table(title, ["group", "metric", made["rules"], "95 % interval", *(["strict"] if strict else [])])
    alone = {group: values for group, values in made["whole"].items() if group not in metrics}
    for part, spreads in ((metrics, intervals), (alone, made["whole_intervals"])):
        for group, values in part.items():
            if not made["n"].get(group, 1):  # the official script prints a value for a group without answers
                continue
            for metric, value in values.items():
                low, high = spreads[group][metric]
                beside = [_number(strict.get(group, {}).get(metric), 1)] if strict else []
                spread = "" if low is None else f"{low:z.1f} to {high:z.1f}"
                table.add_row(group, metric, _number(value), spread, *beside)
            table.add_section()
    return table


def _number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:z.{digits}f}"


def _optional(made: Mapping[str, Any]) -> Iterator[Any]:
    if made["published_labels"]:
        yield _by_group("the same answers by the labels as published, none left out", _main(made["published_labels"]))
    if made["signal"]:
        yield _by_group("signal: discrimination and bias (unread answers count as wrong)", made["signal"])
    if made["readings"]:
        yield _readings(made["readings"])
    if any(made["floors"].values()):
        yield _floors(made["floors"])
    if made["reference"]:
        yield _reference(made["reference"])


def _main(groups: Mapping[str, Mapping[str, float | None]]) -> dict[str, dict[str, float | None]]:
    """The metrics that papers quote."""
    return {group: {k: v for k, v in values.items() if k in LABEL_METRICS} for group, values in groups.items()}


def _floors(floors: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> Any:
    """What answers that need no picture score on the same questions."""
    pairs = [(name, metric) for name in floors for metric in ("accuracy", "f1")]
    table = _table("floors: the same questions, answered without a picture", ["group", *map(" ".join, pairs)])
    for group in dict.fromkeys(group for groups in floors.values() for group in groups):
        table.add_row(group, *(_number(floors[name].get(group, {}).get(metric)) for name, metric in pairs))
    return table


def _by_group(title: str, groups: Mapping[str, Mapping[str, float | None]]) -> Any:
    names = list(dict.fromkeys(name for values in groups.values() for name in values))
    table = _table(title, ["group", *names])
    for group, values in groups.items():
        digits = {name: yes_no.SIGNAL[name].digits if name in yes_no.SIGNAL else 1 for name in names}
        table.add_row(group, *(_number(values.get(name), digits[name]) for name in names))
    return table


def _readings(readings: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> Any:
    """The same answers as each tool reads them, and how far apart that puts them."""
    table = _table("the same answers, read in each named way", ["group", "metric", *readings, "spread"])
    groups = dict.fromkeys(group for values in readings.values() for group in values)
    for group in (group for group in READ_GROUPS if group in groups):
        for metric in READ_METRICS:
            row = [readings[name].get(group, {}).get(metric) for name in readings]
            there = [value for value in row if value is not None]
            spread = max(there) - min(there) if there else None
            table.add_row(group, metric, *map(_number, row), _number(spread))
        table.add_section()
    return table


def _reference(rows: Sequence[Mapping[str, Any]]) -> Any:
    table = _table("published", ["model", "group", "metric", "published", "here", "within our interval", "source"])
    for row in rows:
        within = {True: "yes", False: "no", None: "–"}[row["within"]]
        here = _number(row["ours"])
        table.add_row(row["model"], row["group"], row["metric"], _number(row["published"]), here, within, row["source"])
    return table


def _difference(base: Scored, other: Scored) -> Any:
    """Paired differences by image, with what a shift of bias looks like marked.

    Where the two answered other questions, both values on the common ones stand beside those of all each answered.
    """
    found = scored_json.compared(base, other)
    partly = found["n_only_base"] + found["n_only_candidate"] > 0
    values = ["base", "candidate", *(("base_common", "candidate_common") if partly else ())]
    heads = [name.replace("_common", f" on the {found['n_common']} common") for name in values]
    title = f"{other.path} (candidate) minus {base.path} (base), paired by image"
    table = _table(title, ["group", "metric", *heads, "difference", "95 %", "p"])
    for group, metrics in found["metrics"].items():
        for name, row in metrics.items():
            if row["value"] is not None and row["low"] is not None:
                spread = f"{row['low']:+z.1f} to {row['high']:+z.1f}"
                shown = [_number(row[value]) for value in values]
                table.add_row(group, name, *shown, f"{row['value']:+z.1f}", spread, f"{row['p']:z.4f}")
        if _is_bias(metrics):
            table.add_row(group, "accuracy moved, balanced accuracy did not: a shift of bias")
        table.add_section()
    return table


def _is_bias(metrics: Mapping[str, Mapping[str, float | None]]) -> bool:
    """Whether accuracy differs while discrimination, told by balanced accuracy, cannot be told to."""
    accuracy, balanced = metrics.get("accuracy"), metrics.get("balanced_accuracy")
    if not accuracy or not balanced or accuracy["p"] is None or balanced["p"] is None:
        return False
    return accuracy["p"] < 0.05 <= balanced["p"]
