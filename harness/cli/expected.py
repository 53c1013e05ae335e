"""What ``--estimate`` of a training or an alignment prints: what it would cost, from a little of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.compute.forecast import Forecast


def show(found: Mapping[str, Forecast], as_json: bool) -> None:
    """A line, or an object, for each stage."""
    from harness.console import out, print_json

    if as_json:
        print_json([{"stage": name, **one.record()} for name, one in found.items()])
        return
    for name, one in found.items():
        out().print(f"{name}: {one.said()}", markup=False, soft_wrap=True)
