"""A small benchmark of drawn squares, given to the real command by --include."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

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
