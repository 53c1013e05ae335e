"""One scored file, and the differences between two, as plain JSON; what is not a number is null."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from harness import digest, stats, tallies, yes_no
from harness.metrics import Metric
from harness.scoring import published
from harness.scoring.scored import Scored
from harness.types import Sample, Task


def as_json(scored: Scored, strict: Scored | None, reference: str = "") -> dict[str, Any]:
    """All that ``score`` knows of one file, as plain JSON; what is not a number is null."""
    rules = scored.task.rules()
    official = rules.get("rules") == "official"
    paths = {group: path for group, path in scored.groups.items() if scored.named(path)}
    values = {g: {k: scored.value(p, m) for k, m in scored.named(p).items()} for g, p in paths.items()}
    intervals = {g: {k: scored.interval(p, m) for k, m in scored.named(p).items()} for g, p in paths.items()}
    rest = {key: metric for key, metric in _whole(scored).items() if key not in scored.named("")}
    name = scored.task.whole
    means = scored.means()
    whole = {name: _each(rest, lambda m: scored.value("", m)) | {k: value for k, (value, _) in means.items()}}
    spreads = {name: _each(rest, lambda m: scored.interval("", m)) | {k: spread for k, (_, spread) in means.items()}}
    for group in set(whole) & set(values):
        values[group] |= whole[group]
        intervals[group] |= spreads[group]
    return {
        "task": scored.task.name,
        "rules": rules.get("rules"),
        "n_expected": len(scored.samples),
        "n_scored": len(scored.records),
        "data_digest": data_digest(scored.samples, rules.get("data", "")),
        "synonyms": rules.get("synonyms"),
        "metrics": _plain(values, 1 if official else None),
        "intervals": _plain(intervals, 2),
        "n_failed": scored.failed,
        "n_on_list": len(scored.records) - scored.off_list,
        "n_off_list": scored.off_list,
        "n_missing": scored.missing,
        "file": str(scored.path),
        "format": scored.format,
        "synonyms_digest": rules.get("synonyms_digest"),
        "rules_digest": digest.of_json([scored.task.name, dict(rules)])[:12],
        "whole": _plain({group: held for group, held in whole.items() if held}, 1 if official else None),
        "whole_intervals": _plain({group: held for group, held in spreads.items() if held}, 2),
        "n": {group: scored.answered(path) for group, path in paths.items()},
        "strict": _plain(_values(strict), None) if strict else None,
        "published_labels": _plain(_values(scored.published), None) if scored.published else None,
        "signal": _plain(scored.signal(), None),
        "readings": _plain(scored.readings(), None),
        "floors": _plain(scored.floors(), 1 if official else None),
        "reference": published.beside(_spec(scored), reference, _joined(values, whole), _joined(intervals, spreads)),
    }


def _spec(scored: Scored) -> str:
    return scored.task.spec or scored.task.name


def _each(metrics: Mapping[str, Metric], of: Callable[[Metric], Any]) -> dict[str, Any]:
    return {name: of(metric) for name, metric in metrics.items()}


def _joined(groups: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    return {**groups, **{name: {**groups.get(name, {}), **values} for name, values in whole.items()}}


def _values(scored: Scored) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for group, path in scored.groups.items():
        metrics = scored.named(path) if path else _whole(scored)
        for key, metric in metrics.items():
            found.setdefault(group, {})[key] = scored.value(path, metric)
    found.setdefault(scored.task.whole, {}).update({name: value for name, (value, _) in scored.means().items()})
    return found


def _whole(scored: Scored) -> dict[str, Metric]:
    """Every metric of the whole, the signal aside."""
    return {key: metric for key, metric in scored.task.metrics_of("").items() if key not in yes_no.SIGNAL}


def _plain(thing: Any, digits: int | None) -> Any:
    """The same with plain floats, rounded where asked, and None for what is not a number."""
    if isinstance(thing, Mapping):
        return {key: _plain(value, digits) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [_plain(value, digits) for value in thing]
    if isinstance(thing, float):
        value = float(thing) if digits is None else round(float(thing), digits)
        return value + 0.0 if np.isfinite(value) else None  # minus zero is zero
    return thing


def data_digest(samples: Sequence[Sample], words: str) -> str:
    """SHA-256 over what is asked (ids, image names, prompts, truths, groups) and the words it is counted by."""
    asked = [[s.id, s.image.name if s.image else None, s.target, s.prompt, s.group] for s in samples]
    return digest.of_json([asked, words])


def compared(base: Scored, other: Scored) -> dict[str, Any]:
    """Other minus base on the questions both answered, and how many those are of each one's."""
    ids = [{record.id for record in one.records} for one in (base, other)]
    both = len(ids[0] & ids[1])
    return {
        "base": str(base.path),
        "candidate": str(other.path),
        "n_common": both,
        "n_only_base": len(ids[0]) - both,
        "n_only_candidate": len(ids[1]) - both,
        "metrics": differences(base, other),
    }


def differences(base: Scored, other: Scored) -> dict[str, dict[str, dict[str, float]]]:
    """Other minus base on the questions both answered, paired by image: group → metric → value, low, high, p.

    ``base_common`` and ``candidate_common`` are the values there, ``base`` and ``candidate`` those of all answers.
    """
    pairs = tallies.paired_tallies(base.records, other.records)
    drawn = stats.of_both(pairs)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for group, path in base.groups.items():
        if path not in pairs:
            continue
        metrics = {**(base.named(path) if path else {**base.named(path), **_whole(base)}), **_telling(base.task, path)}
        for name, (first, second, gap) in stats.compared(metrics, *pairs[path], drawn=drawn[path]).items():
            row = {"value": gap.value, "low": gap.low, "high": gap.high, "p": gap.p}
            row |= {"base": base.value(path, metrics[name]), "candidate": other.value(path, metrics[name])}
            row |= {"base_common": first.value, "candidate_common": second.value}
            found.setdefault(group, {})[name] = {key: _plain(float(value), None) for key, value in row.items()}
    return found


def _telling(task: Task, path: str) -> dict[str, Metric]:
    """Balanced accuracy beside accuracy: a gain in one without the other is a shift of bias."""
    every = task.metrics_of(path)
    return {name: every[name] for name in ("balanced_accuracy",) if name in every}
