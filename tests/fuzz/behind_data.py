"""Doors to data folders: run over files of which one is broken, and over pictures that are odd."""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random

import breaking
import world
from knocking import Said, Tried, ask, break_in, files, loose, values

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
    what = break_in(rng, rng.choice(files(root, *patterns)))
    said = ask("run", "-t", task, *_models(task), "--data", root, "--results", room / "results", "--json")
    return Tried(f"{task}: {what}", said, _pope_is_wrong(said, root) if task == "pope" else "")


def _pope_is_wrong(said: Said, root: Path) -> str:
    """What always saying yes scores, counted apart from the code under test: n and the share of yes."""
    if said.code != 0:
        return ""
    rows = [row for path in files(root, "pope/*.json") for row in loose(path) or [{}]]
    labels = [row.get("label") for row in rows if isinstance(row, dict)]
    if not all(isinstance(label, str) and label.strip().lower() in ("yes", "no") for label in labels):
        return f"answered although a label is none: {labels}"[:200]
    yes = sum(label.strip().lower() == "yes" for label in labels)
    found = values(said, "accuracy", "pooled")
    right = {"n": len(rows), "value": 100 * yes / len(rows)}
    return "" if all(abs(found.get(k, -1) - v) < 1e-9 for k, v in right.items()) else f"{right} was counted as {found}"


def images(rng: Random, sound: Path, room: Path) -> Tried:
    """run with one picture damaged, bombed, of another format, a link or a folder: every other one is answered."""
    task = rng.choice(("pope", "ohd-caps", "amber", "zero-shot"))
    root = world.copied(sound / "data", room / "data", TASKS[task][0])
    path = rng.choice(files(root, "**/*.jpg", "**/*.png"))
    what = _odd_file(rng, path, room) if rng.random() < 0.2 else break_in(rng, path, breaking.picture)
    said = ask("run", "-t", task, *_models(task), "--data", root, "--results", room / "results", "--json")
    wrong = ""
    if said.code in (0, 1) and not said.trace:
        tasks = json.loads(next((room / "results").glob("*/run.json")).read_text())["tasks"]
        entry = next(iter(tasks.values()))
        there = len(files(root, "**/*.jpg", "**/*.png"))
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
