"""Doors to models, settings and the words of commands."""

from __future__ import annotations

from pathlib import Path
from random import Random

import world
from knocking import Tried, ask, break_in, files


def configs(rng: Random, sound: Path, room: Path) -> Tried:
    """run and encoder inspect on a folder of a model with one broken file."""
    which = rng.choice(("clip", "clip", "llava"))
    root = world.copied(sound, room, which) / which
    what = break_in(rng, rng.choice(files(root, "*.json", "*.txt", "*.safetensors")))
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
