"""``parrot``: always the same answer, whatever is asked. What it scores is the floor of a task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from harness import digest, registry
from harness.errors import UsageError
from harness.types import LVLM, Answer, Asked, Encoder, LvlmHost, Place, Reply, Spec

WORDS = {"yes": Answer(text="Yes", p_yes=1.0), "no": Answer(text="No", p_yes=0.0)}


@registry.lvlm("parrot", files=lambda spec: ())
def parrot(spec: Spec, place: Place) -> LvlmHost:
    """An LVLM that says yes to everything; ``parrot:no`` says no."""
    registry.no_more_options(spec)
    word = spec.location or "yes"
    if word not in WORDS:
        raise UsageError(f"'{spec.text}': a parrot says yes or no: write parrot or parrot:no")

    def host(encoder: Encoder | None) -> LVLM:
        return Parrot(spec.text, WORDS[word])

    return host


class Parrot:
    """One answer for every question and every picture, whichever encoder it is given."""

    def __init__(self, spec: str, answer: Answer) -> None:
        self.spec, self.answer = spec, answer

    def answers(self, asked: Iterable[Asked]) -> Iterator[Reply]:
        """The same reply for every sample."""
        for one in asked:
            for sample in one.samples:
                yield sample, self.answer

    def render(self, prompt: str) -> str:
        """The prompt, unread."""
        return prompt

    def digests(self) -> Mapping[str, str]:
        """The digest of the one answer."""
        return {"language_model": digest.of_json(self.answer.text)}

    def describe(self) -> Mapping[str, Any]:
        """What it says."""
        return {"says": self.answer.text}
