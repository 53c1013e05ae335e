"""Zero-shot classification: has a fine-tuned encoder forgotten what it could tell apart?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from harness.errors import DataError, UsageError
from harness.metrics import Metric, ratio
from harness.registry import task
from harness.types import Answer, Counts, Sample, Task

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".ppm"}
TEMPLATE = "a photo of a {}."


@task("zero-shot")
class ZeroShot(Task):
    """The share of images whose class name is more similar than every other's: what fine-tuning must not lose.

    Reads class folders, ``zero_shot/CLASS/*.jpg`` or ``zero_shot/SET/CLASS/*.jpg`` (the set is the group). The caption
    is ``zero_shot/template.txt``, or "a photo of a {}."; an underscore in a folder's name reads as a space.
    """

    mode, headline = "rank", "top1"
    metrics: ClassVar[Mapping[str, Metric]] = {"top1": ratio("right", "n"), "top5": ratio("right5", "n")}

    def __init__(self, data: Path, template: str = "") -> None:
        super().__init__(data)
        if template and "{}" not in template:
            raise UsageError(f"zero-shot: the template '{template}' has no {{}} for the class")
        self._given = template
        self.template = cache(self._read_template)

    def _read_template(self) -> str:
        path = self.data / "zero_shot" / "template.txt"
        return self._given or (path.read_text(encoding="utf-8").strip() if path.is_file() else TEMPLATE)

    def samples(self) -> Iterator[Sample]:
        """One sample an image; its texts are the captions of all classes of its set."""
        root = self.data / "zero_shot"
        if not root.is_dir():
            raise DataError(f"{root} is missing; it holds a folder of images for each class")
        for name, folder in _sets(root):
            classes = [path.name for path in _folders(folder)]
            texts = tuple(self.template().replace("{}", one.replace("_", " ")) for one in classes)
            for n, one in enumerate(classes):
                for image in sorted(path for path in (folder / one).iterdir() if path.suffix.lower() in PICTURES):
                    yield Sample(image.relative_to(root).as_posix(), image, str(n), texts=texts, group=name)

    def count(self, sample: Sample, answer: Answer) -> Counts:
        """Right where the class is strictly first; ties count against the model."""
        scores = answer.scores or ()
        own = scores[int(sample.target)]
        as_good = sum(score >= own for score in scores)
        return {"n": 1.0, "right": float(as_good == 1), "right5": float(as_good <= 5)}

    def rules(self) -> Mapping[str, Any]:
        """The version; the template is part of the texts asked."""
        return {"version": self.version}


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _sets(root: Path) -> list[tuple[str, Path]]:
    """The sets below the folder, by name; the folder itself, nameless, where it holds the classes."""
    nested = [path for path in _folders(root) if _folders(path)]
    return [(path.name, path) for path in nested] if nested else [("", root)]
