"""What each field of a recipe may hold: declared once, as the field's annotation, and checked when it is made."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from harness.errors import UsageError

LARGEST = 2**31 - 1
"""More than any recipe counts to, and no more than every library takes."""
Count = Annotated[int, Ge(0), Le(LARGEST)]
Positive = Annotated[int, Ge(1), Le(LARGEST)]
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]
"""What NumPy, PyTorch and Python all take for a seed."""
Amount = Annotated[float, Ge(0)]
Above = Annotated[float, Gt(0)]
Share = Annotated[float, Ge(0), Le(1)]
Part = Annotated[float, Gt(0), Le(1)]
Decay = Annotated[float, Ge(0), Lt(1)]

_LIMITS = {"ge": ("at least", operator.ge), "gt": ("above", operator.gt), "le": ("at most", operator.le),
           "lt": ("below", operator.lt)}  # fmt: skip


def check(recipe: Any) -> None:
    """UsageError names the first field that holds something else than its annotation says."""
    for name, hint in get_type_hints(type(recipe), include_extras=True).items():
        value = getattr(recipe, name)
        if right := _rather(value, hint):
            raise UsageError(f"{name}={value} cannot be: {name} is {right}")


def _rather(value: Any, hint: Any) -> str:
    """What would be right in place of this value; nothing where it is right."""
    if get_origin(hint) is tuple:
        if not isinstance(value, tuple):
            return "a tuple"
        return next((f"a tuple, each part {right}" for one in value if (right := _rather(one, get_args(hint)[0]))), "")
    if get_origin(hint) is Literal:
        return "" if value in get_args(hint) else f"one of {', '.join(map(str, get_args(hint)))}"
    kind, *limits = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    if kind not in (int, float):
        return "" if isinstance(value, kind) else f"a {kind.__name__}"
    if _is_number(value, kind) and all(holds(value, end) for _, holds, end in map(_limit, limits)):
        return ""
    ends = [f"{word} {end}" for word, _, end in map(_limit, limits)]
    return f"a {'whole' if kind is int else 'finite'} number {' and '.join(ends)}".rstrip()


def _is_number(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) if kind is int else isinstance(value, int | float) and abs(value) < math.inf


def _limit(limit: Ge | Gt | Le | Lt) -> tuple[str, Callable[[Any, Any], bool], Any]:
    name = type(limit).__name__.lower()
    return *_LIMITS[name], getattr(limit, name)
