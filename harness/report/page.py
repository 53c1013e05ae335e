"""Put a comparison, its figures and its pictures into one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from harness import durable
from harness.asking import available
from harness.comparison import metric_table, objects
from harness.comparison.compare import Comparison, Key, OneTask
from harness.comparison.significance import Flips
from harness.data import Data
from harness.errors import DataError, UsageError
from harness.report import gallery, plots
from harness.report.gallery import Card
from harness.report.plots import Plot
from harness.shown import plain
from harness.stats import Estimate
from harness.types import Task

LARGEST = 10_000_000
"""The most bytes a page may have."""
EACH = 16
"""Cards of each kind and task."""


@dataclass(frozen=True)
class Material:
    """What a report is made of: comparisons to one base, the tasks over their data, and points of a sweep."""

    found: Sequence[Comparison]
    data: Data | None
    tasks: Mapping[str, Task]
    sweep: Sequence[tuple[float, Estimate]] = ()
    sweep_metric: str = ""
    controls: Mapping[str, Mapping[str, Sequence[Any]]] = ()  # type: ignore[assignment]
    named: Sequence[Key] = ()
    """The metrics that the files for a paper show; each task's summary where none is named."""


def figures(material: Material) -> list[Plot]:
    """Every figure that this material has something for."""
    found = material.found
    drawn = [plots.intervals(found, material.named)] if any(one.lines() for one in found) else []
    if points := _points(found):
        drawn.append(plots.plane(points))
    for task in found[0].tasks:
        drawn += _of_beliefs(found, task)
        drawn += _of_margins(found, task)
    if by_side := _objects(material):
        drawn.append(plots.classes(by_side))
    if material.sweep:
        drawn.append(plots.efficiency(material.sweep, material.sweep_metric))
    return drawn


def _points(found: Sequence[Comparison]) -> dict[str, dict[str, tuple[float, float]]]:
    """Name → task and group → (false alarms, hits), for groups with questions of both answers."""
    points: dict[str, dict[str, tuple[float, float]]] = {}
    for one in found:
        for task in one.tasks:
            for group, totals in task.signal.items():
                if group not in task.tops():
                    continue
                for side, total in zip((one.base.name, one.candidate.name), totals, strict=True):
                    if total.get("yes") and total.get("no"):
                        alarms = 1 - total["right_no"] / total["no"]
                        hits = total["right_yes"] / total["yes"]
                        called = f"{task.task.name} {group.split('/')[-1]}".strip()
                        points.setdefault(side, {})[called] = (alarms, hits)
    return points


def _of_beliefs(found: Sequence[Comparison], task: OneTask) -> list[Plot]:
    sides: dict[str, Any] = {}
    for one in found:
        for other in one.tasks:
            if other.task.name == task.task.name and other.beliefs:
                sides |= dict(zip((one.base.name, one.candidate.name), other.beliefs, strict=True))
    return [plots.calibration(sides, task.task.name)] if sides else []


def _of_margins(found: Sequence[Comparison], task: OneTask) -> list[Plot]:
    name = task.task.name
    sides = {}
    for side in (found[0].base, *(one.candidate for one in found)):
        values = [r.counts["margin"] for r in side.records.get(name, []) if r.scored and "margin" in r.counts]
        if values:
            sides[side.name] = values
    return [plots.margins(sides, name)] if sides else []


def _objects(material: Material) -> dict[str, objects.Objects]:
    """The object classes of each side, where its questions ask about objects and the data is at hand."""
    if material.data is None:
        return {}
    sides = (material.found[0].base, *(one.candidate for one in material.found))
    by_side = {}
    for side in sides:
        try:
            if side.run:
                by_side[side.name] = objects.of_run(side.run, material.data)
        except (UsageError, DataError):  # no question of presence among these tasks, or its files are elsewhere
            return {}
    return by_side if any(c.claimed for one in by_side.values() for c in one.classes) else {}


def html(material: Material) -> str:
    """The page; UsageError where it would be too large."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    environment.filters |= {
        "cell": metric_table.cell,
        "gap": metric_table.gap,
        "number": metric_table.number,
        "p": p_value,
        "called": plots.called,
    }
    folder = resources.files("harness.report")
    read = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.html", "page.css", "page.js")}
    fence = material.data.fence if material.data else None
    cards = gallery.mixed(
        [card for one in material.found for card in gallery.cards(one, material.tasks, EACH, fence=fence)]
    )
    text = environment.from_string(read["page.html"]).render(
        css=read["page.css"],
        js=read["page.js"],
        found=material.found,
        base=material.found[0].base,
        worlds=_worlds(material),
        plots=[(plot, plot.svg()) for plot in figures(material)],
        cards=cards,
        choices=_choices(cards),
        controls=material.controls or {},
        flips=[(one.candidate.name, list(_flips(one))) for one in material.found],
        identity=[
            (s.name, _identity(s.manifest)) for s in (material.found[0].base, *(o.candidate for o in material.found))
        ],
    )
    if len(text.encode("utf-8")) > LARGEST:
        raise UsageError(f"the page would have {len(text):,} bytes, at most {LARGEST:,}; name fewer runs or a --task")
    return text


def _shown(value: Any) -> Any:
    """What an expression of the page gives, without control characters where it is somebody's text."""
    return plain(value) if type(value) is str else value


def p_value(p: float) -> str:
    """As printed: three digits, never 0."""
    return "–" if p != p else "<0.001" if p < 0.001 else f"{p:z.3f}"


def _worlds(material: Material) -> set[str]:
    sides = (material.found[0].base, *(one.candidate for one in material.found))
    return {str(side.manifest.get("world", "")) for side in sides}


def _flips(one: Comparison) -> list[tuple[str, Flips]]:
    return [
        (f"{task.task.name} {group.split('/')[-1] or task.task.whole}", flips)
        for task in one.tasks
        for group, flips in task.flips.items()
        if group.count("/") == 0
    ]


def _choices(cards: Sequence[Card]) -> dict[str, list[str]]:
    """What the gallery can be filtered by."""
    return {
        "task": list(dict.fromkeys(card.task for card in cards)),
        "group": list(dict.fromkeys(card.group for card in cards if card.group)),
        "kind": list(dict.fromkeys(card.kind for card in cards)),
    }


def _identity(manifest: Mapping[str, Any]) -> dict[str, str]:
    """What identifies a run, for the foot of the page."""
    found = {"run": str(manifest.get("id", manifest.get("answers", "")))}
    for part in ("encoder", "lvlm"):
        if manifest.get(part):
            found[part] = str(manifest[part]["spec"])
    for key in ("data", "control", "limit", "created"):
        if manifest.get(key):
            found[key] = str(manifest[key])
    if parts := available.marks(manifest):
        found["part"] = "; ".join(parts)
    if commit := (manifest.get("git") or {}).get("commit"):
        found["commit"] = commit[:12] + (" (with changes)" if manifest["git"].get("dirty") else "")
    digests = (manifest.get("lvlm") or {}).get("digests", {})
    return found | {f"{part} digest": str(value)[:16] for part, value in digests.items()}


def write(material: Material, out: Path) -> None:
    """Write the page."""
    text = html(material)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        durable.output(out, text)
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}") from error
