"""Tables in narrow terminals: no number is ever cut, whatever the table and the width."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.table import Table
from typer.testing import CliRunner

from harness import console
from harness.cli import build
from harness.words_only import WordsOnly

NUMBER = re.compile(r"[+-]?\d+\.\d+")


def drawn(table: Table, width: int) -> list[str]:
    page = StringIO()
    WordsOnly(file=page, width=width, highlight=False, markup=False, emoji=False).print(table)
    return [line.rstrip() for line in page.getvalue().splitlines()]


def comparison() -> Table:
    table = Table(caption="95 % intervals by resampling images")
    for name in ("task", "group", "metric"):
        table.add_column(name)
    for name in ("base", "candidate", "Δ", "p"):
        table.add_column(name, justify="right")
    table.add_row(
        "amber", "generative", "CHAIR ↓", "7.2 [5.0, 9.7]", "13.8 [10.6, 17.2]", "+6.6 [+3.4, +9.9]*", "0.002"
    )
    table.add_row("amber", "all", "AMBER ↑", "86.2 [84.8, 87.6]", "83.2 [81.2, 85.0]", "-3.0 [-5.0, -1.3]*", "0.016")
    table.add_row("pope", "random", "f1 ↑", "80.2 [78.7, 81.6]", "79.7 [78.3, 81.3]", "–", "–")
    return table


def test_a_wide_terminal_shows_the_table() -> None:
    lines = drawn(comparison(), 160)
    assert (
        "│ amber │ generative │ CHAIR ↓ │    7.2 [5.0, 9.7] │ 13.8 [10.6, 17.2] │ +6.6 [+3.4, +9.9]* │ 0.002 │" in lines
    )


@pytest.mark.parametrize("width", [80, 100])
def test_a_narrow_one_shows_a_block_a_task_with_intervals_on_their_own_lines(width: int) -> None:
    lines = drawn(comparison(), width)
    assert [line for line in lines if line in ("amber", "pope")] == ["amber", "pope"]
    first = next(i for i, line in enumerate(lines) if line.startswith("  generative"))
    assert lines[first : first + 2] == [
        "  generative            7.2          13.8            +6.6   0.002",
        "  CHAIR ↓        [5.0, 9.7]  [10.6, 17.2]   [+3.4, +9.9]*",
    ] or [line.split() for line in lines[first : first + 2]] == [
        ["generative", "7.2", "13.8", "+6.6", "0.002"],
        ["CHAIR", "↓", "[5.0,", "9.7]", "[10.6,", "17.2]", "[+3.4,", "+9.9]*"],
    ]  # fmt: skip


def test_a_narrower_one_names_each_row_above_its_values() -> None:
    assert drawn(comparison(), 52)[:8] == [
        "amber",
        "          base     candidate              Δ      p",
        "  generative · CHAIR ↓",
        "           7.2          13.8           +6.6  0.002",
        "    [5.0, 9.7]  [10.6, 17.2]  [+3.4, +9.9]*",
        "  all · AMBER ↑",
        "          86.2          83.2           -3.0  0.016",
        "  [84.8, 87.6]  [81.2, 85.0]  [-5.0, -1.3]*",
    ]


def test_a_very_narrow_one_shows_the_values_below_one_another() -> None:
    assert drawn(comparison(), 44)[:8] == [
        "amber",
        "  generative · CHAIR ↓",
        "    base      7.2",
        "              [5.0, 9.7]",
        "    candidate 13.8",
        "              [10.6, 17.2]",
        "    Δ         +6.6",
        "              [+3.4, +9.9]*",
    ]


numbers = st.floats(-200, 200).map(lambda value: f"{value:+.2f} [{value - 1:.2f}, {value + 1:.2f}]*")
heads = st.text("abcdefgh +-", min_size=1, max_size=50).filter(lambda text: text.strip() != "")


@settings(max_examples=80, deadline=None)
@given(st.data(), st.lists(heads, min_size=1, max_size=6), st.sampled_from((60, 80, 100, 160)))
def test_no_number_is_cut_whatever_the_table(data: st.DataObject, names: list[str], width: int) -> None:
    table = Table()
    for head in ("task", "group"):
        table.add_column(head)
    for name in names:
        table.add_column(name, justify="right")
    rows = data.draw(st.lists(st.tuples(*[numbers] * len(names)), min_size=1, max_size=3))
    for row in rows:
        table.add_row("amber", "discriminative/attribute", *row)
    lines = drawn(table, width)
    assert all(cell_len(line) <= width for line in lines)
    found = [number for line in lines for number in NUMBER.findall(line)]
    assert sorted(found) == sorted(number for row in rows for cell in row for number in NUMBER.findall(cell))


@pytest.mark.parametrize("columns", ["80", "100", "160", ""])
def test_compare_shows_every_number_at_every_width(make_run, tmp_path: Path, monkeypatch, columns: str) -> None:  # type: ignore[no-untyped-def]
    runs = [make_run("eye-one@1", tasks=("pope",)), make_run("eye-two@1", tasks=("pope",), sight=2.0)]
    words = ["compare", *(run.id for run in runs), "--results", str(tmp_path / "results"), "--task", "pope"]
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("COLUMNS", raising=False)
    wide = CliRunner().invoke(build(), words).output
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    shown = CliRunner().invoke(build(), words).output
    assert "\x1b" not in shown and "…" not in shown
    assert sorted(NUMBER.findall(shown)) == sorted(NUMBER.findall(wide))


def test_the_command_to_go_on_with_is_never_broken(monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("COLUMNS", "80")
    line = "now: ohd-bench compare " + " ".join(f"clip-openai-clip-vit-large-patch14@amber-{n}" for n in range(4))
    console.say(line)
    assert capsys.readouterr().err.splitlines() == [line]
