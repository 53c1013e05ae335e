"""The report: what it holds, what hostile answers can do to it (nothing), and how it works in a browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from harness.asking import evaluate
from harness.cli import report as command
from harness.errors import UsageError
from harness.report import gallery
from harness.store import Run
from harness.types import Answer

MakeRun = Callable[..., Run]
EVERYTHING = "dog cat tree car cup star house boat fish bird kite lamp"
HOSTILE = {
    "1": f"{EVERYTHING} <script>document.title = 'taken'</script> </style></script>"
    "<img src=x onerror=\"document.title='taken'\">",
    "2": f"{EVERYTHING} \u202eشجرة و tree \U0001f332\U0001f697 \u0000\u0007 car",
    "3": "a tree " * 15_000,
    "4": EVERYTHING + " {{ 7 * 7 }} {% raw %} &lt;b&gt; $x^2$ javascript:alert(1)",
}
CHROMIUM = next(filter(None, (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def page(runs_in: Callable[[Path], MakeRun], world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    make_run = runs_in(folder)
    base = make_run("base@1", sight=1.0, lean=-0.5, invent=0.8, wrong_texts=HOSTILE)
    make_run("keen@1", sight=2.0, lean=0.2, invent=0.0, wrong_texts=HOSTILE)
    make_run("base@2", sight=0.0, control="shuffle-image")
    make_run("keen@2", sight=0.0, control="shuffle-image")
    return report(base, world, folder / "out" / "report.html")


def report(base: Run, world: Path, out: Path, *words: object) -> Path:
    app = typer.Typer(pretty_exceptions_enable=False)
    command.register(app)
    results = ["--results", base.folder.parent, "--data", world, "-o", out]
    result = CliRunner().invoke(app, [str(word) for word in ("base@1", "keen@1", *results, *words)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return out


def test_the_page_holds_everything_and_points_nowhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for words in (
        "What changed",
        "Sight or bias",
        "Caption margins",
        "Which objects are invented",
        "shuffle-image",
        "<mark>",
    ):
        assert words in text
    assert "Micro world" in text
    assert 50_000 < len(text.encode()) < 10_000_000
    assert not re.findall(r"(?:src|href)=[\"'](?!data:|#)", text)
    assert not re.findall(r"url\((?!#)", text)
    assert "@import" not in text


def test_hostile_answers_are_shown_as_words(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("<script>") == text.count("</script>") == 1
    assert "<img src=x" not in text
    assert "&lt;script&gt;" in text
    assert "{{ 7 * 7 }}" in text
    assert 'dir="auto"' in text
    assert "more characters" in text
    assert len(max(re.findall(r"a (?:tree |<mark>tree</mark> |a )+", text), key=len, default="")) < 60_000


def test_invented_words_are_marked_and_true_ones_are_not(world: Path) -> None:
    task = evaluate.open_task("amber", world)
    sample = next(task.samples())
    true = sample.target.split(", ")[0]
    false = next(name for name in ("tree", "car", "cup", "star") if name not in sample.target)
    parts = gallery.marked(f"There is a {true} and a {false}.", task, sample)
    assert [part.text for part in parts if part.invented] == [false]
    assert "".join(part.text for part in parts) == f"There is a {true} and a {false}."


def test_missing_pictures_leave_a_page_with_their_names(make_run: MakeRun, world: Path, tmp_path: Path) -> None:
    data = tmp_path / "bare"
    shutil.copytree(world, data, ignore=shutil.ignore_patterns("*.jpg"))
    base, _ = make_run("base@1", lean=-0.5, tasks=("pope",)), make_run("keen@1", lean=0.5, tasks=("pope",))
    text = report(base, data, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "data:image/jpeg" not in text
    assert 'class="no-picture"' in text


def test_a_folder_that_cannot_be_written_is_told(make_run: MakeRun, world: Path, tmp_path: Path) -> None:
    base, _ = make_run("base@1", tasks=("pope",)), make_run("keen@1", tasks=("pope",))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        report(base, world, tmp_path / "file" / "r.html")


def test_figures_and_tables_for_papers(make_run: MakeRun, world: Path, tmp_path: Path) -> None:
    tasks = ("pope", "ohd-caps")
    base, keen = make_run("base@1", sight=0.8, tasks=tasks), make_run("keen@1", sight=2.0, tasks=tasks)
    sweep = ["--sweep", f"1={base.id}", "--sweep", f"100={keen.id}"]
    report(base, world, tmp_path / "r.html", "--export", tmp_path / "paper", *sweep)
    names = {path.name for path in (tmp_path / "paper").iterdir()}
    figures = {"differences", "signal-detection", "reliability-pope", "margins-ohd-caps", "objects", "data-efficiency"}
    assert names >= {f"{name}.{kind}" for name in figures for kind in ("pdf", "svg")} | {
        "comparison.csv",
        "comparison.tex",
    }
    assert (tmp_path / "paper" / "objects.pdf").read_bytes().startswith(b"%PDF")
    table = (tmp_path / "paper" / "comparison.csv").read_text().splitlines()
    assert table[0].startswith("base,candidate,task,group,metric")
    assert any(",pope,,balanced_accuracy,higher," in row for row in table)
    latex = (tmp_path / "paper" / "comparison.tex").read_text()
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 1
    rows = [row for row in latex.splitlines() if row.endswith(r"\\")]
    assert {row.count("&") - row.count(r"\&") for row in rows} == {5}
    with pytest.raises(UsageError, match="PERCENT=RUN"):
        report(base, world, tmp_path / "r.html", "--sweep", "much=base@1")


def test_a_ranking_shows_the_caption_it_put_first(make_run: MakeRun, world: Path) -> None:
    run = make_run("base@1", tasks=("ohd-caps",))
    sample = next(evaluate.open_task("ohd-caps", world).samples())
    record = next(record for record in run.records("ohd-caps") if record.id == sample.id)
    assert isinstance(record.reply, Answer)
    scores = record.reply.scores or ()
    told = gallery.said("x", record, None, sample)
    assert told.parts[0].text == sample.texts[scores.index(max(scores))]


@pytest.fixture
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine to open the page in")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright drives the browser: pip install playwright"
    )
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


def test_the_page_works_in_a_browser(page: Path, browser: Any) -> None:
    shown = browser.new_page(viewport={"width": 1200, "height": 900})
    wrong: list[str] = []
    asked: list[str] = []
    shown.on("console", lambda message: wrong.append(message.text))
    shown.on("pageerror", lambda error: wrong.append(str(error)))
    shown.on("request", lambda request: asked.append(request.url))
    shown.goto(page.as_uri())
    assert "taken" not in shown.title()

    def visible() -> int:
        return int(shown.locator("#cards > article:visible").count())

    assert visible() == 24
    shown.click("#more")
    assert visible() > 24
    shown.select_option("select[name=kind]", "broken")
    assert 0 < visible() <= 24
    assert {card.get_attribute("data-kind") for card in shown.locator("#cards > article:visible").all()} == {"broken"}
    shown.fill("input[name=text]", "no picture says this")
    assert visible() == 0
    assert shown.locator("#none").is_visible()
    shown.click("button[type=reset]")
    shown.wait_for_function("document.querySelectorAll('#cards > article:not([hidden])').length === 24")

    first, second = (shown.locator("#cards > article").nth(i) for i in (0, 1))
    first.focus()
    shown.keyboard.press("ArrowRight")
    assert second.evaluate("card => card === document.activeElement")
    shown.keyboard.press("ArrowLeft")
    assert first.evaluate("card => card === document.activeElement")

    assert wrong == []
    assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]


def test_a_phone_need_not_scroll_sideways_and_the_dark_is_dark(page: Path, browser: Any) -> None:
    phone = browser.new_page(viewport={"width": 375, "height": 800}, color_scheme="dark")
    phone.goto(page.as_uri())
    assert phone.evaluate("document.documentElement.scrollWidth") <= 375
    dark = phone.evaluate("getComputedStyle(document.body).backgroundColor")
    phone.emulate_media(color_scheme="light")
    light = phone.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", dark)[:3])) < 120 < 600 < sum(map(int, re.findall(r"\d+", light)[:3]))


def test_without_a_script_every_picture_is_there(page: Path, browser: Any) -> None:
    plain = browser.new_context(java_script_enabled=False).new_page()
    plain.goto(page.as_uri())
    assert plain.locator("#cards > article:visible").count() == page.read_text(encoding="utf-8").count("<article")
