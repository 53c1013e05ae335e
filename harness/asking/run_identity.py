"""What makes a run this run and no other: the digests that its name and the keys of its answers are made of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness import digest, packed
from harness.asking import engine
from harness.asking.retrieve import gallery_digest
from harness.errors import ModelError, UsageError
from harness.kept_runs import slug
from harness.store import Run
from harness.types import OF_ENCODERS, writable

if TYPE_CHECKING:
    from harness.asking.evaluate import RunPlan


AGREED = ("data", "control", "limit", "seed", "part")
"""What two folders of one run agree on, or are not one run; of the models, the digests."""


class OfEncoder(Protocol):
    """What an encoder is, loaded or not."""

    spec: str

    def digest(self) -> str:
        """SHA-256 over its tensors."""

    def describe(self) -> Mapping[str, Any]:
        """What else is part of its identity."""


class OfLvlm(Protocol):
    """What an LVLM is, loaded or not."""

    spec: str

    def digests(self) -> Mapping[str, str]:
        """SHA-256 by part."""

    def describe(self) -> Mapping[str, Any]:
        """What else is part of its identity."""

    def render(self, prompt: str) -> str:
        """The prompt as the model reads it."""


def identity(plan: RunPlan, encoder: OfEncoder | None, lvlm: OfLvlm | None) -> dict[str, Any]:
    """The manifest's entries that a run's name is a digest of, and the specs asked for."""
    digests = {one.task.name: one.digest for one in plan.questions}
    parts = {one.task: one.record() | {"samples_digest": digests.get(one.task, "")} for one in plan.parts}
    return {
        "encoder": {"spec": encoder.spec, **of_encoder(encoder)} if encoder else None,
        "lvlm": {"spec": lvlm.spec, **of_lvlm(lvlm)} if lvlm else None,
        "data": plan.data.name,
        "world": "micro" if plan.data.name == "micro" else "real",
        "control": plan.options.control,
        "limit": plan.options.limit,
        "seed": plan.options.seed if plan.options.limit or plan.options.control != "none" else None,
    } | ({"part": parts} if parts else {})


def of_encoder(encoder: OfEncoder) -> dict[str, Any]:
    """The digest of its weights, and what else decides what comes out of it."""
    return {
        "digest": _text(encoder.spec, "digest", encoder.digest()),
        "describe": _plain(encoder.spec, "describe", encoder.describe()),
    }


def of_lvlm(lvlm: OfLvlm) -> dict[str, Any]:
    """The digests of its parts, and what else decides its answers."""
    digests = _plain(lvlm.spec, "digests", lvlm.digests())
    return {
        "digests": {part: _text(lvlm.spec, "digests", told) for part, told in digests.items()},
        "describe": _plain(lvlm.spec, "describe", lvlm.describe()),
    }


def _text(spec: str, method: str, told: Any) -> str:
    if isinstance(told, str) and told and writable(told):
        return told
    raise ModelError(f"{spec}: {method}() gives {told!r:.60} for a digest; right would be a SHA-256, as text")


def _plain(spec: str, method: str, told: Any) -> dict[str, Any]:
    """The mapping as a manifest gives it back; ModelError where none can hold it."""
    try:
        written = json.dumps(dict(told), allow_nan=False, ensure_ascii=False).encode()
        return json.loads(written)  # type: ignore[no-any-return]
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{spec}: {method}() gives {told!r:.60}; right would be a mapping of what JSON holds, by name"
        ) from error


def of_answers(
    asked: engine.Questions, encoder: OfEncoder | None, lvlm: OfLvlm | None, control: str
) -> engine.Identity:
    """What makes this pair's answers to these questions, the questions aside."""
    if asked.task.mode in OF_ENCODERS:
        assert encoder is not None
        found = {"gallery": gallery_digest(asked.samples)} if asked.task.mode == "retrieve" else {}
        return engine.Identity(of_encoder(encoder) | found, view=control)
    assert lvlm is not None
    return engine.Identity(of_lvlm(lvlm), lvlm.render, view=control)


def entry(asked: engine.Questions, standing: engine.Progressed) -> dict[str, Any]:
    """How a task stands, as its entry in the manifest says it."""
    return asdict(standing) | questions(asked)


def questions(asked: engine.Questions) -> dict[str, Any]:
    """What a task's entry says of what is asked and how it is counted."""
    return {"spec": asked.task.spec, "samples_digest": asked.digest, "rules": asked.task.rules()}


def nameless(identity: Mapping[str, Any]) -> dict[str, Any]:
    """The same entries without the specs: the same models may be asked for in other words."""
    return {
        key: {k: v for k, v in value.items() if k != "spec"} if isinstance(value, Mapping) else value
        for key, value in identity.items()
    }


def require_one_run(one: Run, there: Run) -> None:
    """UsageError where two folders, both with answers or about to have them, are not of one run."""
    first, second = one.manifest(), there.manifest()
    if not (first and second):
        return
    for name in AGREED:
        if first.get(name) != second.get(name):
            raise UsageError(f"{one.folder} and {there.folder} are not one run: '{name}' differs; rename one of them")
    for part in ("encoder", "lvlm"):
        models = [told.get(part) or {} for told in (first, second)]
        if any(models[0].get(name) != models[1].get(name) for name in ("digest", "digests")):
            raise UsageError(f"{one.folder} and {there.folder} are not one run: the {part}'s weights differ")


def require_same_questions(parts: Iterable[Run]) -> None:
    """UsageError where two folders have answers of one task to other questions, or counted by other rules.

    Each of them may be right, of the data as they were then; what both come to is not, and no data are at hand here.
    """
    seen: dict[tuple[str, str], tuple[Any, Run]] = {}
    for part in parts:
        for name, told in part.manifest().get("tasks", {}).items():
            for key in ("samples_digest", "rules") if packed.files(part.records_path(name)) else ():
                before, there = seen.setdefault((name, key), (told.get(key), part))
                if before and told.get(key) and before != told[key]:
                    raise UsageError(
                        f"{there.folder} and {part.folder} hold answers of '{name}' to other questions, or counted by "
                        "other rules: its data changed between. The run itself, without --shard, asks and counts anew "
                        "what changed"
                    )


def folder(plan: RunPlan, encoder: OfEncoder | None, lvlm: OfLvlm | None, identity: Mapping[str, Any]) -> Path:
    """``encoder+lvlm@data[-control]-digest``, or the folder of this digest under the name it was given before."""
    models = "+".join(slug(model.spec) for model in (encoder, lvlm) if model)
    control = "" if plan.options.control == "none" else f"-{plan.options.control}"
    control += "-part" if plan.parts else ""
    mark = digest.of_json(nameless(identity) | plan.data.place())[:8]
    kept = sorted(path for path in plan.options.results.glob(f"*@*-{mark}") if (path / "run.json").is_file())
    return kept[0] if kept else plan.options.results / f"{models}@{slug(plan.data.name)}{control}-{mark}"
