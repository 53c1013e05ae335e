"""The leaderboard: sorted tables, what does not compare apart, and a page of fifty towers that sorts itself."""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest

from harness.report import plots
from harness.store import Run
from harness.verbs.leaderboard import leaderboard

MakeRun = Callable[..., Run]


def rows(page: str, title: str) -> list[list[str]]:
    section = page.partition(f"### {title}\n")[2].partition("\n### ")[0].partition("What needs no picture")[0]
    return [line.split(" | ") for line in section.splitlines() if line.startswith("| `")]


@pytest.fixture
def results(make_run: MakeRun, tmp_path: Path) -> Path:
    make_run("blind@1", tasks=("pope",), sight=0.2)
    make_run("keen@1", tasks=("pope",), sight=4.0)
    make_run("fair@1", tasks=("pope",), sight=1.5)
    make_run("keen@shuffled", tasks=("pope",), sight=4.0, control="shuffle-image")
    make_run("keen@part", tasks=("pope",), sight=4.0).update(limit=5, seed=0)
    return tmp_path / "results"


def test_the_best_comes_first_and_is_marked_where_it_is_better_beyond_chance(results: Path, make_run: MakeRun) -> None:
    found = rows(leaderboard(results).markdown, "pope")
    assert [row[0].strip("| `") for row in found[:3]] == ["keen", "fair", "blind"]
    assert [("★" in " ".join(row)) for row in found] == [True, False, False, False, False]
    make_run("keen@2", tasks=("pope",), sight=4.0, digests={"tower": "another"})
    assert "★ " not in leaderboard(results).markdown.partition("### pope")[2]


def test_controls_and_limited_runs_stand_apart(results: Path) -> None:
    page = leaderboard(results).markdown
    whole, apart = page.partition("### pope")[2].split("Controls, and runs on a part of the data:")[:2]
    assert "shuffle" not in whole and "images only" not in whole
    assert "control: shuffle-image" in apart and "5 images only" in apart


def test_a_lower_rate_of_invention_comes_first(make_run: MakeRun, tmp_path: Path) -> None:
    for name, invent in (("a", 0.9), ("b", 0.1)):
        make_run(f"{name}@1", tasks=("amber",), invent=invent)
    assert [row[0].strip("| `") for row in rows(leaderboard(tmp_path / "results").markdown, "amber")] == ["b", "a"]


def test_a_run_is_shown_by_the_name_it_is_given_and_linked(results: Path) -> None:
    page = leaderboard(results, {"keen": "Keen <b>Eye</b>", "fair@1": "Fair"})
    assert "`Keen &lt;b>Eye&lt;/b>`" in page.markdown and "`Fair`" in page.markdown
    assert "(results/keen%401)" in page.markdown
    assert "Keen &lt;b&gt;Eye&lt;/b&gt;" in page.html() and "<b>Eye" not in page.html()


@pytest.mark.parametrize(
    ("at", "kept", "out"),
    [
        (".", "results", "leaderboard.md"),
        (".", "results", "results/leaderboard.md"),
        (".", "results", "elsewhere/deep/leaderboard.md"),
        ("results", ".", "leaderboard.md"),
        ("elsewhere", "../results", "leaderboard.md"),
    ],
)
def test_every_link_leads_to_its_run_wherever_the_page_lies(cli, results, monkeypatch, at, kept, out):
    (results.parent / "elsewhere" / "deep").mkdir(parents=True)
    monkeypatch.chdir(results.parent / at)
    assert cli("leaderboard", "--results", kept, "--out", out, "--html").code == 0
    page = Path(out)
    markdown = re.findall(r"\]\(([^)]*%40[^)]*)\)", page.read_text(encoding="utf-8"))
    linked = re.findall(r'<a href="([^"]*%40[^"]*)"', page.with_suffix(".html").read_text(encoding="utf-8"))
    assert len(markdown) == len(linked) == 5
    assert all((page.parent / unquote(link) / "run.json").is_file() for link in [*markdown, *linked])


def test_the_csv_holds_every_value_unrounded(results: Path) -> None:
    board = leaderboard(results)
    found = list(csv.DictReader(io.StringIO(board.csv())))
    by_run = {(row["run"], row["metric"]): row["value"] for row in board.rows() if row["group"] == "pooled"}
    assert {row["rank"] for row in found} == {"1", "2", "3", ""}
    for row in found:
        if row["group"] == "pooled" and row["value"]:
            assert float(row["value"]) == by_run[(row["runs"], row["metric"])]


def test_a_name_is_broken_where_it_parts_and_every_figure_s_colour_is_on_the_page(make_run, tmp_path: Path) -> None:
    make_run("tower@1", tasks=("pope",))
    page = leaderboard(tmp_path / "results", {"tower": "clip:lab/tower?weights=a.pt"}).html()
    assert "clip:<wbr>lab/<wbr>tower?<wbr>weights=<wbr>a.pt" in page
    for colour in plots.CSS.values():
        assert f"{colour.removeprefix('var(').removesuffix(')')}: light-dark(" in page, colour


@pytest.fixture
def fifty(make_run: MakeRun, tmp_path: Path) -> Path:
    for n in range(50):
        make_run(f"tower-{n:02}@{n}", tasks=("pope",), sight=0.2 + n / 20, digests={"tower": str(n)})
    page = tmp_path / "leaderboard.html"
    page.write_text(leaderboard(tmp_path / "results").html(), encoding="utf-8")
    return page


@pytest.mark.slow
def test_fifty_towers_are_sorted_and_filtered_in_a_browser_without_network(fifty: Path) -> None:
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", fifty.read_text(encoding="utf-8"))
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    browser_path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser_path is None:
        pytest.skip("no Chromium is installed")
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(fifty.as_uri())
        accuracy = "thead th:has-text('accuracy') >> nth=0"
        values = f"[...document.querySelectorAll('tbody tr')].map(row => +row.cells[{4 + 1}].dataset.by)"
        page.click(f"{accuracy} >> button")
        falling = page.evaluate(values)
        page.click(f"{accuracy} >> button")
        assert falling == sorted(falling, reverse=True) and page.evaluate(values) == sorted(falling)
        page.fill("#filter", "tower-07 micro")
        assert page.locator("tbody tr:visible").count() == 1
        assert page.inner_text("#count") == "1 of 50 rows"
        page.fill("#filter", "")
        for width in (390, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            page.evaluate("document.querySelector('.scroll').scrollTo(400, 800)")
            for cell in ("thead th:nth-child(2)", "tbody tr:nth-child(20) td:nth-child(2)"):
                assert page.evaluate(f"document.querySelector('{cell}').getBoundingClientRect().left") >= 0, (
                    "which model"
                )
            heads, table = (page.locator(what).first.bounding_box() for what in ("thead th", ".scroll"))
            assert heads and table and heads["y"] >= table["y"], "the headings stay in sight"
        assert asked == [fifty.as_uri()]
        browser.close()


def test_the_folder_of_the_page_is_made_and_a_check_makes_none(cli, results: Path, tmp_path: Path) -> None:
    page = tmp_path / "pages" / "of" / "lb.md"
    assert cli("leaderboard", "--results", results, "--out", page, "--check").code == 5
    assert not page.parent.exists()
    said = cli("leaderboard", "--results", results, "--out", page, "--html", "--csv")
    assert said.code == 0, said.err
    assert {path.suffix for path in page.parent.iterdir()} == {".md", ".html", ".csv"}
