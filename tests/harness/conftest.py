"""What the harness's tests run on: a small benchmark of drawn squares, and runs whose answers are drawn.

``bench`` gives the squares to the real command by --include; ``make_run`` makes runs over a small micro world, told
how well a model sees and how ready it is to say yes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.special import ndtr

from harness import micro, registry
from harness.asking import engine, evaluate
from harness.journal import Journal
from harness.micro.folder import Sizes
from harness.records import Record
from harness.store import Run
from harness.types import Answer, Failure, Sample, Task

TASK = '''"""Squares: is the square red? Which colour is it?"""

from harness.metrics import ratio
from harness.registry import lvlm, task
from harness.types import Answer, Failure, Sample, Task


class Squares(Task):
    metrics = {"accuracy": ratio("right", "n")}
    headline = "accuracy"

    def names(self):
        folder = self.data / "squares"
        if not folder.is_dir():
            from harness.errors import DataError

            raise DataError(f"{folder} is missing")
        return sorted(folder.glob("*.png"))


@task("red")
class Red(Squares):
    """Is the square red?"""

    mode = "generate"

    def samples(self):
        for path in self.names():
            for n, prompt in enumerate(("Is it red?", "Is it blue?", "Is it red?")):
                truth = ("red", "blue", "red")[n] in path.name
                yield Sample(f"{path.stem}-{n}", path, "Yes" if truth else "No", prompt=prompt, group=f"ask/{n}")

    def count(self, sample, answer):
        return {"n": 1, "right": float(answer.text == sample.target)}

    def floors(self):
        return {"always yes": Answer("Yes")}


@task("colour")
class Colour(Squares):
    """Which colour is the square?"""

    mode = "rank"

    def samples(self):
        for path in self.names():
            yield Sample(path.stem, path, "0", texts=(path.name[:3], "a tree", "a car"))

    def count(self, sample, answer):
        return {"n": 1, "right": float(answer.scores[0] > max(answer.scores[1:]))}


class Eye:
    """Looks at the middle pixel. Every answer is written to asked.txt; fails where the prompt says so."""

    def __init__(self, spec):
        self.spec, self.options = spec.text, spec.options

    def __call__(self, encoder):
        return self

    def answers(self, asked):
        for one in asked:
            for sample in one.samples:
                with open(self.options["log"], "a") as log:
                    log.write(sample.id + "\\n")
                if sample.id.startswith(self.options.get("fail", "-")):
                    yield sample, Failure("the server said 500")
                    continue
                if sample.id.startswith(self.options.get("stop", "-")):
                    raise KeyboardInterrupt
                red = one.image is not None and one.image.getpixel((4, 4))[0] > 128
                said = "Yes" if red == ("red" in sample.prompt) else "No"
                yield sample, Answer(said, p_yes=float("nan") if self.options.get("nan") else 0.75)

    def render(self, prompt):
        return "USER: " + prompt

    def digests(self):
        return {"tower": self.options.get("weights", "eye")}

    def describe(self):
        return {"decoding": self.options.get("decoding", "greedy")}


@lvlm("eye")
def eye(spec, place):
    """Sees red."""
    return Eye(spec)
'''


class Bench:
    """A data folder with six squares, a plugin folder, and the words that name both."""

    def __init__(self, root: Path) -> None:
        self.root, self.data, self.plugin, self.results = root, root / "data", root / "plugin", root / "results"
        self.log = root / "asked.txt"
        (self.data / "squares").mkdir(parents=True)
        self.plugin.mkdir()
        (self.plugin / "squares_plugin.py").write_text(TASK)
        for n in range(6):
            colour = ("red", "blue")[n % 2]
            image = Image.new("RGB", (8, 8), colour)
            image.putpixel((0, 0), (n, 0, 0))
            image.save(self.data / "squares" / f"{colour}{n}.png")

    def words(self, **options: str) -> list[str]:
        """``run`` on the squares with the eye, whose options these are."""
        keys = "&".join(f"{key}={value}" for key, value in {"log": str(self.log), **options}.items())
        folders = ["--data", str(self.data), "--results", str(self.results), "--include", str(self.plugin)]
        return ["run", "--lvlm", f"eye?{keys}", "-t", "red", *folders]

    def asked(self) -> list[str]:
        """The ids the eye was asked, in order, since the last call."""
        lines = self.log.read_text().split() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines

    def records(self) -> Path:
        """The one run's records of the task red."""
        return next(self.results.glob("*/red/records.jsonl"))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A benchmark of six squares in a folder of its own."""
    return Bench(tmp_path)


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
        tasks = [evaluate.open_task(task, world) for task in more.get("tasks", TASKS)]
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
                "floors": evaluate.floor_values(asked) if task.mode == "generate" else {},
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
    return evaluate.open_task(task, world)
