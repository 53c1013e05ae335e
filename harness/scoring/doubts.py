"""What speaks against a whole file of answers, once each is read: ids that count rows, words that no rule reads."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness import yes_no
from harness.scoring.answers import AnswerFile, Given
from harness.scoring.reply import Reply
from harness.types import Answer, Sample, Task

_WORD = re.compile(r"\W*(yes|no)\W*", re.IGNORECASE)
MANY = 0.05
"""From this share on, answers that are read as the opposite of the only word in them are remarked upon."""


def refuse_counted_rows(
    file: AnswerFile, pairs: Sequence[tuple[Given, Sample]], found: Sequence[Reply], samples: Sequence[Sample]
) -> None:
    """UsageError where every caption is a bare yes or no: its id, counted from 1, is not that of its question.

    Not where every sample of the task is answered, by a model that always says the same.
    """
    captions = [
        (given, sample, one)
        for (given, sample), one in zip(pairs, found, strict=True)
        if sample.target not in ("yes", "no") and one.failed is None and not sample.texts
    ]
    if file.format == "ohd-bench" or not captions or len({sample.id for _, sample in pairs}) >= len(samples):
        return
    asked = [sample.id for sample in samples if sample.target in ("yes", "no")]
    if asked and all(_WORD.fullmatch(one.text) for *_, one in captions):
        given, sample, _ = captions[0]
        raise file.wrong(
            given,
            f"{sample.prompt.partition(chr(10))[0]!r:.60} is asked under this id, and each of the {len(captions)} "
            f"captions is a bare yes or no; yes-no questions have the ids {asked[0]} to {asked[-1]}: "
            "write these, or add 'image' and 'question' to each answer",
        )


def unread(task: Task, pairs: Sequence[tuple[Given, Sample]], found: Sequence[Reply]) -> list[str]:
    """What to say of answers to yes-no questions that hold neither word, or are read as the other one."""
    asked = [
        (sample, one.text)
        for (_, sample), one in zip(pairs, found, strict=True)
        if sample.target in ("yes", "no") and one.failed is None
    ]
    words = [(sample, text, yes_no.READINGS["vlmevalkit"](text)) for sample, text in asked]
    told = []
    neither = sum(word is None and not re.search(r"\b(yes|no|not)\b", text, re.IGNORECASE) for _, text, word in words)
    if 2 * neither > len(asked):
        told.append(
            f"{neither} of {len(asked)} answers to yes-no questions hold neither word; each rule makes its own of it"
        )
    turned = sum(word is not None and not _counts_as(task, sample, text, word) for sample, text, word in words)
    if turned > MANY * len(asked):
        told.append(
            f"{turned} of {len(asked)} answers do not count as the only word of yes and no in them; "
            "is there a mark, a prompt or a line break before it?"
        )
    return told


def _counts_as(task: Task, sample: Sample, text: str, word: yes_no.Said) -> bool:
    return bool(task.count(sample, Answer(text)).get(f"said_{word}", 1))
