"""What the comparing commands print: comparisons, published arithmetic, attribution, effects, object classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from harness.comparison import answer_sets, groups, over_seeds
from harness.comparison.compare import Comparison, MetricChange, OneTask
from harness.comparison.groups import Group
from harness.comparison.metric_table import cell, gap, number
from harness.console import out, print_json
from harness.errors import GateError, UsageError

ARROW = {"higher": " ↑", "lower": " ↓", "neither": ""}


@dataclass(frozen=True)
class Asked:
    """What was asked to be compared: the words of each side, and how seeds are to be read."""

    arms: Sequence[Sequence[str]]
    by_seed: bool = False
    seeds: str = "auto"


def opened(asked: Asked, results: Path, task: str, data: str) -> list[Comparison]:
    """The first side compared with each other one: runs, files of answers, or runs of several seeds together."""
    from harness.data import resolve

    if asked.seeds not in over_seeds.WAYS:
        raise UsageError(f"--seeds {asked.seeds}: there is {', '.join(over_seeds.WAYS)}")
    names = [name for words in asked.arms for name in words]
    found = grouped(asked, results)
    if found is not None:
        tasks = answer_sets.tasks_of([side for one in found for side in one.sides], task)
        return [over_seeds.compared(found[0], other, tasks, asked.seeds) for other in found[1:]]
    if len(names) < 2:
        raise UsageError("compare takes a base and at least one more: runs by id or encoder, or files of answers")
    where = resolve(data) if any(Path(name).is_file() for name in names) else None
    every, kept = answer_sets.open_answer_sets(names, results, task, where)
    return [over_seeds.of_two(every[0], other, kept) for other in every[1:]]


def grouped(asked: Asked, results: Path) -> list[Group] | None:
    """The sides as groups of seeds, where they were asked for as such; None where runs stand against each other."""
    names = [name for words in asked.arms for name in words]
    if asked.by_seed:
        found = groups.around(names, results)
        if len(found) < 2:
            told = ", ".join(one.name for one in found) or "no finished run"
            raise UsageError(f"--by-seed: there is only {told} to compare; name runs of another way of training")
        return found
    if len(asked.arms) > 1:
        return groups.opened(asked.arms, results)
    if any(groups.find(results, name) for name in names):
        return groups.opened([[name] for name in names], results)
    return None


def gates(found: Sequence[Comparison], wanted: Sequence[str]) -> list[MetricChange]:
    """The lines that --fail-if-worse names; UsageError where it names none."""
    lines = [line for one in found for line in one.lines(full=True)]
    chosen = []
    for name in wanted:
        hits = [line for line in lines if _is_called(line, name)]
        if not hits:
            known = ", ".join(dict.fromkeys(line.metric for line in lines))
            raise UsageError(f"--fail-if-worse {name}: no such metric was compared; there is {known}")
        chosen += hits
    return chosen


def _is_called(line: MetricChange, name: str) -> bool:
    *where, metric = name.split(":")
    return metric == line.metric and all(part in (line.task, line.group, line.group.split("/")[-1]) for part in where)


def enforce(lines: Sequence[MetricChange]) -> None:
    """GateError where a line is worse than the base, and its interval leaves out 0."""
    worse = [line for line in lines if line.worse]
    if worse:
        told = ", ".join(
            f"{'/'.join(filter(None, (w.task, w.group)))} {w.metric} {gap(w.gap, w.digits)}" for w in worse
        )
        raise GateError(f"worse than the base: {told}")


def print_comparisons(found: Sequence[Comparison], results: Path, full: bool, as_json: bool) -> None:
    """Each comparison: its lines, its flips, what it is, and what is left of it under each control."""
    if as_json:
        print_json([as_plain(one, results, full) for one in found])
        return
    for one in found:
        out().print(f"{one.base.name}  →  {one.candidate.name}", style="bold")
        out().print(_lines(one, full))
        _print_about(one, full)
        for task in one.tasks:
            _print_task(task)
        if one.joint:
            out().print(
                f"Mean change of the tasks' headlines for the better, images drawn across tasks: {gap(one.joint, 1)}"
            )
        for name, table in controlled(one, results).items():
            out().print(_control_table(one, name, table))


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


def _print_about(one: Comparison, full: bool) -> None:
    """What of trainings the numbers speak, and what their intervals are made of."""
    for sentence in one.about:
        out().print(sentence, soft_wrap=True)
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
    out().print(table)


def _made_of(line: MetricChange) -> list[str]:
    found, d = line.figures, line.digits
    assert found and found.base and found.candidate
    seeds = [" · ".join(number(value, d) for value in one.seeds) for one in (found.base, found.candidate)]
    if found.undefined is not None:
        return [*seeds, "no value without one image", *[""] * 6]
    whole = found.se**2
    parts = (found.var_training, found.var_seeds - found.var_training, found.var_images)
    shares = [f"{100 * part / whole:.0f} %" if whole else "–" for part in parts]
    halves = (found.half_images_alone, found.half_one_more_seed, found.half_1000_more_images)
    return [*seeds, *shares, *(number(half, d) for half in (found.high - found.value, *halves))]


def p_value(p: float) -> str:
    """As printed: three digits, never 0."""
    return "–" if p != p else "<0.001" if p < 0.001 else f"{p:.3f}"


def _print_task(one: OneTask) -> None:
    left_out = f"; {one.unpaired} answered by one side only are left out" if one.unpaired else ""
    out().print(f"{one.task.name}: {one.samples} samples on {one.images} images{left_out}", style="bold")
    tops = [group for group in one.readings if len(one.readings) == 1 or group.count("/") < 2]
    for group, reading in one.readings.items():
        if group in tops:
            style = "bold red" if reading.flagged else ""
            out().print(f"  {group or one.task.whole}: {reading.sentence()}", style=style)
    for floor, values in one.floor_lines():
        told = ", ".join(f"{(g.split('/')[-1] + ' ' + m).strip()} {number(v, d)}" for g, m, v, d in values)
        if told:
            out().print(f"  floor {floor}: {told}", style="dim")
    for group, flips in one.flips.items():
        if group.count("/") == 0:
            samples = f"{flips.fixed} put right, {flips.broken} broken (exact McNemar p {p_value(flips.p)}"
            images = f"images better {flips.images_better}, worse {flips.images_worse}, p {p_value(flips.p_images)})"
            out().print(f"  {group or one.task.whole}: {samples}; {images}")


def controlled(one: Comparison, results: Path) -> dict[str, list[tuple[MetricChange, Any, Any]]]:
    """By control that both sides were run under: each line with both sides' image-dependent part."""
    from harness.asking import controls

    runs = [side.run for side in (one.base, one.candidate)]
    if not runs[0] or not runs[1]:
        return {}
    kept = [controls.of(run, results) for run in runs if run]
    found: dict[str, list[tuple[MetricChange, Any, Any]]] = {}
    for name in (name for name in kept[0] if name in kept[1]):
        for task in one.tasks:
            parts = [controls.image_dependent(r, k[name], task.task) for r, k in zip(runs, kept, strict=True) if r]
            for line in task.short():
                at = (line.group, line.metric)
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


def plain(thing: Any) -> Any:
    """The same with every number that is none as null."""
    if isinstance(thing, dict):
        return {str(key): plain(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [plain(value) for value in thing]
    if isinstance(thing, float) and (thing != thing or thing in (float("inf"), float("-inf"))):
        return None
    return thing.item() if hasattr(thing, "item") else thing


PRINTED = ("accuracy", "recall of no", "recall of yes", "balanced accuracy", "d′", "criterion", "yes %")
PRINTED_DIGITS = (1, 1, 1, 1, 2, 2, 1)
PRINTED_NOTE = (
    "LLaVA-1.5 → with the tuned tower. By criterion, by d′: how the change of accuracy splits. "
    "bias: accuracy rises, balanced accuracy does not; criterion: both rise and d′ does not. "
    "Rounding to one decimal is allowed for; POPE is taken as half yes, half no."
)


def print_published(as_json: bool) -> None:
    """The bias reading of every published pair."""
    from harness.comparison import published_arithmetic

    found = [published_arithmetic.reading(*pair) for pair in published_arithmetic.pairs()]
    if as_json:
        print_json(plain(found))
        return
    title = f"Computed from the precision and recall printed in {published_arithmetic.PAPER}"
    table = Table(title=title, header_style="bold", caption=PRINTED_NOTE, title_justify="left", caption_justify="left")
    table.add_column("table")
    for name in (*PRINTED, "by criterion", "by d′", "reading"):
        table.add_column(name, justify="right")
    for row in found:
        values: Any = row["values"]
        pairs = zip((values[name] for name in published_arithmetic.SHOWN), PRINTED_DIGITS, strict=True)
        cells = [f"{before[0]:.{d}f} → {after[0]:.{d}f}" for (before, after), d in pairs]
        shares = [f"{row[key]:+.1f}" for key in ("by_criterion", "by_d_prime")]
        table.add_row(str(row["table"]), *cells, *shares, str(row["reading"]))
    out().print(table)
