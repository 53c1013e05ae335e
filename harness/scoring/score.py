"""Score answers that any tool has written, without a model: the task's own counting, with intervals."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

from harness import registry
from harness.errors import UsageError
from harness.records import Record
from harness.scoring import answers, doubts, reply
from harness.scoring.matching import match
from harness.scoring.scored import Scored
from harness.types import Answer, Sample, Task


def make_task(text: str, data: Path, rules: str = "official", **options: str) -> Task:
    """The task of this spec (``pope?source=flickr``) under these rules; UsageError where it has none such."""
    spec = registry.parse_spec(text)
    cls = registry.find(registry.tasks, spec.name, "task")
    known = getattr(cls, "rule_sets", ())
    if not known:
        scorable = [name for name, task in sorted(registry.tasks.items()) if getattr(task, "rule_sets", ())]
        raise UsageError(f"answers to {spec.name} cannot be scored from a file; those to {', '.join(scorable)} can")
    if rules not in known:
        raise UsageError(f"{spec.name} has the rules {', '.join(known)}, not '{rules}'")
    parameters = [name for name in inspect.signature(cls).parameters if name not in ("data", "rules")]
    asked = {**spec.options, **{key: value for key, value in options.items() if value}}
    for key in asked:
        if key not in parameters:
            raise UsageError(f"{spec.name} has no option '{key}'; it knows {', '.join(parameters) or 'none'}")
    made = cls(data, rules=rules, **asked)  # type: ignore[call-arg]
    made.spec = spec.name + ("?" + urlencode(asked) if asked else "")
    return made


def score(task: Task, path: Path, repeats: bool = False, field: str = "") -> Scored:
    """This file's answers, matched to the task's questions and counted; ``field`` names the one that holds them."""
    plain: Task | None = getattr(task, "as_published", lambda: None)()
    if plain is None:
        return _scored(task, path, repeats, field)
    return corrected(_scored(plain, path, repeats, field), task)


def _scored(task: Task, path: Path, repeats: bool, field: str) -> Scored:
    samples = task.every()
    file = answers.read(path)
    matched = match(file, task, samples, repeats)
    replies, told = reply.replies(file, matched.pairs, field)
    doubts.refuse_counted_rows(file, matched.pairs, replies, samples)
    told += [f"{path}: {one}" for one in doubts.unread(task, matched.pairs, replies)]
    rows = [(sample, given.p_yes, one) for (given, sample), one in zip(matched.pairs, replies, strict=True)]
    said = [(sample, Answer(one.text, p_yes)) for sample, p_yes, one in rows if one.failed is None]
    on_list = {sample.id for sample in samples}
    return Scored(
        task=task,
        path=path,
        format=file.format,
        samples=samples,
        asked=[sample for sample, _ in said],
        replies=[answer for _, answer in said],
        failed=len(rows) - len(said),
        off_list=sum(sample.id not in on_list for sample, _ in said),
        records=[_record(task, sample, answer) for sample, answer in said],
        remarks=[*matched.remarks, *told],
    )


def corrected(published: Scored, task: Task) -> Scored:
    """The same answers by corrected labels; those to questions that the correction leaves out count nowhere."""
    samples = task.every()
    by_id = {sample.id: sample for sample in samples}
    pairs = zip(published.asked, published.replies, strict=True)
    kept = [(by_id[sample.id], reply) for sample, reply in pairs if sample.id in by_id]
    return Scored(
        task=task,
        path=published.path,
        format=published.format,
        samples=samples,
        asked=[sample for sample, _ in kept],
        replies=[reply for _, reply in kept],
        failed=published.failed,
        off_list=0,
        records=[_record(task, sample, reply) for sample, reply in kept],
        remarks=[*published.remarks, *(f"{published.path}: {remark}" for remark in task.remarks())],
        published=published,
    )


def joined(name: str, parts: Sequence[Scored], repeats: bool = False) -> Scored:
    """The answers of one model that lie in several files; UsageError where two answer the same question."""
    times = Counter(sample.id for part in parts for sample in part.asked)
    twice = next((id for id, n in times.items() if n > 1), None)
    if len(parts) > 1 and twice is not None and not repeats:
        files = ", ".join(str(part.path) for part in parts)
        raise UsageError(f"{files} are not the parts of one model: more than one answers the question {twice}")
    own = [part.published for part in parts if part.published]
    return Scored(
        published=joined(name, own, repeats) if own else None,
        task=parts[0].task,
        path=Path(name),
        format=" + ".join(dict.fromkeys(part.format for part in parts)),
        samples=parts[0].samples,
        asked=[sample for part in parts for sample in part.asked],
        replies=[answer for part in parts for answer in part.replies],
        failed=sum(part.failed for part in parts),
        off_list=sum(part.off_list for part in parts),
        records=[record for part in parts for record in part.records],
        remarks=[remark for part in parts for remark in part.remarks],
    )


def again(scored: Scored, task: Task) -> Scored:
    """The same answers under another task's rules."""
    pairs = zip(scored.asked, scored.replies, strict=True)
    records = [_record(task, sample, reply) for sample, reply in pairs]
    names = ("path", "format", "samples", "asked", "replies", "remarks", "published")
    kept = {name: getattr(scored, name) for name in names}
    return Scored(task=task, failed=scored.failed, off_list=scored.off_list, records=records, **kept)


def _record(task: Task, sample: Sample, reply: Answer) -> Record:
    image = sample.image.name if sample.image else sample.id
    return Record(sample.id, image, sample.group, "", "", reply, task.count(sample, reply))
