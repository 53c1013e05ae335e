"""The tables that ``score`` prints: official numbers beside strict ones, readings, floors, references, differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness import yes_no
from harness.scoring import scored_json
from harness.scoring.scored import Scored

READ_GROUPS = ("discriminative", "random", "popular", "adversarial", "pooled")
"""The groups whose readings are printed; --json holds them all."""
READ_METRICS = ("accuracy", "f1", "yes_ratio", "unread")
LABEL_METRICS = ("accuracy", "precision", "recall", "f1")
WORDS = ("model", "group", "metric", "source")
"""Columns of words; all others are of numbers."""


def _table(title: str, columns: Sequence[str]) -> Any:
    from rich.table import Table

    table = Table(title=title, header_style="bold")
    for name in columns:
        table.add_column(name, justify="left" if name in WORDS else "right")
    return table


def titled(table: Any) -> Iterator[Any]:
    """The title as a line of its own: in the table it wraps at the table's width."""
    from rich.text import Text

    title, table.title = table.title, None
    yield Text(title, style="bold")
    yield table


def headline(made: Mapping[str, Any]) -> Any:
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


def beside(made: Mapping[str, Any]) -> Iterator[Any]:
    """What stands beside the official numbers, where there is any of it."""
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


def difference(base: Scored, other: Scored) -> Any:
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
