"""Runs that differ by seed alone: found, named, checked, and which of their trainings are one or the same."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from harness import digest
from harness.comparison.answer_sets import AnswerSet, find_run, of_run
from harness.errors import UsageError
from harness.kept_runs import runs, slug
from harness.registry import parse_spec
from harness.store import Run

TOWER = ("tower", "tower_asked")
"""The digests of an LVLM's parts that another training of the encoder changes."""
ALIGNED = ("projector", "adapter", "language_model")
"""Those that another alignment changes."""


@dataclass(frozen=True)
class Group:
    """Runs of one way of training: equal in all but seeds."""

    name: str
    sides: tuple[AnswerSet, ...]

    @property
    def trainings(self) -> list[Any]:
        """The seed of the encoder's training behind each run; None where it was not trained here.

        Trainings that came out as the same weights are one, whatever seeds they say: it goes by the first of these.
        """
        first: dict[str, Any] = {}
        return [first.setdefault(_made(side), _seed(side, "training")) for side in self.sides]

    @property
    def alignments(self) -> list[Any]:
        """The seed of the alignment behind each run; None where there was none."""
        return [_seed(side, "alignment") for side in self.sides]

    @property
    def given(self) -> bool:
        """Whether it is one model that nothing here has trained: it is what it is, and random by images alone."""
        return not any(seed is not None for seed in (*self.trainings, *self.alignments))

    def units(self) -> list[list[Hashable]]:
        """The training behind each run; and where trainings are crossed with alignments, also the alignment.

        An alignment made for one tower belongs to that tower: then trainings are the units, however many alignments
        each has. Without several trainings, alignments are.
        """
        several = [one for one in (self.trainings, self.alignments) if len(set(one)) > 1]
        if len(several) < 2:
            return several or [[0] * len(self.sides)]
        return several if self._crossed() else several[:1]

    def _crossed(self) -> bool:
        """Whether one and the same alignment reads the towers of several trainings."""
        towers: dict[str, set[Any]] = {}
        for side, training in zip(self.sides, self.trainings, strict=True):
            digests = (side.manifest.get("lvlm") or {}).get("digests") or {}
            towers.setdefault(str([digests.get(part) for part in ALIGNED]), set()).add(training)
        return len(towers) > 1 and any(len(one) > 1 for one in towers.values())

    def digests(self) -> set[str]:
        """The trainings themselves, by what came out."""
        return {_made(side) for side in self.sides if side.manifest.get("training")}


def _made(side: AnswerSet) -> str:
    """The digest of a run's encoder; its spec where none was noted."""
    encoder = side.manifest.get("encoder") or {}
    return str(encoder.get("digest") or encoder.get("spec"))


def _seed(side: AnswerSet, part: str) -> Any:
    return (side.manifest.get(part) or {}).get("seed")


def group(sides: Sequence[AnswerSet], name: str = "") -> Group:
    """These runs as one group; UsageError where they differ in more than seeds, or are one training several times."""
    for other in sides[1:]:
        if told := differing(sides[0].manifest, other.manifest):
            raise UsageError(f"{sides[0].name} and {other.name} are no group, they differ in more than seeds: {told}")
    found = Group(name or called(sides), tuple(sides))
    for side, seed in zip(sides, found.trainings, strict=True):
        if _seed(side, "training") != seed:
            raise UsageError(
                f"{side.name}: its training (seed {_seed(side, 'training')}) came out as the same weights as that of "
                f"seed {seed}: they are one training, not two; name one of them, or train with another seed"
            )
    if len(sides) > 1 and all(len(set(units)) == 1 for units in found.units()):
        seed = next((s for s in (*found.trainings, *found.alignments) if s is not None), None)
        which = "one model" if seed is None else f"one training (seed {seed})"
        raise UsageError(
            f"{' and '.join(side.name for side in sides)} are {which} asked {len(sides)} times: "
            "that says nothing of other trainings; name runs of other seeds"
        )
    return found


def settings(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Everything of a run that is no seed and follows from none, by dotted name."""
    training, alignment = manifest.get("training"), manifest.get("alignment")
    encoder, lvlm = dict(manifest.get("encoder") or {}), dict(manifest.get("lvlm") or {})
    about, digests = lvlm.get("describe") or {}, lvlm.get("digests") or {}
    dropped: tuple[str, ...] = TOWER if training else ()
    if alignment:
        dropped += ALIGNED
    elif training and about.get("align", "none") != "none":  # a closed form follows from the tower
        dropped += ("projector",)
    kept: dict[str, Any] = {
        "encoder": {"describe": encoder.get("describe")} | ({} if training else {"digest": encoder.get("digest")}),
        "training": {key: value for key, value in (training or {}).items() if key != "seed"},
        "alignment": (alignment or {}).get("settings"),
        "lvlm": {"describe": about, "digests": {k: v for k, v in digests.items() if k not in dropped}},
        **{key: manifest.get(key) for key in ("data", "control", "limit", "part", "seed")},
        "tasks": {name: _asked(entry) for name, entry in manifest.get("tasks", {}).items()},
    }
    return dict(_flat("", kept))


def _asked(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: entry.get(key) for key in ("samples_digest", "rules")}


def _flat(name: str, thing: Any) -> Iterable[tuple[str, Any]]:
    if not isinstance(thing, Mapping):
        yield name, thing
        return
    for key, value in thing.items():
        yield from _flat(f"{name}.{key}" if name else str(key), value)


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """What two runs differ in besides seeds, at most three things; empty where nothing.

    A task that only one was asked is no difference: what both were asked is compared.
    """
    first, second = settings(one), settings(other)
    names = [name for name in sorted({*first, *second}) if first.get(name) != second.get(name)]
    names = [name for name in names if not name.startswith("tasks.") or (name in first and name in second)]
    told = [f"{name} is {_brief(first.get(name))} and {_brief(second.get(name))}" for name in names[:3]]
    return "; ".join([*told, *([f"and {len(names) - 3} more"] if len(names) > 3 else [])])


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"


def by_seed(results: Path) -> list[Group]:
    """Every finished run, runs that differ by seed alone together, each group under a name of its own; no controls."""
    kept = [(run, run.manifest()) for run in runs(results)]
    finished = [run for run, one in kept if one.get("control", "none") == "none" and one.get("status") == "complete"]
    return told_apart(together(finished))


def together(every: Iterable[Run]) -> list[Group]:
    """These runs, those that differ by seed alone in one group."""
    found: list[list[AnswerSet]] = []
    for side in map(of_run, every):
        theirs = next((sides for sides in found if not differing(sides[0].manifest, side.manifest)), None)
        if theirs is None:
            found.append([side])
        else:
            theirs.append(side)
    return [Group(called(sides), tuple(sides)) for sides in found]


def told_apart(found: Sequence[Group]) -> list[Group]:
    """The same groups, those that share a name with a mark of their settings."""
    names = [one.name for one in found]
    marks = [digest.of_json(settings(one.sides[0].manifest))[:4] for one in found]
    return [
        Group(one.name if names.count(one.name) == 1 else f"{one.name}~{mark}", one.sides)
        for one, mark in zip(found, marks, strict=True)
    ]


def called(sides: Sequence[AnswerSet]) -> str:
    """``encoder+lvlm@data`` of what the specs have in common; of a single run its id."""
    if len(sides) == 1:
        return sides[0].run.id if sides[0].run else sides[0].name
    models = [
        _common([side.manifest[part]["spec"] for side in sides])
        for part in ("encoder", "lvlm")
        if sides[0].manifest.get(part)
    ]
    return "+".join(models) + f"@{slug(str(sides[0].manifest.get('data', '')))}"


def model(sides: Sequence[AnswerSet], part: str) -> str:
    """The spec of these runs' encoders (or LVLMs), or what their specs share: ``clip:micro-ohd-*``."""
    specs = [side.manifest[part]["spec"] for side in sides if side.manifest.get(part)]
    if len(set(specs)) < 2:
        return "".join(specs[:1])
    return f"{parse_spec(specs[0]).name}:{_common(specs)}-*"


def _common(specs: Sequence[str]) -> str:
    """The words that specs of different seeds begin with: ``clip:runs/ohd-seed=0`` and ``…=1`` are ``ohd``."""
    if len(set(specs)) == 1:
        return slug(specs[0])
    parsed = [parse_spec(spec) for spec in specs]
    words = [Path(one.location).name.replace("=", "-").split("-") for one in parsed]
    shared = [each[0] for each in takewhile(lambda each: len(set(each)) == 1, zip(*words, strict=False))]
    while shared and shared[-1] in ("seed", "s"):
        shared = shared[:-1]
    return "-".join(shared) or parsed[0].name


def find(results: Path, name: str) -> Group | None:
    """The group of this name that has more than one run, if there is one."""
    return next((one for one in by_seed(results) if one.name == name and len(one.sides) > 1), None)


def opened(arms: Sequence[Sequence[str]], results: Path) -> list[Group]:
    """Each of these as a group: the runs named (by id, by encoder, or by the name of a group)."""
    found = []
    for words in arms:
        known = [find(results, word) or find_run(results, word) for word in words]
        sides = [side for one in known for side in (one.sides if isinstance(one, Group) else [of_run(one)])]
        if not sides:
            raise UsageError("compare BASE… -- TUNED…: there is no run on one side of --")
        found.append(group(sides, words[0] if isinstance(known[0], Group) and len(words) == 1 else ""))
    return told_apart(found)


def around(names: Sequence[str], results: Path) -> list[Group]:
    """The groups that hold the named runs, in this order (a group by its name too); every group where none is named."""
    every = by_seed(results)
    if not names:
        return every
    chosen = []
    for name in names:
        wanted = next((one for one in every if one.name == name), None)
        run = None if wanted else find_run(results, name)
        chosen.append(wanted or next((one for one in every if _holds(one, run)), None))
        if chosen[-1] is None:
            raise UsageError(f"{name} is a control or has not been finished; name a finished run")
    return list({one.name: one for one in chosen if one}.values())


def _holds(one: Group, run: Run | None) -> bool:
    return any(side.run and run and side.run.id == run.id for side in one.sides)
