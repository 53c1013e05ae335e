"""What ``score`` found as a CSV file, a row a metric, and as a LaTeX table, a column a model."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

COLUMNS = (
    "file", "task", "rules", "group", "metric", "n", "value", "low", "high", "base", "n_common", "base_common",
    "common", "difference", "difference_low", "difference_high", "p",
)  # fmt: skip
_TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_csv(made: Mapping[str, Any]) -> str:
    """Every value of every file; from the second on, both values on the common questions and the difference."""
    kept = io.StringIO()
    writer = csv.writer(kept)
    writer.writerow(COLUMNS)
    for one, gap in _files(made):
        for group, metric, value in _values(one):
            low, high = {**one["intervals"], **_alone(one, "whole_intervals")}[group][metric]
            row = gap.get("metrics", {}).get(group, {}).get(metric, {})
            paired = [row.get(key) for key in ("base_common", "candidate_common", "value", "low", "high", "p")]
            about = [one["file"], one["task"], one["rules"], group, metric, one["n"].get(group, one["n_scored"])]
            base = [gap.get("base"), gap.get("n_common")]
            writer.writerow([_cell(cell) for cell in (*about, value, low, high, *base, *paired)])
    return kept.getvalue()


def as_tex(made: Mapping[str, Any]) -> str:
    """A booktabs table: each file's values; where several are compared, both on the common questions and the gap."""
    files = list(_files(made))
    gaps = [gap for _, gap in files if gap]
    notes = [
        f"% {_tex(gap['candidate'])} against {_tex(gap['base'])}: on the {gap['n_common']} questions both answered"
        for gap in gaps
    ]
    heads = ["group", "metric", *(_tex(one["file"]) for one, _ in files)]
    for gap in gaps:
        heads += [*(f"{_tex(gap[side])}, common" for side in ("base", "candidate")), r"$\Delta$ [95\,\%]"]
    lines = [
        "% needs booktabs",
        *notes,
        rf"\begin{{tabular}}{{ll{'r' * (len(heads) - 2)}}}",
        r"\toprule",
        " & ".join(heads) + r" \\",
        r"\midrule",
    ]
    for group, metric, _ in _values(files[0][0]):
        cells = [_tex(group), _tex(metric)]
        cells += [_number({(g, m): v for g, m, v in _values(one)}.get((group, metric))) for one, _ in files]
        cells += [cell for gap in gaps for cell in _gap(gap["metrics"].get(group, {}).get(metric))]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _files(made: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Each file's object with its comparison with the first, empty for the first."""
    files: Sequence[Mapping[str, Any]] = made.get("files", [made])
    yield from zip(files, [{}, *made.get("comparison", [])], strict=True)


def _alone(one: Mapping[str, Any], part: str) -> dict[str, Any]:
    """What is of the whole only, and of no group."""
    return {group: values for group, values in one[part].items() if group not in one["metrics"]}


def _values(one: Mapping[str, Any]) -> Iterator[tuple[str, str, float | None]]:
    for group, metrics in {**one["metrics"], **_alone(one, "whole")}.items():
        for metric, value in metrics.items():
            yield group, metric, value


def _cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _gap(row: Mapping[str, Any] | None) -> list[str]:
    if not row or row["value"] is None:
        return ["--", "--", "--"]
    spread = "" if row["low"] is None else f" $[{row['low']:+z.1f}, {row['high']:+z.1f}]$"
    return [_number(row["base_common"]), _number(row["candidate_common"]), f"${row['value']:+z.1f}${spread}"]


def _number(value: float | None) -> str:
    return "--" if value is None else f"{value:z.1f}"


def _tex(text: str) -> str:
    return "".join(_TEX.get(char, char) for char in text)
