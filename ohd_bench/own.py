"""Whether ``harness``, ``tasks`` and ``encoders`` are ohd-bench's own, or others of these names stand before them."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

NAMES = ("harness", "tasks", "encoders")


def stranger() -> str:
    """One line on the first of these names that another file answers to; empty where all three are ours.

    A file ``tasks.py`` in the folder that Python was started in, or another distribution, would be imported instead,
    and fail far from the cause.
    """
    home = Path(__file__).resolve().parents[1]
    for name in NAMES:
        found = _where(name)
        if found != home / name:
            return (
                f"'{name}' is {found or 'nowhere'}, not ohd-bench's own {home / name}: rename it, start elsewhere, "
                "or install ohd-bench into an environment of its own"
            )
    return ""


def _where(name: str) -> Path | None:
    """The folder or file that an import of this name gives."""
    spec = getattr(sys.modules.get(name), "__spec__", None) or find_spec(name)
    places = list(spec.submodule_search_locations or []) if spec else []
    place = places[0] if places else spec.origin if spec else None
    return Path(place).resolve() if place else None
