"""Numbers as they are said: minus zero is zero, in tables, in sentences, in pages, in LaTeX and in CSV."""

from __future__ import annotations

import ast
import csv
import io
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from harness.comparison import metric_table
from harness.result import plain
from harness.scoring import scored_json
from harness.shown import csv_cell

HARNESS = Path(__file__).parents[3] / "harness"
ROOMS = ("comparison", "export", "report", "scoring")
"""Where what may be negative is said; elsewhere numbers with a sign alone."""
FIXED = re.compile(r"([+ ]?)(z?)[,\d]*\.(?:\d|\x00)f")
TINY = st.floats(-0.06, 0.0, allow_subnormal=True)


def test_wherever_a_number_is_said_in_so_many_digits_minus_zero_is_zero():
    for path in sorted(HARNESS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FormattedValue) and isinstance(node.format_spec, ast.JoinedStr):
                parts = node.format_spec.values
                spec = "".join(str(one.value) if isinstance(one, ast.Constant) else "\x00" for one in parts)
                found = FIXED.fullmatch(spec)
                if found and (found[1] or path.relative_to(HARNESS).parts[0] in ROOMS):
                    assert found[2], f"{path}, line {node.lineno}: ':{spec}' says -0.0; ':z…' does not"


@given(TINY, TINY, TINY, st.integers(0, 3))
def test_no_cell_says_minus_zero(value, low, high, digits):
    gap = metric_table.Difference(value, min(low, value), max(high, value), 0.5)
    estimate = metric_table.Estimate(value, min(low, value), max(high, value), 10, 10)
    said = [metric_table.number(value, digits), metric_table.cell(estimate, digits), metric_table.gap(gap, digits)]
    said += [repr(one) for one in (scored_json._plain(value, digits), plain([-0.0, value])[0])]
    page = io.StringIO()
    csv.writer(page).writerow([csv_cell(-0.0), csv_cell(round(value, digits))])
    for one in [*said, page.getvalue()]:
        assert not re.search(r"-0\.?0*(?![\d.])", one), one
