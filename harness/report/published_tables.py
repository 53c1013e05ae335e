"""The published numbers as Markdown tables, with their sources, and what printed precision and recall say of bias."""

from __future__ import annotations

from collections.abc import Sequence

from harness.comparison.published_arithmetic import Printed
from harness.report.markdown import table
from harness.scoring import published

AMBER_TRUTH = {"no": 9427, "yes": 4789}
"""How many of AMBER's 14,216 questions have which answer."""

Column = tuple[str, str]


def render() -> str:
    """Every packaged table: a row for each model, a column for each group and metric."""
    parts = ["## Published numbers\n\nQuoted from the sources named; not measured here.\n"]
    tables: dict[tuple[str, str], list[published.Published]] = {}
    for entry in published.entries():
        tables.setdefault((entry.task, entry.source), []).append(entry)
    for (task, source), entries in sorted(tables.items()):
        parts.append(f"### {task}: {source}\n\n{_table(entries)}{_notes(entries)}")
    return "\n".join(parts)


def _table(entries: Sequence[published.Published]) -> str:
    columns = list(
        dict.fromkeys((group, metric) for one in entries for group, metrics in one.values.items() for metric in metrics)
    )
    head = ["model", *(f"{group} {metric}" for group, metric in columns)]
    rows = [[one.model, *(_cell(one, column) for column in columns)] for one in entries]
    if any(_printed(one) for one in entries):
        head += ["recall of yes, computed", "balanced accuracy, computed"]
        for row, one in zip(rows, entries, strict=True):
            row += _bias(one)
    return table(head, rows)


def _cell(one: published.Published, column: Column) -> str:
    value = one.values.get(column[0], {}).get(column[1])
    return "–" if value is None else str(value)


def _printed(one: published.Published) -> Printed | None:
    """The row's precision and recall of "no", where it prints them for AMBER's questions."""
    values = one.values.get("discriminative", {})
    if one.task != "amber" or not {"precision", "recall"} <= set(values):
        return None
    return Printed(one.source, one.model, "no", values["precision"], values["recall"], **AMBER_TRUTH)


def _bias(one: published.Published) -> list[str]:
    """Recall of yes and balanced accuracy with the range that the printed rounding leaves open."""
    printed = _printed(one)
    if printed is None:
        return ["–", "–"]
    return [
        f"{value:z.1f} [{low:z.1f}, {high:z.1f}]"
        for value, low, high in (printed.value(metric) for metric in ("recall_yes", "balanced_accuracy"))
    ]


def _notes(entries: Sequence[published.Published]) -> str:
    notes = dict.fromkeys(one.note for one in entries if one.note)
    computed = (
        ['Computed columns follow from printed precision and recall of "no"; brackets are what rounding leaves open.']
        if any(_printed(one) for one in entries)
        else []
    )
    return "".join(f"\n{note[0].upper()}{note[1:]}\n" for note in [*notes, *computed])
