"""The door to answer files: score, with an independent count of POPE's answers beside it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import breaking
import world
from knocking import Said, Tried, ask, break_in, files, loose

ANSWERS = {"pope": "pope*", "amber": "amber*", "chair?rules=original": "chair*"}


def score(rng: Random, sound: Path, room: Path) -> Tried:
    """score on a broken file of answers: what an independent count gives, or what the same rows gave before."""
    task = rng.choice(list(ANSWERS))
    root = world.copied(sound, room, "answers")
    path = rng.choice(files(root / "answers", ANSWERS[task]))
    words = ("score", task, path, "--data", sound / "data", "--json")
    if path.suffix.startswith(".json") and rng.random() < 0.3:
        before = ask(*words)
        what = break_in(rng, path, breaking.same_rows)
        said = ask(*words)
        same = before.code == said.code and (said.code != 0 or _numbers(before) == _numbers(said))
        return Tried(f"{task}: {what}", said, "" if same else "the same rows written another way score otherwise")
    what = break_in(rng, path)
    said = ask(*words)
    wrong = _answers_are_wrong(said, path, sound) if task == "pope" and path.name == "pope.jsonl" else ""
    return Tried(f"{task}: {what}", said, wrong)


def _numbers(said: Said) -> Any:
    return json.loads(said.out)["metrics"]


def _answers_are_wrong(said: Said, path: Path, sound: Path) -> str:
    """Whether number and accuracy are those of the file's rows by POPE's own rule; only where each row is whole."""
    if said.code != 0:
        return ""
    rows, truths = [row for row in loose(path) or [] if isinstance(row, dict)], _truths(sound)
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
    rows = {kind: loose(sound / "data" / "pope" / f"coco_pope_{kind}.json") or [] for kind in world.KINDS}
    return {(kind, row["image"], row["text"]): row["label"] for kind, every in rows.items() for row in every}


def _official(answer: str) -> str:
    """AoiDragon/POPE's evaluate.py: "No", "no" or "not" among the words of the first sentence is no."""
    said = answer.split(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "no", "not"} & set(said) else "yes"
