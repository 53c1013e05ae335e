"""Whatever goes wrong ends in one line and the documented code; and nothing that is shown is more than words."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.table import Table

from harness.report import markdown
from harness.shown import code_span, csv_cell, json_text, plain
from harness.shown import markdown as as_markdown
from harness.words_only import WordsOnly

BREAKS = '''
from harness.registry import lvlm

@lvlm("breaks")
def breaks(spec, place):
    """Breaks in a way that nobody foresaw."""
    class Breaks:
        spec = "breaks"
        def __call__(self, encoder): return self
        def render(self, prompt): return prompt
        def digests(self): return {}
        def describe(self): return {}
        def answers(self, asked):
            raise {ERROR}
    return Breaks()
'''


def breaking(bench, error: str) -> list[str]:
    (bench.plugin / "breaks.py").write_text(BREAKS.replace("{ERROR}", error))
    words = bench.words()
    words[words.index("--lvlm") + 1] = "breaks"
    return words


@pytest.mark.parametrize(
    "error",
    [
        "KeyError('x\\x1b[31mred')",
        "RecursionError()",
        "MemoryError('no room\\nat all')",
        "EOFError('too short')",
    ],
)
def test_an_unforeseen_error_is_one_line_that_says_what_is_kept_how_to_see_more_and_where_to_report(cli, bench, error):
    words = breaking(bench, error)
    said = cli(*words)
    assert said.code == 1
    assert said.err.count("\n") == 1 or said.err.splitlines()[-1].startswith("error: ")
    last = said.err.splitlines()[-1]
    for part in ("not foreseen", error.partition("(")[0], "is kept", "-v shows the traceback", "report it"):
        assert part in last
    assert "Traceback" not in said.err and "\x1b" not in said.err
    loud = cli(*words, "-v")
    assert loud.code == 1
    assert "Traceback (most recent call last)" in loud.err and "\x1b" not in loud.err


@pytest.mark.parametrize("words", [["list"], ["leaderboard", "--results", "nowhere"], ["data", "micro"]])
def test_every_command_takes_v(cli, words):
    quiet, loud = cli(*words), cli(*words, "-v")
    assert quiet.code == loud.code
    assert quiet.out == loud.out


@pytest.mark.parametrize("word", ["\x1b[2J", "a\rb", "\u202etxt", "\x9b31m"])
def test_a_word_that_no_terminal_can_show_is_refused_in_words(cli, word):
    said = cli("show", "run", word)
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert word not in said.err


EVIL = "a\\x1b[2J[bold]b[/]=c|`d`<script>\\u202e"


def test_a_group_and_a_model_that_try_to_act_are_only_words_on_every_way_out(cli, bench):
    plugin = bench.plugin / "squares_plugin.py"
    odd = plugin.read_text().replace('group=f"ask/{n}"', f'group=f"ask/{EVIL}{{n}}"')
    plugin.write_text(odd.replace('said = "Yes" if', f'said = "{EVIL}" if n_odd(sample) else "Yes" if') + NTH)
    include, page = ["--include", bench.plugin, "--results", bench.results], bench.root / "page.html"
    first = cli(*bench.words(name="[red]x[/red]"), "--full")
    assert first.code == 0
    assert cli(*bench.words(weights="=1+1")).code == 0
    runs = [path.parent.name for path in sorted(bench.results.glob("*/run.json"))]
    ways = [
        first,
        cli("show", "run", runs[0], *include),
        cli("compare", *runs, *include, "--full"),
        cli("compare", *runs, *include, "--json"),
        cli("report", *runs, *include, "--out", page, "--export", bench.root / "paper"),
        cli("leaderboard", *include, "--out", bench.root / "board.md"),
    ]
    shown = [said.out + said.err for said in ways]
    written = [path for path in (page, bench.root / "board.md", *(bench.root / "paper").glob("*.[ct][se][vx]"))]
    assert [said.code for said in ways] == [0] * len(ways)
    assert len(written) == 5
    for text in [*shown, *(path.read_text(encoding="utf-8") for path in written)]:
        assert plain(text) == text
    assert "[bold]b[/]" in shown[0]
    assert "`<script>" not in page.read_text()


NTH = """

def n_odd(sample):
    return sample.id.endswith("-1")
"""


def command(*words: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # a shell's background ignores it
    call = [sys.executable, "-c", f"{heard}; from harness.cli import main; main()", *words]
    return subprocess.run(call, capture_output=True, env={**os.environ, **more}, timeout=300)


@pytest.mark.parametrize("to", ["csv", "lm-eval", "judge"])
@pytest.mark.parametrize("place", ["a file", "below a file", "no folder of the system's"])
def test_a_place_that_nothing_can_be_written_to_is_a_wrong_word(cli, bench, to, place):
    assert cli(*bench.words()).code == 0
    (bench.root / "file").write_text("")
    out = {"a file": bench.root / "file", "below a file": bench.root / "file" / "x"}.get(place, "/proc/none")
    words = ["export", "eye", "--results", bench.results, "--data", bench.data, "--include", bench.plugin]
    said = cli(*words, "--to", to, "--out", out)
    assert (said.code, said.err.count("\n")) == (2, 1), said
    if to != "judge":  # of these tasks no judge reads anything
        assert f"cannot use {out}" in said.err and "name another" in said.err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_stdout_that_is_not_utf8_is_written_to_all_the_same(tmp_path, encoding):
    words = ["run", "--lvlm", "parrot", "-t", "pope", "--data", "micro", "--results", str(tmp_path), "--limit", "2"]
    table = command(*words, PYTHONIOENCODING=encoding)
    assert table.returncode == 0, table.stderr
    assert b"accuracy" in table.stdout
    assert json.loads(command(*words, "--json", PYTHONIOENCODING=encoding).stdout.decode(encoding))["rows"]


SAYING = [
    ["--help"], ["compare", "-h"], ["--version"], ["list"], ["list", "--json"],
    ["run", "--lvlm", "parrot", "-t", "pope", "--limit", "2"], ["run", "--lvlm", "parrot", "-t", "pope", "--json"],
]  # fmt: skip


@pytest.mark.parametrize("words", SAYING, ids=" ".join)
def test_a_reader_that_leaves_early_ends_a_command_without_a_word_and_loses_nothing(tmp_path, words):
    words = [*words, "--results", str(tmp_path)] if words[0] == "run" else words
    for both in (False, True):
        reading, writing = os.pipe()
        os.close(reading)
        call = [sys.executable, "-m", "ohd_bench", *words]
        said = subprocess.run(call, stdout=writing, stderr=writing if both else subprocess.PIPE, timeout=300)
        os.close(writing)
        assert said.returncode == 141
        assert both or not [line for line in said.stderr.splitlines() if b"pope: " not in line], said.stderr
    if words[0] == "run":
        assert command(*words).stderr.count(b"error") == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("words", SAYING, ids=" ".join)
def test_what_cannot_be_written_out_is_told_in_one_line_however_little_it_is(tmp_path, words):
    words = [*words, "--results", str(tmp_path)] if words[0] == "run" else words
    with open("/dev/full", "w") as full:
        call = [sys.executable, "-m", "ohd_bench", *words]
        said = subprocess.run(call, stdout=full, stderr=subprocess.PIPE, timeout=300)
    assert said.returncode == 1
    assert said.stderr.splitlines()[-1].startswith(b"error: No space left on device; what was answered is kept")


@pytest.mark.parametrize("words", SAYING, ids=" ".join)
@pytest.mark.parametrize("closed", [(1,), (0, 1, 2)])
def test_a_command_whose_streams_are_closed_does_its_work(tmp_path, words, closed):
    words = [*words, "--results", str(tmp_path)] if words[0] == "run" else words
    call = [sys.executable, "-m", "ohd_bench", *words]
    shut = f"import os; [os.close(n) for n in {closed}]; os.execv({sys.executable!r}, {call})"
    said = subprocess.run([sys.executable, "-c", shut], capture_output=True, timeout=300)
    assert (said.returncode, b"rror" in said.stderr) == (0, False), said.stderr
    assert words[0] != "run" or list(tmp_path.glob("*/pope/records.jsonl"))


def test_a_pipe_that_breaks_elsewhere_is_an_error_like_any_other(cli, bench):
    said = cli(*breaking(bench, "BrokenPipeError(32, 'a server left')"))
    assert said.code == 1
    assert said.err.splitlines()[-1].startswith("error: a server left; what was answered is kept")


@pytest.mark.parametrize("columns", ["0", "00", "", "x"])
def test_a_width_of_nothing_is_no_width(columns):
    said = command("list", COLUMNS=columns)
    assert said.returncode == 0 and said.stdout == command("list", COLUMNS="200").stdout


INTERRUPTED = """
import os, signal
try:
    os.kill(os.getpid(), signal.{SIGNAL})
except BaseException as error:
    raise {BECOMES} from error
"""


@pytest.mark.parametrize(("name", "code", "says"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")])
@pytest.mark.parametrize("becomes", ["error", "ImportError('numpy could not be imported')", "SystemError('C')"])
def test_a_signal_amid_imports_is_heard_whatever_the_import_makes_of_it(tmp_path, name, code, says, becomes):
    (tmp_path / "plugin.py").write_text(INTERRUPTED.replace("{SIGNAL}", name).replace("{BECOMES}", becomes))
    said = command("list", "--include", str(tmp_path))
    assert said.returncode == code
    assert said.stderr.decode().count("\n") == 1
    assert said.stderr.decode().startswith(f"{says}; what was answered is kept")


ANY = st.text(st.characters() | st.sampled_from("\x1b[]`|*\\=+-@<>$\r\n\t\x00\x9b\u2028\u202e")) | st.sampled_from(
    [
        "[bold]x[/bold]",
        "[/]",
        "[link=http://x]y[/link]",
        ":smile:",
        "\x1b]8;;http://x\x1b\\y",
        "=cmd|'/c calc'!A1",
        "``",
    ]
)


@settings(deadline=None)
@given(ANY, ANY)
def test_nothing_in_a_table_or_a_line_reaches_a_terminal_raw(text, title):
    file = io.StringIO()
    console = WordsOnly(file=file, width=4000, markup=False, emoji=False, highlight=False, force_terminal=False)
    table = Table(text or "-", title=title)
    table.add_row(text)
    for thing in (text, table):
        console.print(thing)
    assert plain(file.getvalue()) == file.getvalue()
    if text.isprintable() and text.strip() and "[" in text:
        assert text.strip() in file.getvalue()


@given(ANY)
def test_json_on_stdout_holds_nothing_raw_and_reads_as_it_was(text):
    shown = json_text(json.dumps([text], ensure_ascii=False))
    assert plain(shown) == shown
    assert json.loads(shown) == [text]


@given(ANY)
def test_no_cell_of_a_spreadsheet_starts_a_formula(text):
    file = io.StringIO()
    csv.writer(file).writerow([csv_cell(text), csv_cell("end")])
    cell, end = next(csv.reader(io.StringIO(file.getvalue(), newline="")))
    assert end == "end"
    assert not cell.lstrip().startswith(("=", "@"))
    if cell.lstrip().startswith(("+", "-")):
        float(cell)


@pytest.mark.parametrize("number", ["-0.5", "+1", "1e-3", "-inf"])
def test_a_number_stays_a_number(number):
    assert csv_cell(number) == number
    assert csv_cell(-0.5) == -0.5


@settings(deadline=None)
@given(ANY, ANY)
def test_no_cell_of_a_page_ends_its_code_span_or_becomes_a_link(spec, name):
    from markdown_it import MarkdownIt

    page = markdown.table(["a", "b"], [[code_span(spec), as_markdown(name)]])
    tokens = MarkdownIt("commonmark").enable("table").parse(page)
    inside = [one for token in tokens if token.type == "inline" for one in token.children or ()]
    kinds = [one.type for one in inside]
    assert kinds.count("code_inline") == bool(spec.split())
    assert not {"link_open", "image", "html_inline", "em_open", "strong_open"} & set(kinds)
    assert len([token for token in tokens if token.type == "td_open"]) == 2
