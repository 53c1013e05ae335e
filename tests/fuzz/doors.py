"""The front doors of ohd-bench: what may be broken behind each, and how a right answer is told from a wrong one."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import breaking
import world

PATIENCE = 60
"""Seconds after which a command counts as one that cannot finish."""


@dataclass(frozen=True)
class Said:
    """How a command ended: its code, what it printed, and the traceback where it ended in one."""

    code: int
    out: str
    err: str
    trace: str = ""


class Endless(BaseException):
    """A command that did not come to an end in time."""


def _too_long(number: int, frame: object) -> None:
    raise Endless


@cache
def _app() -> Any:
    from harness.cli import build

    return build()


def ask(*words: object) -> Said:
    """One command in this process; whatever is no clear refusal has its traceback kept."""
    from harness.errors import OhdBenchError

    out, err = io.StringIO(), io.StringIO()
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(PATIENCE)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            _app()(args=[str(word) for word in words], standalone_mode=True)
        return Said(0, out.getvalue(), err.getvalue())
    except SystemExit as end:
        return Said(int(end.code or 0), out.getvalue(), err.getvalue())
    except OhdBenchError as error:
        return Said(error.code, out.getvalue(), err.getvalue() + f"error: {error}")
    except OSError as error:  # the command says these in a line of its own
        code = 2 if error.errno == errno.ENAMETOOLONG else 1
        return Said(code, out.getvalue(), err.getvalue() + f"error: {error.filename}: {error.strerror}")
    except Endless:
        return Said(-1, out.getvalue(), err.getvalue(), f"not through after {PATIENCE} s")
    except Exception:
        return Said(-1, out.getvalue(), err.getvalue(), traceback.format_exc())
    finally:
        signal.alarm(0)


@dataclass(frozen=True)
class Tried:
    """One broken input: what was done, how the command ended, and what is wrong with that (nothing, if it is right)."""

    what: str
    said: Said
    wrong: str = ""

    @property
    def end(self) -> str:
        """``traceback``, ``wrong``, ``refused`` or ``answered``."""
        if self.said.trace:
            return "traceback"
        return "wrong" if self.wrong else "answered" if self.said.code == 0 else "refused"


Door = Callable[[Random, Path, Path], Tried]
"""Called with a generator, the sound world and an empty folder: breaks something in a copy, and knocks."""


def _files(folder: Path, *patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in folder.glob(pattern) if path.is_file())


def _break(rng: Random, path: Path, how: Callable[[Random, bytes], tuple[str, bytes]] = breaking.broken) -> str:
    done, data = how(rng, path.read_bytes())
    path.write_bytes(data)
    return f"{path.name} {done}"


def _loose(path: Path) -> list[Any] | None:
    """The rows of a file as any JSON reader has them; None where it has none."""
    try:
        rows, _ = breaking.unpacked(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    return rows if isinstance(rows, list) else [rows]


def _values(said: Said, metric: str, group: str) -> dict[str, Any]:
    rows = json.loads(said.out)["rows"]
    return next((row["values"][0] for row in rows if (row["metric"], row["group"]) == (metric, group)), {})


# run on a data folder


TASKS = {
    "pope": ("pope", ("pope/*.json",)),
    "ohd-caps": ("ohd_caps", ("ohd_caps/test/*.json",)),
    "amber": ("amber", ("amber/*.json", "amber/*.txt", "amber/query/*.json")),
    "chair?rules=original": ("chair", ("chair/*.json",)),
    "zero-shot": ("zero_shot", ("zero_shot/*.txt",)),
    "dash-b": ("dash_b", ("dash_b/*.json",)),
    "mme": ("mme", ("mme/*/*.txt",)),
    "hallusion": ("hallusion", ("hallusion/*.json",)),
    "pairs": ("sugar_crepe", ("sugar_crepe/*.json",)),
    "winoground": ("winoground", ("winoground/*.jsonl",)),
}


RANKED = ("ohd-caps", "zero-shot", "pairs", "winoground")


def _models(task: str) -> tuple[str, str]:
    return ("--encoder", "hashing") if task in RANKED else ("--lvlm", "parrot")


def data(rng: Random, sound: Path, room: Path) -> Tried:
    """run on a folder with one broken data file: as many questions answered as there are, rightly counted."""
    task = rng.choice(list(TASKS))
    part, patterns = TASKS[task]
    root = world.copied(sound / "data", room / "data", part)
    what = _break(rng, rng.choice(_files(root, *patterns)))
    said = ask("run", "-t", task, *_models(task), "--data", root, "--results", room / "results", "--json")
    return Tried(f"{task}: {what}", said, _pope_is_wrong(said, root) if task == "pope" else "")


def _pope_is_wrong(said: Said, root: Path) -> str:
    """What always saying yes scores, counted apart from the code under test: n and the share of yes."""
    if said.code != 0:
        return ""
    rows = [row for path in _files(root, "pope/*.json") for row in _loose(path) or [{}]]
    labels = [row.get("label") for row in rows if isinstance(row, dict)]
    if not all(isinstance(label, str) and label.strip().lower() in ("yes", "no") for label in labels):
        return f"answered although a label is none: {labels}"[:200]
    yes = sum(label.strip().lower() == "yes" for label in labels)
    found = _values(said, "accuracy", "pooled")
    right = {"n": len(rows), "value": 100 * yes / len(rows)}
    return "" if all(abs(found.get(k, -1) - v) < 1e-9 for k, v in right.items()) else f"{right} was counted as {found}"


def images(rng: Random, sound: Path, room: Path) -> Tried:
    """run with one picture damaged, bombed, of another format, a link or a folder: every other one is answered."""
    task = rng.choice(("pope", "ohd-caps", "amber", "zero-shot"))
    root = world.copied(sound / "data", room / "data", TASKS[task][0])
    path = rng.choice(_files(root, "**/*.jpg", "**/*.png"))
    what = _odd_file(rng, path, room) if rng.random() < 0.2 else _break(rng, path, breaking.picture)
    said = ask("run", "-t", task, *_models(task), "--data", root, "--results", room / "results", "--json")
    wrong = ""
    if said.code in (0, 1) and not said.trace:
        tasks = json.loads(next((room / "results").glob("*/run.json")).read_text())["tasks"]
        entry = next(iter(tasks.values()))
        there = len(_files(root, "**/*.jpg", "**/*.png"))
        most = entry["expected"] if said.code == 0 else entry["expected"] * (there - 1) // there
        wrong = "" if entry["scored"] >= most else f"one picture cost more than its own samples: {entry}"[:200]
    return Tried(f"{task}: {what}", said, wrong)


def _odd_file(rng: Random, path: Path, room: Path) -> str:
    path.unlink()
    kind = rng.choice(("link out", "link to nothing", "link to itself", "folder", "pipe"))
    if kind == "link out":
        (room / "outside.jpg").write_bytes(b"secret")
        path.symlink_to(room / "outside.jpg")
    elif kind.startswith("link"):
        path.symlink_to(path if kind.endswith("itself") else room / "none")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    return kind


# score


ANSWERS = {"pope": "pope*", "amber": "amber*", "chair?rules=original": "chair*"}


def score(rng: Random, sound: Path, room: Path) -> Tried:
    """score on a broken file of answers: what an independent count gives, or what the same rows gave before."""
    task = rng.choice(list(ANSWERS))
    root = world.copied(sound, room, "answers")
    path = rng.choice(_files(root / "answers", ANSWERS[task]))
    words = ("score", task, path, "--data", sound / "data", "--json")
    if path.suffix.startswith(".json") and rng.random() < 0.3:
        before = ask(*words)
        what = _break(rng, path, breaking.same_rows)
        said = ask(*words)
        same = before.code == said.code and (said.code != 0 or _numbers(before) == _numbers(said))
        return Tried(f"{task}: {what}", said, "" if same else "the same rows written another way score otherwise")
    what = _break(rng, path)
    said = ask(*words)
    wrong = _answers_are_wrong(said, path, sound) if task == "pope" and path.name == "pope.jsonl" else ""
    return Tried(f"{task}: {what}", said, wrong)


def _numbers(said: Said) -> Any:
    return json.loads(said.out)["metrics"]


def _answers_are_wrong(said: Said, path: Path, sound: Path) -> str:
    """Whether number and accuracy are those of the file's rows by POPE's own rule; only where each row is whole."""
    if said.code != 0:
        return ""
    rows, truths = [row for row in _loose(path) or [] if isinstance(row, dict)], _truths(sound)
    every = [{str(key).lower(): value for key, value in row.items()} for row in rows]
    where = [(row.get("category"), row.get("image"), row.get("question")) for row in every]
    if not all(isinstance(part, str) for key in where for part in key) or not all(key in truths for key in where):
        return ""
    said_ = [_alone(row.get("answer")) for row in every]
    if not all(isinstance(text, str) for text in said_):
        return f"scored although an answer is no text: {said_}"[:200]
    right = sum(_official(text) == truths[key] for text, key in zip(said_, where, strict=True))
    told = json.loads(said.out)
    found = (told["n_scored"], told["metrics"]["pooled"]["accuracy"])
    due = (len(every), round(100 * right / len(every), 1))
    return "" if found[0] == due[0] and abs(found[1] - due[1]) < 0.051 else f"{due} was scored as {found}"


def _alone(said: Any) -> Any:
    """A list of one answer is that answer, as lmms-eval writes it."""
    while isinstance(said, list) and len(said) == 1:
        said = said[0]
    return said


@cache
def _truths(sound: Path) -> dict[tuple[str, str, str], str]:
    rows = {kind: _loose(sound / "data" / "pope" / f"coco_pope_{kind}.json") or [] for kind in world.KINDS}
    return {(kind, row["image"], row["text"]): row["label"] for kind, every in rows.items() for row in every}


def _official(answer: str) -> str:
    """AoiDragon/POPE's evaluate.py: "No", "no" or "not" among the words of the first sentence is no."""
    said = answer.split(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "no", "not"} & set(said) else "yes"


# kept runs


def kept(sound: Path) -> None:
    """Two complete runs on the sound world, in SOUND/results."""
    for word in ("parrot", "parrot:no"):
        done = ask(
            "run", "-t", "pope", "-t", "amber", "--lvlm", word, "--data", sound / "data", "--results", sound / "results"
        )
        assert done.code == 0, done
    done = ask(
        "run",
        "-t",
        "ohd-caps",
        "-t",
        "zero-shot",
        "-e",
        "hashing",
        "--data",
        sound / "data",
        "--results",
        sound / "results",
    )
    assert done.code == 0, done


def _runs(results: Path) -> list[Path]:
    return sorted(path.parent for path in results.glob("*/run.json"))


def _break_run(rng: Random, results: Path) -> tuple[Path, str]:
    run = rng.choice(_runs(results))
    path = rng.choice(_files(run, "run.json", "*/records.jsonl"))
    return run, _break(rng, path)


def resume(rng: Random, sound: Path, room: Path) -> Tried:
    """The same run over broken records or a broken manifest: the numbers of an undisturbed run, or a refusal."""
    world.copied(sound, room, "results")
    run = next(run for run in _runs(room / "results") if run.name.startswith("parrot@"))
    what = _break(rng, rng.choice(_files(run, "run.json", "*/records.jsonl")))
    said = _again(sound, room / "results")
    wrong = ""
    if said.code == 0:
        same = json.loads(said.out)["rows"] == json.loads(_undisturbed(sound))["rows"]
        wrong = "" if same else "the numbers are not those of an undisturbed run"
    return Tried(what, said, wrong)


def _again(sound: Path, results: Path) -> Said:
    words = ["run", "-t", "pope", "-t", "amber", "--lvlm", "parrot", "--data", sound / "data", "--results", results]
    return ask(*words, "--json")


@cache
def _undisturbed(sound: Path) -> str:
    said = _again(sound, sound / "results")
    assert said.code == 0, said
    return said.out


@cache
def _page(sound: Path, without: str) -> str:
    """The page of the sound runs, or of all but one."""
    results, page = sound.parent / "fewer" / "results", sound.parent / "fewer" / "page.md"
    shutil.rmtree(results.parent, ignore_errors=True)
    shutil.copytree(sound / "results", results, ignore=shutil.ignore_patterns(without) if without else None)
    assert ask("leaderboard", "--results", results, "--out", page).code == 0
    return page.read_text()


def leaderboard(rng: Random, sound: Path, room: Path) -> Tried:
    """leaderboard over one broken run: the page as it was, or as it is without that run; never no page at all."""
    world.copied(sound, room, "results")
    run, what = _break_run(rng, room / "results")
    page = room / "page.md"
    said = ask("leaderboard", "--results", room / "results", "--out", page)
    wrong = ""
    if said.code > 1:
        wrong = f"one odd run of three stops the page: {said.err}"[:300]
    elif not said.trace and what.startswith("records.jsonl"):
        right = _page(sound, run.name if said.code else "")
        wrong = "" if page.read_text() == right else "broken records changed the page"
    return Tried(f"{run.name}/{what}", said, wrong)


def compare(rng: Random, sound: Path, room: Path) -> Tried:
    """compare, show, report and export over broken runs: as before, or refused; nothing is written elsewhere."""
    world.copied(sound, room, "results")
    command = rng.choice(("compare", "show", "export", "export lm-eval", "report", "objects"))
    names = [run.name for run in _runs(room / "results") if run.name.startswith("parrot")]
    what = _break(rng, rng.choice(_files(room / "results" / names[0], "run.json", "*/records.jsonl")))
    more = ["--results", room / "results"]
    out = room / "out"
    words = {
        "compare": ["compare", *names, *more, "--json"],
        "show": ["show", "run", *names, *more, "--json"],
        "export": ["export", names[0], "--out", out, "--data", sound / "data", "--images", *more],
        "export lm-eval": ["export", names[0], "--to", "lm-eval", "--out", out, "--data", sound / "data", *more],
        "report": ["report", *names, "--out", out / "page.html", "--data", sound / "data", *more],
        "objects": ["objects", names[0], "--data", sound / "data", *more, "--json"],
    }[command]
    out.mkdir()
    before = {path for path in room.rglob("*") if not path.is_relative_to(out)}
    said = ask(*words)
    stray = {path for path in room.rglob("*") if not path.is_relative_to(out)} - before
    wrong = f"written outside --out: {stray}" if stray else ""
    if said.code == 0 and command == "show" and what.startswith("records"):
        was = json.loads(ask("show", "run", *names, "--results", sound / "results", "--json").out)["rows"]
        wrong = wrong or ("" if json.loads(said.out)["rows"] == was else "changed records were shown as they are")
    return Tried(f"{command}: {what}", said, wrong)


# configurations, models, settings, words


def configs(rng: Random, sound: Path, room: Path) -> Tried:
    """run and encoder inspect on a folder of a model with one broken file."""
    which = rng.choice(("clip", "clip", "llava"))
    root = world.copied(sound, room, which) / which
    what = _break(rng, rng.choice(_files(root, "*.json", "*.txt", "*.safetensors")))
    data = ("--data", sound / "data", "--results", room / "results")
    words = {
        "clip": rng.choice(
            (["run", "-t", "zero-shot", "-e", f"clip:{root}", *data], ["encoder", "inspect", f"clip:{root}"])
        ),
        "llava": ["run", "-t", "pope", "--limit", 1, "-l", f"llava:{root}", *data],
    }[which]
    return Tried(f"{which}: {what}", ask(*words))


def settings(rng: Random, sound: Path, room: Path) -> Tried:
    """train with odd settings: a number that means nothing is a wrong word of the command."""
    from dataclasses import fields

    from encoders.training.settings import Training

    field = rng.choice(fields(Training))
    value = rng.choice(
        ("-1", "-0.5", "nan", "inf", "-inf", "1e400", "", "x", "None", "true", "1e-400", "9" * 400, "-0", "\x00")
    )
    said = ask("train", "micro-ohd", "--set", f"{field.name}={value}", "--data", sound / "data", "--out", room / "out")
    wrong = ""
    if said.code in (0, 3, 4) and value in ("-1", "nan", "inf", "-inf") and field.type in ("int", "float"):
        wrong = "" if field.name in ("interpolate",) and value == "-1" else f"{field.name}={value} was taken"
    return Tried(f"{field.name}={value}", said, wrong)


def words(rng: Random, sound: Path, room: Path) -> Tried:
    """Commands with odd specs and options: refused as wrong words, whatever they are."""
    odd = (
        "",
        " ",
        "?",
        ":",
        "pope?",
        "pope?x",
        "pope?rules",
        "pope?rules=",
        "pope?rules=x&rules=y",
        "pope?source=../x",
        "a" * 300,
    )
    odd += (
        "pope?questions=",
        "pope?questions=/dev/null",
        "pope?questions=.",
        "\x00",
        "é",
        "../..",
        "%00",
        "pope?%ff=1",
        "[red]x",
    )
    spec, number = rng.choice(odd), rng.choice(("-1", "nan", "1e9", "x", "", "99999999999999999999"))
    data = ("--data", sound / "data", "--results", room / "results")
    every = (
        ["run", "-t", spec, "--lvlm", "parrot", *data],
        ["run", "-t", "pope", "--lvlm", spec, *data],
        ["run", "-t", "zero-shot", "-e", spec, *data],
        [
            "run",
            "-t",
            "pope",
            "--lvlm",
            "parrot",
            rng.choice(("--limit", "--seed", "--verify", "--batch-size", "--workers")),
            number,
            *data,
        ],
        ["run", "-t", "pope", "--lvlm", "parrot", "--control", spec, *data],
        ["run", "-t", "pope", "--lvlm", "parrot", "--data", spec, "--results", room / "results"],
        ["score", spec, sound / "answers" / "pope.jsonl", "--data", sound / "data"],
        ["score", "pope", spec, "--data", sound / "data"],
        ["score", "pope", sound / "answers" / "pope.jsonl", "--data", sound / "data", "--rules", spec],
        ["compare", spec, spec, "--results", sound / "results"],
        ["show", "sample", spec, "--data", sound / "data"],
        ["show", "sample", "pope", spec, "--data", sound / "data"],
        ["export", spec, "--out", room / "out", "--results", sound / "results", "--data", sound / "data"],
        ["leaderboard", "--results", spec, "--out", room / "page.md"],
        ["encoder", "inspect", spec],
        ["list", spec],
        ["data", "prepare", spec],
    )
    asked = rng.choice(every)
    if number == "99999999999999999999" and "--workers" in asked:
        number = "x"
    return Tried(" ".join(map(str, asked)).replace(str(sound), "SOUND").replace(str(room), "ROOM"), ask(*asked))


DOORS: dict[str, Door] = {
    "score": score,
    "run on data": data,
    "run on images": images,
    "resume": resume,
    "leaderboard": leaderboard,
    "compare, show, report, export": compare,
    "models": configs,
    "training settings": settings,
    "words of commands": words,
}


CODES = {
    "score": (0, 1, 2, 3),
    "run on data": (0, 3, 6),
    "run on images": (0, 1, 3, 6),
    "resume": (0, 2, 3),
    "leaderboard": (0, 1),
    "compare, show, report, export": (0, 2, 3),
    "models": (0, 1, 2, 4, 6),
    "training settings": (2, 3, 4),
    "words of commands": (0, 2, 3, 4),
}
"""The codes that the documentation gives to what each door may say."""


def faults(door: str, said: Said) -> Iterator[str]:
    """What is wrong with how a command ended, whatever was broken."""
    if not said.trace and said.code not in CODES[door]:
        yield f"exit code {said.code}: {said.err[-200:]}"
    if not said.trace and said.code and not said.err.strip():
        yield "ended without a word"
    if any(ord(letter) < 32 and letter not in "\n\t\r" for letter in said.out):
        yield "a control character reached the terminal"
