"""CHAIR: captions of COCO images, and the objects in them that are not there."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

from harness import digest
from harness.errors import BrokenDataError, DataError, UsageError
from harness.images import find
from harness.metrics import Metric, divide, f1, ratio
from harness.registry import task
from harness.rows import json_of, object_of, shown
from harness.types import Answer, Counts, Sample, Task
from tasks.chair.objects import Vocabulary, by_lemma, by_pattern

WORDS = {"official": by_lemma, "strict": by_lemma, "original": by_pattern}
WORD_FILES = ("chair_vocab.json", "coco_imid_to_objects_nltk.json")
UNFINISHED = ("keep", "drop")
BUDGETS = ("512", "64")


def _chair_f1(totals: Any) -> Any:
    precision = divide(totals["named_true"], totals["named"])
    return f1(precision, divide(totals["named_true"], totals["objects"]))


@task("chair")
class Chair(Task):
    """How many captions, and how many mentions, name an object that is not in the image (arXiv 1809.02156).

    ``rules`` is official (NLTK lemmas) or original (Pattern's singulars); ``tokens`` 512 or 64; ``unfinished`` keep or
    drop: the last sentence where the budget cut it; ``images`` is adaiat-500 or a JSON list of COCO image ids.
    """

    mode, headline = "generate", "CHAIRs"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "CHAIRs": ratio("hallucinated", "captions", better="lower"),
        "CHAIRi": ratio("invented", "mentions", better="lower"),
        "recall": ratio("named_true", "objects"),
        "precision": ratio("named_true", "named"),
        "f1": Metric(_chair_f1),
        "length": ratio("words", "captions", better="neither", scale=1.0),
    }
    summary = (("", "CHAIRs"), ("", "CHAIRi"), ("", "recall"), ("", "f1"))
    rule_sets: ClassVar[tuple[str, ...]] = tuple(WORDS)

    def __init__(
        self,
        data: Path,
        rules: str = "official",
        tokens: str = "512",
        unfinished: str = "keep",
        images: str = "adaiat-500",
    ) -> None:
        super().__init__(data)
        for value, known in ((rules, WORDS), (str(tokens), BUDGETS), (unfinished, UNFINISHED)):
            if value not in known:
                raise UsageError(f"chair does not know '{value}'; there is {', '.join(known)}")
        self._rules, self._tokens, self._unfinished, self._list = rules, int(tokens), unfinished, images

    @property
    def root(self) -> Path:
        """Where CHAIR's files lie."""
        return self.data / "chair"

    @cached_property
    def image_ids(self) -> Sequence[int]:
        """The COCO images that are asked about."""
        own = self.root / "images.json"
        if self._list == "adaiat-500" and not own.is_file():
            return json.loads(resources.files("tasks.chair").joinpath("adaiat-500.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]
        path = own if self._list == "adaiat-500" else Path(self._list)
        if not path.is_file():
            raise UsageError(
                f"no list of images is called '{self._list}'; there is adaiat-500, or a JSON file of COCO ids"
            )
        return _image_ids(path)

    @cached_property
    def _objects(self) -> Mapping[str, Sequence[str]]:
        path = self.root / "coco_imid_to_objects_nltk.json"
        found = object_of(path)
        known = self._vocabulary.names
        for id, names in found.items():
            if not id.isdecimal():
                raise BrokenDataError(f"{path}: '{id[:40]}' is no COCO image's number")
            if not isinstance(names, list) or not all(isinstance(name, str) and name in known for name in names):
                raise BrokenDataError(
                    f"{path}: image {id} shows {shown(names)}; right would be a list of COCO's objects"
                )
        return found

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(self.root / "chair_vocab.json")

    def samples(self) -> Iterator[Sample]:
        """One caption for each image of the list."""
        for id in self.image_ids:
            yield self.sample(str(id))

    def sample(self, id: str) -> Sample:
        """The question about this COCO image, whether it is on the list or not; DataError where it has no objects."""
        if id not in self._objects:
            raise DataError(f"{self.root}: image {id} has no objects in coco_imid_to_objects_nltk.json")
        nested = [at / "val2014" for at in (self.root, self.data / "images", self.data / "pope", self.data)]
        image = find(f"COCO_val2014_{int(id):012d}.jpg", self.root / "images", *nested, self.data / "images")
        objects = ", ".join(sorted(self._objects[id]))
        return Sample(id, image, objects, prompt="Please describe this image in detail.", tokens=self._tokens)

    def count(self, sample: Sample, answer: Answer) -> Counts:
        """The objects the caption names against those in the image."""
        assert answer.text is not None, "CHAIR asks for words"
        caption = _finished(answer.text) if self._unfinished == "drop" else answer.text
        mentions = self._vocabulary.objects(WORDS[self._rules](caption))
        there = set(self._objects[sample.id])
        invented = sum(name not in there for name in mentions)
        return {
            "captions": 1,
            "hallucinated": int(invented > 0),
            "mentions": len(mentions),
            "invented": invented,
            "objects": len(there),
            "named": len(set(mentions)),
            "named_true": len(set(mentions) & there),
            "words": len(caption.split()),
        }

    def rules(self) -> Mapping[str, Any]:
        """How words are found, and whether an unfinished sentence counts."""
        return {
            "version": self.version,
            "rules": self._rules,
            "unfinished": self._unfinished,
            "images": self._list if self._list == "adaiat-500" else Path(self._list).name,
            "data": digest.of_json([digest.of_file(self.root / name) for name in WORD_FILES]),
            "images_digest": digest.of_json(list(self.image_ids)),
        }


def _image_ids(path: Path) -> list[int]:
    """The COCO images of a list, each once."""
    found = json_of(path)
    if not isinstance(found, list) or not found:
        raise BrokenDataError(f"{path} holds {shown(found)}; right would be a list of COCO images' numbers")
    if odd := [id for id in found if isinstance(id, bool) or not str(id).isdecimal()]:
        raise BrokenDataError(f"{path} holds {shown(odd[0])}; right would be a COCO image's number")
    ids = [int(id) for id in found]
    if twice := [id for id, times in Counter(ids).items() if times > 1]:
        raise BrokenDataError(f"{path} names image {twice[0]} twice")
    return ids


def _finished(caption: str) -> str:
    """The caption up to the end of its last whole sentence; all of it where none ends."""
    ends = [match.end() for match in re.finditer(r"[.!?][\"')\]]*(?=\s|$)", caption)]
    return caption[: ends[-1]] if ends else caption
