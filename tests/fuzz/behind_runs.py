"""Doors to kept runs: resume, leaderboard, and what compares and shows them."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from random import Random

import world
from knocking import Said, Tried, ask, break_in, files


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
    return run, _broken(rng, run)


def _broken(rng: Random, run: Path) -> str:
    """One file of the run broken, or its records exchanged for another run's."""
    path = rng.choice(files(run, "run.json", "*/records.jsonl"))
    others = [other / path.relative_to(run) for other in _runs(run.parent) if other != run]
    others = [other for other in others if other.is_file()]
    if path.name == "run.json" or not others or rng.random() < 0.7:
        return break_in(rng, path)
    shutil.copyfile(rng.choice(others), path)
    return f"{path.name} of another run"


def resume(rng: Random, sound: Path, room: Path) -> Tried:
    """The same run over broken records or a broken manifest: the numbers of an undisturbed run, or a refusal."""
    world.copied(sound, room, "results")
    run = next(run for run in _runs(room / "results") if run.name.startswith("parrot@"))
    what = _broken(rng, run)
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
    what = _broken(rng, room / "results" / names[0])
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
