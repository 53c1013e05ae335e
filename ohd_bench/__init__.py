"""The front door for Python: ``from ohd_bench import run, compare, score, Task, Sample, task``; loaded when first used.

The nouns that a task is written with, the decorators that register what is new, and the verbs of the command line,
each a function that gives back a result with ``.table()``, ``.json()`` and a look in a notebook (docs/python.md).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness import rows as rows
    from harness import yes_no as yes_no
    from harness.errors import DataError as DataError
    from harness.errors import ModelError as ModelError
    from harness.errors import OhdBenchError as OhdBenchError
    from harness.errors import UsageError as UsageError
    from harness.metrics import Metric as Metric
    from harness.metrics import divide as divide
    from harness.metrics import f1 as f1
    from harness.metrics import ratio as ratio
    from harness.registry import encoder as encoder
    from harness.registry import lvlm as lvlm
    from harness.registry import recipe as recipe
    from harness.registry import task as task
    from harness.types import LVLM as LVLM
    from harness.types import Answer as Answer
    from harness.types import Asked as Asked
    from harness.types import Encoder as Encoder
    from harness.types import Failure as Failure
    from harness.types import Place as Place
    from harness.types import Reply as Reply
    from harness.types import Sample as Sample
    from harness.types import Spec as Spec
    from harness.types import Task as Task
    from ohd_bench.verbs import compare as compare
    from ohd_bench.verbs import leaderboard as leaderboard
    from ohd_bench.verbs import report as report
    from ohd_bench.verbs import run as run
    from ohd_bench.verbs import score as score

_WHERE = {
    "harness": "rows yes_no",
    "harness.errors": "DataError ModelError OhdBenchError UsageError",
    "harness.metrics": "Metric divide f1 ratio",
    "harness.registry": "encoder lvlm recipe task",
    "harness.types": "Answer Asked Encoder Failure LVLM Place Reply Sample Spec Task",
    "ohd_bench.verbs": "compare leaderboard report run score",
}
_HOME = {name: module for module, names in _WHERE.items() for name in names.split()}

__all__ = [
    *("Answer", "Asked", "DataError", "Encoder", "Failure", "LVLM", "Metric", "ModelError", "OhdBenchError", "Place"),
    *("Reply", "Sample", "Spec", "Task", "UsageError", "compare", "divide", "encoder", "f1", "leaderboard", "lvlm"),
    *("ratio", "recipe", "report", "rows", "run", "score", "task", "yes_no"),
]


def __getattr__(name: str) -> Any:
    """What of the front door is asked for, imported now."""
    if name not in _HOME:
        raise AttributeError(f"module 'ohd_bench' has no attribute '{name}'")
    from ohd_bench.own import stranger

    if found := stranger():
        raise ImportError(found)
    home = importlib.import_module(_HOME[name])
    return importlib.import_module(f"harness.{name}") if home.__name__ == "harness" else getattr(home, name)


def __dir__() -> list[str]:
    return sorted(__all__)
