"""A small micro world, and runs whose answers are drawn: how well a model sees, and how ready it is to say yes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr

from harness import engine, micro, registry, rig
from harness.micro.folder import Sizes
from harness.store import Journal, Record, Run
from harness.types import Answer, Failure, Sample, Task

TASKS = ("amber", "pope", "ohd-caps")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    registry.load()
    folder = tmp_path_factory.mktemp("world") / "data"
    micro.write(folder, 0, Sizes(amber=40, caps=16, dev=1, train=1, web=1, pope=40, zero_shot=1))
    return folder


MakeRun = Callable[..., Run]


@pytest.fixture
def make_run(runs_in: Callable[[Path], MakeRun], tmp_path: Path) -> MakeRun:
    """Makes a run below this test's own folder."""
    return runs_in(tmp_path)


@pytest.fixture(scope="session")
def runs_in(world: Path) -> Callable[[Path], MakeRun]:
    """Makes what makes runs below a folder."""
    return lambda folder: maker(world, folder)


def maker(world: Path, folder: Path) -> MakeRun:
    """Makes a run: ``sight`` is d', ``lean`` the criterion, ``invent`` the chance of inventing in a caption."""

    def make(name: str, *, sight: float = 1.5, lean: float = 0.0, invent: float = 0.4, **more: Any) -> Run:
        run = Run(folder / "results" / name)
        tasks = [rig.open_task(task, world) for task in more.get("tasks", TASKS)]
        entries = {}
        for task in tasks:
            asked = engine.questions(task, task.samples())
            say = _Speaker(sight, lean, invent, more.get("wrong_texts", {}))
            with Journal(run.records_path(task.name)) as journal:
                journal.append([_record(asked, sample, say(sample)) for sample in asked.samples])
            entries[task.name] = {
                "spec": task.name,
                "expected": len(asked.samples),
                "samples_digest": asked.digest,
                "rules": task.rules(),
                "floors": rig.floor_values(asked) if task.mode == "generate" else {},
            }
        encoder, control = name.partition("@")[0].partition("+")[0], more.get("control", "none")
        describe = {"template": "plain", "decoding": "greedy"} | more.get("describe", {})
        run.update(
            status="complete",
            encoder={"spec": encoder, "digest": encoder, "describe": {}},
            lvlm={"spec": "drawn", "digests": more.get("digests", {"tower": encoder}), "describe": describe},
            data="micro",
            world="micro",
            control=control,
            limit=0,
            tasks=entries,
        )
        return run

    return make


def _record(asked: engine.Questions, sample: Sample, reply: Answer | Failure) -> Record:
    counts = asked.task.count(sample, reply) if isinstance(reply, Answer) else {}
    image = sample.image.name if sample.image else sample.id
    return Record(sample.id, image, sample.group, "", asked.rules, reply, counts)


class _Speaker:
    """Answers by signal detection; what is hard for one is hard for all, as the noise hangs on the sample alone."""

    def __init__(self, sight: float, lean: float, invent: float, texts: dict[str, str]) -> None:
        self.sight, self.lean, self.invent, self.texts = sight, lean, invent, texts

    def __call__(self, sample: Sample) -> Answer:
        shared = random.Random(f"{sample.id}/{sample.prompt}/{sample.image.name if sample.image else ''}")
        if sample.id in self.texts:
            return Answer(self.texts[sample.id])
        if sample.texts:
            return self._ranked(sample, shared)
        if sample.target not in ("yes", "no"):
            return Answer(self._caption(sample, shared))
        evidence = shared.gauss(0, 1) + (0.5 if sample.target == "yes" else -0.5) * self.sight - self.lean
        return Answer("Yes" if evidence > 0 else "No", p_yes=float(ndtr(evidence)))

    def _ranked(self, sample: Sample, shared: random.Random) -> Answer:
        noise = np.array([shared.gauss(0, 1) for _ in sample.texts]) * 0.05
        noise[int(sample.target)] += 0.05 * self.sight
        return Answer(scores=tuple(float(x) for x in noise))

    def _caption(self, sample: Sample, shared: random.Random) -> str:
        things = sample.target.split(", ")
        absent = [name for name in ("tree", "car", "cup", "star", "house") if name not in things]
        extra = [shared.choice(absent)] if shared.random() < self.invent else []
        return "There is a " + " and a ".join([*things[:2], *extra]) + "."


def opened(task: str, world: Path) -> Task:
    return rig.open_task(task, world)
