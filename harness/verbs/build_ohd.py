"""Build OHD-Caps rows for one's own pictures: what the ``data build-ohd`` command and Python both call."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness import registry
from harness.building import build as building
from harness.building.build import BuildOptions, Built
from harness.errors import UsageError
from harness.verbs.run import Watcher


def options(*, splits: str, name: str, **told: Any) -> BuildOptions:
    """The options of a build; UsageError where a split or the name is none."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise UsageError(f"--name {name}: letters, digits, - and _ only, as it becomes the name of files")
    return BuildOptions(splits=_shares(splits), name=name, **told)


def _shares(text: str) -> dict[str, float]:
    found = {}
    for part in text.split(","):
        split, _, share = part.partition("=")
        if split not in ("train", "dev", "test") or split in found:
            raise UsageError(f"--splits {text}: right would be train=0.8,dev=0.1,test=0.1, or some of these")
        try:
            found[split] = float(share)
        except ValueError as error:
            raise UsageError(f"--splits {text}: '{share}' is no share") from error
        if not 0 < found[split] < float("inf"):
            raise UsageError(f"--splits {text}: a share is above 0")
    return found


def build(options: BuildOptions, watcher: Watcher, include: Iterable[Path] = (), price: str = "") -> Built:
    """Builds, having said what an LLM will be asked and, where its price is told, what that costs."""
    registry.load(include)
    if options.server:
        watcher.say(building.expected(options, _price(price)))
    return building.build(options, watcher.ticking)


def _price(text: str) -> tuple[float, float] | None:
    if not text:
        return None
    try:
        one, other = map(float, text.split(","))
    except ValueError as error:
        raise UsageError(f"--price {text}: right would be two numbers, IN,OUT, for a million tokens") from error
    return one, other
