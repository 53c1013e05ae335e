"""Every number of a recipe has a range, and nothing outside it becomes a recipe."""

from __future__ import annotations

import math
import typing
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.training.settings import Training
from harness import registry, sweep
from harness.errors import UsageError

HINTS = typing.get_type_hints(Training, include_extras=True)
NUMBERS = [name for name, hint in typing.get_type_hints(Training).items() if hint in (int, float)]
ODD = ["nan", "inf", "-inf", "-1", "1e999", "0", "-0.0", "2.5", "1_0", "true", "", "４", "1e-320"]
WORDS = st.sampled_from(ODD) | st.floats().map(str) | st.integers().map(str) | st.text(max_size=5)


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_declares_its_range_at_the_field(name: str) -> None:
    assert typing.get_args(HINTS[name])[1:], f"{name} has no range"


@given(st.sampled_from(NUMBERS), WORDS)
def test_a_number_is_within_its_range_or_refused_by_name(name: str, word: str) -> None:
    made: Training | None = None
    said = f"{name}="
    try:
        made = sweep.with_settings(Training(), {name: word})
    except UsageError as error:
        said = str(error)
    assert said.startswith(f"{name}=")
    if made is None:
        return
    value = getattr(made, name)
    limits = typing.get_args(HINTS[name])[1:]
    assert math.isfinite(value)
    for limit in limits:
        (end,) = (getattr(limit, field.name) for field in fields(limit))
        kind = type(limit).__name__
        assert {"Ge": value >= end, "Gt": value > end, "Le": value <= end, "Lt": value < end}[kind]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": -5}, "steps is a whole number at least 0"),
        ({"steps": 10**20}, "at most 2147483647"),
        ({"steps": 2.5}, "steps is a whole number"),
        ({"lr": True}, "lr is a finite number"),
        ({"ema": 1.0}, "ema is a finite number at least 0 and below 1"),
        ({"save_every": 0}, "save_every is a whole number at least 1"),
        ({"front": (0.5, 2.0)}, "front is a tuple, each part a finite number at least 0 and at most 1"),
        ({"frozen": "text_model.*"}, "frozen is a tuple"),
        ({"log_with": ("abacus",)}, "each part one of tensorboard, wandb"),
        ({"form": "best"}, "form is one of paper, released"),
    ],
)
def test_recipes_made_in_python_are_held_to_the_same(changes: dict[str, typing.Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        replace(Training(), **changes)


def test_every_shipped_recipe_is_within_its_ranges() -> None:
    registry.load()
    assert all(make() for make in registry.recipes.values())
