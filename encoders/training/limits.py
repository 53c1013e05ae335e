"""What each number of a recipe may be: a value outside it is named before anything is loaded."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError

if TYPE_CHECKING:
    from encoders.training.settings import Training

ABOVE_0 = frozenset({"fraction", "epochs", "lr", "clip_norm"})
FROM_1 = frozenset({"negatives_per_row", "replay_batch", "batch", "accumulate", "save_every", "dev_samples"})
UP_TO_1 = frozenset({"fraction"})
BELOW_1 = frozenset({"ema"})
ANY = frozenset({"interpolate", "front"})
SEEDS = 2**32
"""NumPy takes no seed from here on."""
KEPT = ("last", "ohd_dev", "zero_shot")
TRACKERS = ("tensorboard", "wandb")


def check(recipe: Training) -> None:
    """UsageError where a number is not finite or outside its limits, or a name is none of those there are.

    What is in none of the sets above counts or weighs something, and may be 0.
    """
    for field in fields(recipe):
        value = getattr(recipe, field.name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, int | float) and not isinstance(one, bool):
                _check_number(field.name, one)
    _check_names("keep", (recipe.keep,), KEPT)
    _check_names("log_with", recipe.log_with, TRACKERS)


def _check_number(name: str, value: float) -> None:
    wrong = next((right for right, fits in _rules(name, value) if not fits), None)
    if wrong:
        raise UsageError(f"{name}={value}: right would be {wrong}")


def _rules(name: str, value: float) -> list[tuple[str, bool]]:
    """Each rule that this field has to keep, in words, and whether it does."""
    return [
        ("a finite number", math.isfinite(value)),
        ("a number above 0", name not in ABOVE_0 or value > 0),
        ("1 or more", name not in FROM_1 or value >= 1),
        ("at most 1", name not in UP_TO_1 or value <= 1),
        ("below 1", name not in BELOW_1 or value < 1),
        ("0 or more", name in ANY or value >= 0),
        (f"below {SEEDS}", name != "seed" or value < SEEDS),
    ]


def _check_names(field: str, given: tuple[Any, ...], known: tuple[str, ...]) -> None:
    for name in given:
        if name not in known:
            raise UsageError(f"{field}={name}: there is {', '.join(known)}")
