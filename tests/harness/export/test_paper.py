"""What goes into a paper: tables that TeX sets as they are, figures of a column's width, every letter, no warnings."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path

import matplotlib
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure

from harness import registry
from harness.errors import UsageError
from harness.export import booktabs
from harness.export.paper import table_csv, write
from harness.report import plots, print_style
from harness.report.page import Material
from harness.store import Run, write_json
from harness.verbs.compare import CompareOptions
from harness.verbs.report import ReportOptions, material, report

MakeRun = Callable[..., Run]
PAPER = r"""\documentclass[10pt,twocolumn]{article}
\usepackage{times,booktabs,graphicx,amsmath}
\setlength{\textwidth}{6.875in}\setlength{\columnsep}{0.3125in}\setlength{\textheight}{9in}\setlength{\topmargin}{-0.5in}
\begin{document}
\input{table}
\small\input{comparison}
FIGURES
\end{document}
"""


@pytest.fixture(scope="module")
def runs(runs_in: Callable[[Path], MakeRun], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs, one of which has a name that TeX, and one that matplotlib's own font, cannot take as it is."""
    folder = tmp_path_factory.mktemp("paper")
    make_run = runs_in(folder)
    for name, sight, spec in (("a@1", 0.6, "base"), ("b@1", 2.5, "50%_{x}&#$~^\\y"), ("c@1", 1.0, "视觉模型 $a_b$")):
        run = make_run(name, sight=sight, tasks=("pope",))
        manifest = run.manifest()
        write_json(run.folder / "run.json", manifest | {"lvlm": {**(manifest.get("lvlm") or {}), "spec": spec}})
    return run.folder.parent


@pytest.fixture(scope="module")
def paper(runs: Path, world: Path) -> Path:
    out = runs.parent / "paper"
    assert list(write(made(runs, world), out, print_style.width_of("cvpr")))
    return out


def made(results: Path, world: Path, *metrics: str) -> Material:
    registry.load()
    asked = CompareOptions([["a@1", "b@1", "c@1"]], data=str(world), results=results)
    return material(asked, ReportOptions(metrics=metrics))


def test_tex_sets_tables_and_figures_as_they_are(paper: Path, tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex here: apt-get install texlive-latex-recommended")
    for name in ("table.tex", "comparison.tex"):  # pdflatex has no Chinese letters; the rest stands as written
        (tmp_path / name).write_text((paper / name).read_text(encoding="utf-8").replace("视觉模型", "model"))
    figures = [rf"\begin{{figure}}\includegraphics{{{path}}}\end{{figure}}" for path in sorted(paper.glob("*.pdf"))]
    (tmp_path / "paper.tex").write_text(PAPER.replace("FIGURES", "\n".join(figures)))
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"], cwd=tmp_path, capture_output=True
    )
    log = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, log[-2000:]
    too_wide = [float(points) for points in re.findall(r"Overfull \\hbox \((\d+\.\d+)pt too wide", log)]
    assert [points for points in too_wide if points > 0.5] == []
    assert "undefined" not in log.lower()


@pytest.mark.parametrize(
    ("told", "inches"), [("neurips", 5.5), ("acl", 7.7 / 2.54), ("cvpr", 3.28125), ("345", 345 / 72.27)]
)
def test_a_figure_is_as_wide_as_the_column(told: str, inches: float) -> None:
    drawn = plots.efficiency([(1.0, _Estimate()), (100.0, _Estimate())], "f1").file("pdf", print_style.width_of(told))
    (box,) = re.findall(rb"/MediaBox \[ *0 0 ([\d.]+) [\d.]+ *\]", drawn)
    assert float(box) == pytest.approx(72 * inches, abs=0.01)


class _Estimate:
    value, low, high = 50.0, 40.0, 60.0


@pytest.mark.parametrize("told", ["", "wide", "0", "-3", "nan", "1e9", "3in"])
def test_a_width_that_is_none_is_refused(told: str) -> None:
    with pytest.raises(UsageError, match="neurips, acl, cvpr, or points"):
        print_style.width_of(told)


def test_the_metrics_named_stand_in_their_order_one_row_a_model(runs: Path, world: Path) -> None:
    found = made(runs, world, "pope:accuracy", "f1", "pope:adversarial:f1")
    table = booktabs.of_all(found.found, found.named)
    rows = [line for line in table.splitlines() if line.endswith(r"\\")]
    assert [row.count("&") - row.count(r"\&") for row in rows[1:]] == [3] * 4
    heads = [cell.strip() for cell in rows[1].removesuffix(r"\\").split("&")[1:]]
    assert heads == [r"accuracy $\uparrow$", r"f1 $\uparrow$", r"adversarial f1 $\uparrow$"]
    assert "$^{*}$" in rows[3] and r"\textbf{" in rows[3], "a much better eye is better beyond chance"
    lines = list(csv.DictReader(table_csv(found).splitlines()))
    assert len(lines) == 2 * 3
    for line in lines:
        assert line["base_printed"] == f"{float(line['base_value']):.1f}"
        assert line["candidate_printed"] in table
    with pytest.raises(UsageError, match="--metrics f2: no such metric"):
        made(runs, world, "f2")


def test_more_metrics_than_fit_beside_each_other_stand_below_each_other(paper: Path) -> None:
    table = (paper / "table.tex").read_text(encoding="utf-8")
    rows = [line for line in table.splitlines() if line.endswith(r"\\")]
    assert {row.count("&") - row.count(r"\&") for row in rows} == {4}
    assert len(rows) > booktabs.MOST_COLUMNS


def test_paper_options_without_a_folder_are_refused(runs: Path, world: Path, tmp_path: Path) -> None:
    asked = CompareOptions([["a@1", "b@1"]], data=str(world), results=runs)
    with pytest.raises(UsageError, match="--export DIR"):
        report(asked, ReportOptions(out=tmp_path / "r.html", width="acl"))


@pytest.mark.parametrize("text", ["视觉模型", "модель", "🚗 दृष्टि", "plain"])
def test_letters_of_any_script_are_drawn_without_a_warning(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plots.efficiency([(1.0, _Estimate()), (100.0, _Estimate())], text).file("pdf").startswith(b"%PDF")


def test_a_font_that_has_the_letters_is_used_where_there_is_one(caplog: pytest.LogCaptureFixture) -> None:
    having = [font for font in font_manager.fontManager.ttflist if "Fallback" in font.name or "CJK" in font.name]
    if not having:
        pytest.skip("no font here has Chinese letters: apt-get install fonts-droid-fallback")
    drawn = plots.efficiency([(1.0, _Estimate()), (100.0, _Estimate())], "视觉").file("pdf")
    assert re.search(rb"/FontName /\S*(CJK|Fallback)", drawn)

    def bold() -> bytes:
        figure, kept = Figure(), io.BytesIO()
        figure.text(0, 0, "视觉", weight="bold")
        figure.savefig(kept, format="pdf")
        return kept.getvalue()

    assert re.search(rb"/FontName /\S*(CJK|Fallback)", print_style.with_every_letter(bold))
    assert not caplog.records, "such a font has no bold face, often"


def test_warnings_of_another_kind_go_on_their_way() -> None:
    def draw() -> bytes:
        warnings.warn("something else", UserWarning, stacklevel=1)
        return b""

    with pytest.warns(UserWarning, match="something else"):
        print_style.with_every_letter(draw)


def test_sides_are_told_apart_by_mark_as_well_as_by_colour() -> None:
    okabe_ito = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#000000"}
    assert set(plots.SERIES) <= okabe_ito
    assert len({(plots.colour(i), plots.mark(i)) for i in range(6)}) == len({plots.mark(i) for i in range(6)}) == 6
    assert matplotlib.colors.is_color_like(plots.SERIES[0])
