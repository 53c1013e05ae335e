"""What ``score`` says of one file or several: each scored, set beside the first, and told as rows, JSON and tables."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data import resolve
from harness.errors import UsageError
from harness.result import Result
from harness.scoring import board_tables, published, scored_json
from harness.scoring import score as scoring
from harness.scoring.scored import Scored
from harness.types import Task


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
            yield from board_tables.titled(board_tables.headline(made))
            for table in board_tables.beside(made):
                yield from board_tables.titled(table)
        for one in self.scored[1:]:
            yield from board_tables.titled(board_tables.difference(self.scored[0], one))


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
