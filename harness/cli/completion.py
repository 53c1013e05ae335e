"""What the shell offers at the Tab key: tasks, encoders, LVLMs, recipes and kept runs; nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def registered(table: str) -> Callable[[str], list[str]]:
    """Completes names of ``tasks``, ``encoders``, ``lvlms`` or ``recipes``."""

    def complete(incomplete: str) -> list[str]:
        from harness import registry
        from harness.errors import OhdBenchError

        try:
            registry.load()
        except OhdBenchError:  # Tab is no place to tell of a broken plugin
            return []
        return sorted(name for name in getattr(registry, table) if name.startswith(incomplete))

    return complete


def kept_run(ctx: Any, incomplete: str) -> list[str]:
    """Completes the ids of runs in ``--results``, as far as it was given."""
    results = Path((ctx.params or {}).get("results") or "results")
    return sorted(path.parent.name for path in results.glob("*/run.json") if path.parent.name.startswith(incomplete))
