"""Comparisons as they are shown: every line, what it is made of, flips, readings, floors, and what controls leave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from harness.asking import controls
from harness.comparison.compare import Comparison, MetricChange, OneTask
from harness.comparison.metric_table import cell, gap, number, p_value
from harness.result import Result, plain

if TYPE_CHECKING:
    from rich.console import RenderableType

ARROW = {"higher": " ↑", "lower": " ↓", "neither": ""}


@dataclass(frozen=True)
class Comparisons(Result):
    """The base compared with each other side; ``full`` shows every metric of every group, not each task's summary."""

    found: Sequence[Comparison]
    results: Path
    full: bool = False

    def rows(self) -> list[dict[str, Any]]:
        """A row for each comparison, task, group and metric: both values, the difference, its interval and p."""
        return [
            {
                "base": one.base.name, "candidate": one.candidate.name, "task": line.task, "group": line.group or "all",
                "metric": line.metric, "base_value": _value(line.base), "candidate_value": _value(line.candidate),
                "difference": line.gap.value, "low": line.gap.low, "high": line.gap.high, "p": line.gap.p,
                "p_holm": line.adjusted, "detectable": line.detectable,
            }
            for one in self.found
            for line in one.lines(full=True)
        ]  # fmt: skip

    def content(self) -> Any:
        """Each comparison: its lines, the tasks' flips and readings, and what is left of it under each control."""
        return [as_plain(one, self.results, self.full) for one in self.found]

    def parts(self) -> Iterator[RenderableType]:
        """Each comparison: its lines, its flips, what it is, and what is left of it under each control."""
        for one in self.found:
            yield Text.assemble((one.base.name, "bold"), "  →  ", (one.candidate.name, "bold"))
            yield _lines(one, self.full)
            yield from _about(one, self.full)
            for task in one.tasks:
                yield from _task(task)
            if one.joint:
                told = gap(one.joint, 1)
                yield Text(f"Mean change of the tasks' headlines for the better, images drawn across tasks: {told}")
            for name, table in controlled(one, self.results).items():
                yield _control_table(one, name, table)


def _value(one: Any) -> float | None:
    return one.value if one else None


def _lines(one: Comparison, full: bool) -> Table:
    random_by = "trainings and images" if any(line.figures for line in one.lines(full)) else "resampling images"
    table = Table(header_style="bold", caption_justify="left", caption=(
        f"95 % intervals and p by {random_by}; p (Holm) allows for every line of this table; "
        "* leaves out 0; detectable: the smallest true difference found in 4 of 5 cases."
    ))  # fmt: skip
    for name in ("task", "group", "metric"):
        table.add_column(name)
    for name in ("base", "candidate", "Δ", "p", "p (Holm)", "detectable"):
        table.add_column(name, justify="right")
    last = ""
    for line in one.lines(full):
        if last and line.task != last:
            table.add_section()
        last = line.task
        d = line.digits
        table.add_row(
            line.task,
            line.group or "all",
            line.metric + ARROW[line.better],
            cell(line.base, d),
            cell(line.candidate, d),
            gap(line.gap, d),
            p_value(line.gap.p),
            p_value(line.adjusted),
            number(line.detectable, d),
        )
    return table


def _about(one: Comparison, full: bool) -> Iterator[RenderableType]:
    """What of trainings the numbers speak, and what their intervals are made of."""
    for sentence in one.about:
        yield Text(sentence)
    lines = [line for line in one.lines(full) if line.figures]
    if not lines:
        return
    table = Table(header_style="bold", caption_justify="left", title="By training", title_justify="left", caption=(
        "± half a 95 % interval. Of the variance: what trainings, the noise of their answers, and images make of it. "
        "Images alone: these very trainings on other images. Then: one more training a side; 1,000 more images."
    ))  # fmt: skip
    for name in ("task", "group", "metric"):
        table.add_column(name)
    heads = ("base, by seed", "candidate, by seed", "trainings", "answers", "images")
    for name in (*heads, "±", "± images alone", "± 1 seed more", "± 1,000 images more"):
        table.add_column(name, justify="right")
    for line in lines:
        table.add_row(line.task, line.group or "all", line.metric + ARROW[line.better], *_made_of(line))
    yield table


def _made_of(line: MetricChange) -> list[str]:
    found, d = line.figures, line.digits
    assert found and found.base and found.candidate
    seeds = [" · ".join(number(value, d) for value in one.seeds) for one in (found.base, found.candidate)]
    if found.undefined is not None:
        return [*seeds, "no value without one image", *[""] * 6]
    whole = found.se**2
    parts = (found.var_training, found.var_seeds - found.var_training, found.var_images)
    shares = [f"{100 * part / whole:z.0f} %" if whole else "–" for part in parts]
    halves = (found.half_images_alone, found.half_one_more_seed, found.half_1000_more_images)
    return [*seeds, *shares, *(number(half, d) for half in (found.high - found.value, *halves))]


def _task(one: OneTask) -> Iterator[RenderableType]:
    left_out = f"; {one.unpaired} that not all have answered are left out" if one.unpaired else ""
    yield Text.assemble((one.task.name, "bold"), f": {one.samples} samples on {one.images} images{left_out}")
    tops = [group for group in one.readings if len(one.readings) == 1 or group.count("/") < 2]
    for group, reading in one.readings.items():
        if group in tops:
            style = "bold red" if reading.flagged else ""
            yield Text(f"  {group or one.task.whole}: {reading.sentence()}", style=style)
    for floor, values in one.floor_lines():
        told = ", ".join(f"{(g.split('/')[-1] + ' ' + m).strip()} {number(v, d)}" for g, m, v, d in values)
        if told:
            yield Text(f"  floor {floor}: {told}", style="dim")
    for group, flips in one.flips.items():
        if group.count("/") == 0:
            samples = f"{flips.fixed} put right, {flips.broken} broken (exact McNemar p {p_value(flips.p)}"
            images = f"images better {flips.images_better}, worse {flips.images_worse}, p {p_value(flips.p_images)})"
            yield Text(f"  {group or one.task.whole}: {samples}; {images}")


def controlled(one: Comparison, results: Path) -> dict[str, list[tuple[MetricChange, Any, Any]]]:
    """By control that both sides were run under: each line with both sides' image-dependent part."""
    sides = [side for side in (one.base, one.candidate) if side.run]
    if len(sides) < 2:
        return {}
    kept = [controls.of(side.run, results) for side in sides if side.run]
    found: dict[str, list[tuple[MetricChange, Any, Any]]] = {}
    for name in (name for name in kept[0] if name in kept[1]):
        for task in one.tasks:
            lines = {(line.group, line.metric): line for line in task.short()}
            parts = [
                controls.image_dependent(
                    side.records[task.task.name], k[name].records(task.task.name, words=False), task.task, lines
                )
                for side, k in zip(sides, kept, strict=True)
            ]
            for at, line in lines.items():
                if at in parts[0] and at in parts[1]:
                    found.setdefault(name, []).append((line, parts[0][at], parts[1][at]))
    return found


def _control_table(one: Comparison, name: str, rows: Sequence[tuple[MetricChange, Any, Any]]) -> Table:
    table = Table(title=f"Control: {name}", header_style="bold", title_justify="left")
    for head in ("task", "group", "metric"):
        table.add_column(head)
    for head in ("base: control", "base: image-dependent", "candidate: control", "candidate: image-dependent"):
        table.add_column(head, justify="right")
    for line, first, second in rows:
        d = line.digits
        table.add_row(
            line.task,
            line.group or "all",
            line.metric + ARROW[line.better],
            cell(first.control, d),
            gap(first.part, d),
            cell(second.control, d),
            gap(second.part, d),
        )
    return table


def as_plain(one: Comparison, results: Path, full: bool) -> dict[str, Any]:
    """The comparison as plain data; what is not a number is null."""
    return plain(  # type: ignore[no-any-return]
        {
            "base": one.base.name,
            "candidate": one.candidate.name,
            "about": list(one.about),
            "lines": [asdict(line) | {"detectable": line.detectable} for line in one.lines(full)],
            "tasks": {task.task.name: _task_as_plain(task) for task in one.tasks},
            "joint": asdict(one.joint) if one.joint else None,
            "controls": {
                name: [_at(line) | {"base": asdict(a), "candidate": asdict(b)} for line, a, b in rows]
                for name, rows in controlled(one, results).items()
            },
        }
    )


def _at(line: MetricChange) -> dict[str, str]:
    return {"task": line.task, "group": line.group, "metric": line.metric}


def _task_as_plain(one: OneTask) -> dict[str, Any]:
    whole = one.task.whole
    return {
        "samples": one.samples,
        "images": one.images,
        "unpaired": one.unpaired,
        "floors": one.floors,
        "flips": {group or whole: asdict(flips) for group, flips in one.flips.items()},
        "readings": {
            group or whole: asdict(reading) | {"sentence": reading.sentence(), "flagged": reading.flagged}
            for group, reading in one.readings.items()
        },
    }
