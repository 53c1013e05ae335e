"""Ask a model every question of a task that has no answer yet, and keep the answers."""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness import digest
from harness.asking import ask as asking
from harness.asking import batches, opening, replies
from harness.asking.opening import See
from harness.asking.shards import Shard
from harness.errors import DegenerateError
from harness.images import image_digest, open_image
from harness.records import Record, latest
from harness.store import Run, records_files
from harness.types import Answer, Failure, Sample, Task

Progress = Callable[[int], None]

GONE = Failure("no longer part of the data")


@dataclass(frozen=True)
class Questions:
    """A task's samples as one run asks them, with the digests that identify them."""

    task: Task
    samples: tuple[Sample, ...]
    digest: str
    rules: str
    labels: Mapping[Path, str]
    shard: Shard | None = None
    """The share of the batches that is to be asked; None is all."""
    lent: frozenset[str] = frozenset()
    """Samples that a shard leaves to another task of the run, which asks the very same."""

    def counted_by(self, sample: Sample) -> str:
        """The digest of how this sample's answer is counted: the task's rules and the right answer."""
        return _counted_by(self.rules, sample.target, sample.group)

    @property
    def images(self) -> set[Path]:
        """Every image that is to be seen."""
        return {sample.image for sample in self.samples if sample.image is not None}


@functools.lru_cache(maxsize=10_000)
def _counted_by(rules: str, target: str, group: str) -> str:
    return digest.of_json([rules, target, group])[:12]


def questions(task: Task, samples: Iterable[Sample]) -> Questions:
    """These samples of a task, with the digest of what is asked and of the rules that count it."""
    chosen = tuple(samples)
    asked = [
        [
            s.id,
            s.image.name if s.image else None,
            s.target,
            s.prompt,
            s.texts,
            s.group,
            *filter(None, (s.parts, s.templates)),
        ]
        for s in chosen
    ]
    labels = _labels({sample.image for sample in chosen if sample.image is not None})
    return Questions(task, chosen, digest.of_json(asked), digest.of_json([task.name, task.rules()])[:12], labels)


def sharded(every: Sequence[Questions], shard: Shard) -> list[Questions]:
    """The same of this shard. What a task before asks as well is left to the run, which lends the answer it has then.

    Asked here, in other company, it could come out with other last digits than lent.
    """
    seen: set[str] = set()
    found = []
    for one in every:
        said = {sample.id: _said(sample) for sample in one.samples}
        lent = frozenset(id for id, what in said.items() if what in seen)
        seen |= set(said.values())
        found.append(replace(one, shard=shard, lent=lent))
    return found


def _said(sample: Sample) -> str:
    """All that two samples must have in common for one answer to do for both."""
    image = image_digest(sample.image) if sample.image and sample.image.is_file() else str(sample.image)
    told = [sample.prompt, sample.texts, sample.tokens, sample.until, sample.parts, sample.mean, sample.templates]
    return digest.of_json([image, *told])


def _labels(images: Iterable[Path]) -> dict[Path, str]:
    """What each image is called in records: its file name, with its folder where two files share the name."""
    every = sorted(images)
    named = Counter(path.name for path in every)
    return {path: path.name if named[path.name] == 1 else f"{path.parent.name}/{path.name}" for path in every}


def limited(samples: Iterable[Sample], images: int, seed: int) -> list[Sample]:
    """The samples of this many images, drawn by seed (all where images is 0). Never the first N."""
    every = list(samples)
    if not images:
        return every
    names = sorted({str(sample.image) for sample in every})
    kept = set(random.Random(f"{seed}/images").sample(names, min(images, len(names))))
    return [sample for sample in every if str(sample.image) in kept]


@dataclass(frozen=True)
class Identity:
    """What makes an answer, the sample aside: the model's digests and settings, and how a prompt is rendered."""

    model: Mapping[str, Any]
    render: Callable[[str], str] = str
    view: str = ""

    def key(self, sample: Sample) -> str:
        """The digest of all that makes this sample's answer."""
        seen = image_digest(sample.image) if sample.image else None
        said = [self.render(sample.prompt) if sample.prompt else "", sample.texts, sample.tokens, sample.until]
        said += [sample.parts, sample.mean] if sample.parts else []
        said += [sample.templates] if sample.templates else []
        return self._begun(seen, said)[:24]

    @functools.cached_property
    def _begun(self) -> Callable[..., str]:
        """The digest of these and what follows: the model is written out once for all samples."""
        return digest.continued([self.model, self.view])


@dataclass(frozen=True)
class Progressed:
    """How a task of a run stands."""

    expected: int
    scored: int
    failed: int
    first_failure: str = ""


def answer(
    run: Run, asked: Questions, model: Identity, ask: asking.Ask, tick: Progress = lambda n: None, see: See = open_image
) -> Progressed:
    """Ask what has no answer yet, append each answer as it comes, and say how the task stands.

    Samples that ask the same thing of the same image are asked once. A sample that fails is kept as failed, and asked
    again by the next call. DegenerateError where scores are not finite, or a ranker cannot tell any two texts apart.
    """
    path = run.records_path(asked.task.name)
    keys = _keys(asked, model)
    before = run.known(asked.task.name, keys)
    by_id = {sample.id: sample for sample in asked.samples}
    kept = {id: r for id, r in before.items() if keys.get(id) == r.key and _answers(by_id[id], r.reply)}
    ours = _share(asked, keys, ask.batch)
    own = before if asked.shard is None else latest(path)  # what a shard did not answer is not its own to write
    gone = [replace(r, reply=GONE) for id, r in own.items() if id not in keys and r.reply != GONE]
    with run.adding(asked.task.name) as journal:
        journal.append([*_recounted(asked, {id: r for id, r in kept.items() if id in own}), *gone])
        due = ours - kept.keys()
        tick(len(ours) - len(due))
        if due:
            lent = _lent(run, asked, keys, due)
            journal.append(lent)
            tick(len(lent))
            due -= {record.id for record in lent}
        for records, batch_ends in _asked(due, asked, keys, ask, see):
            journal.append(records, batch_ends)
            tick(len(records))
    _refuse_constant(asked, path)
    return standing(run, asked, keys, ours)


def settled(run: Run, asked: Questions, model: Identity) -> Progressed | None:
    """How a task of a run stands where every sample has its answer, counted as now; None where anything is left to do.

    It is what ``answer`` would find without asking, and needs the model's identity alone.
    """
    keys = _keys(asked, model)
    known = run.known(asked.task.name, keys)
    if any(id not in keys and record.reply != GONE for id, record in known.items()):
        return None
    for sample in asked.samples:
        record = known.get(sample.id)
        if record is None or record.key != keys[sample.id] or not _answers(sample, record.reply):
            return None
        if not record.sealed or record.rules != asked.counted_by(sample):
            return None
    return Progressed(len(asked.samples), len(asked.samples), 0)


def expected(asked: Questions, model: Identity, size: int) -> int:
    """How many samples are to be answered, ``size`` images in a batch: all, or those of the shard."""
    return len(asked.samples) if asked.shard is None else len(_share(asked, _keys(asked, model), size))


def to_ask(asked: Questions, model: Identity, size: int, known: set[str]) -> list[Sample]:
    """What is asked of a model for these questions, ``size`` images in a batch, where ``known`` keys have an answer.

    The keys of these are known after it: a later task that asks the same takes their answers.
    """
    keys = _keys(asked, model)
    questions = [samples[0] for samples in _same(asked, keys)]
    due = {sample.id for sample in questions if keys[sample.id] not in known}
    known.update(filter(None, keys.values()))
    return [sample for _, image in batches.dealt(questions, due, size) for sample in image]


def _keys(asked: Questions, model: Identity) -> dict[str, str]:
    return {sample.id: model.key(sample) if _there(sample) else "" for sample in asked.samples}


def _share(asked: Questions, keys: Mapping[str, str], size: int) -> set[str]:
    """The ids of all samples, or of those that the shard is to answer."""
    same = _same(asked, keys)
    first = [samples[0] for samples in same]
    mine = {sample.id for sample in first} if asked.shard is None else asked.shard.share(first, keys, size)
    return {sample.id for samples in same if samples[0].id in mine for sample in samples} - asked.lent


def _same(asked: Questions, keys: Mapping[str, str]) -> list[list[Sample]]:
    """The samples that ask the very same together, in the order of the first of each."""
    found: dict[str, list[Sample]] = {}
    for sample in asked.samples:
        found.setdefault(keys[sample.id] or f"missing {sample.id}", []).append(sample)
    return list(found.values())


def _lent(run: Run, asked: Questions, keys: Mapping[str, str], due: set[str]) -> list[Record]:
    """Answers that another task of this run has to the very same question: nothing is asked twice of one model."""
    paths = (path for source in run.sources() for path in records_files(source))
    others = [path for path in paths if path.parent.name != asked.task.name]
    known = {r.key: r.reply for path in others for r in latest(path).values() if r.scored}
    return [
        _record(asked, sample, known[keys[sample.id]], keys[sample.id])
        for sample in asked.samples
        if sample.id in due and keys[sample.id] in known
    ]


def standing(run: Run, asked: Questions, keys: Mapping[str, str], expected: set[str]) -> Progressed:
    """How many of the expected samples have an answer under these keys, and how many failed."""
    known = run.known(asked.task.name, keys)
    ours = [r for id, r in known.items() if id in expected and keys.get(id) == r.key]
    failures = [record.reply.reason for record in ours if isinstance(record.reply, Failure)]
    scored = sum(record.scored for record in ours)
    return Progressed(len(expected), scored, len(failures), failures[0][:300] if failures else "")


def _answers(sample: Sample, reply: Answer | Failure) -> bool:
    """Whether this reply answers the sample: words, or a score for each of its texts."""
    if isinstance(reply, Failure):
        return False
    return len(reply.scores or ()) == len(sample.texts) if sample.texts else reply.text is not None


def _there(sample: Sample) -> bool:
    return sample.image is None or sample.image.is_file()


def _recounted(asked: Questions, kept: dict[str, Record]) -> list[Record]:
    """Kept answers whose counts were made by other rules, or carry no seal and are not what the answer counts."""
    by_id = {sample.id: sample for sample in asked.samples}
    stale = [r for id, r in kept.items() if not r.sealed or r.rules != asked.counted_by(by_id[id])]
    anew = [_record(asked, by_id[record.id], record.reply, record.key) for record in stale]
    return [new for new, old in zip(anew, stale, strict=True) if new != old]


def _record(asked: Questions, sample: Sample, reply: Answer | Failure, key: str) -> Record:
    if isinstance(reply, Answer):
        reply = _brief(reply)
    counts = asked.task.counted(sample, reply) if isinstance(reply, Answer) else {}
    image = asked.labels[sample.image] if sample.image else sample.id
    return Record(sample.id, image, sample.group, key, asked.counted_by(sample), reply, counts)


def _brief(reply: Answer) -> Answer:
    """The same answer with each number as the shortest decimal of its float32: half the bytes, and no order changed."""
    scores = None if reply.scores is None else tuple(float(str(score)) for score in np.array(reply.scores, np.float32))
    p_yes = None if reply.p_yes is None else float(str(np.float32(reply.p_yes)))
    return Answer(reply.text, p_yes, scores)


def _asked(
    due: set[str], asked: Questions, keys: Mapping[str, str], ask: asking.Ask, see: See
) -> Iterator[tuple[list[Record], bool]]:
    """The records of each reply, as they come: one for every sample that asks the same and is due.

    With them whether they are the last of their batch.
    """
    same = _same(asked, keys)
    first = {samples[0].id: [twin for twin in samples if twin.id in due] for samples in same}
    questions = [samples[0] for samples in same]
    dealt = list(batches.dealt(questions, {id for id, twins in first.items() if twins}, ask.batch))
    batch_of = {sample.id: batch for batch, samples in dealt for sample in samples}
    open_samples = Counter(batch_of.values())
    for sample, reply in replies.sound(opening.replies(ask, dealt, see), batch_of, asked.task.name):
        open_samples[batch_of[sample.id]] -= 1
        yield (
            [_record(asked, twin, reply, keys[twin.id]) for twin in first[sample.id]],
            not open_samples[batch_of[sample.id]],
        )


def _refuse_constant(asked: Questions, path: Path) -> None:
    """A ranker that gives every text of every sample the same score cannot rank."""
    ranked = [r.reply.scores for r in latest(path).values() if isinstance(r.reply, Answer) and r.reply.scores]
    if len(ranked) >= 2 and all(max(scores) == min(scores) for scores in ranked):
        raise DegenerateError(f"{asked.task.name}: all {len(ranked)} samples give every text the same score")
