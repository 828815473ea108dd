"""The shared settings: one list of fields, and sentences for values out of range."""

from __future__ import annotations

import dataclasses

import pytest

from data.errors import ConfigError
from generators.recipe import Recipe, RecipeOptions


def test_keyword_arguments_are_the_fields_with_their_types() -> None:
    fields = {field.name: field.type for field in dataclasses.fields(Recipe)}
    assert {name: str(hint.__forward_arg__) for name, hint in RecipeOptions.__annotations__.items()} == fields
    assert all(name + ": " in Recipe.__doc__ for name in fields)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"r1_weight": -0.5}, "r1_weight must be at least 0, got -0.5"),
        ({"r1_weight": float("nan")}, "r1_weight must be at least 0, got nan"),
        ({"gradient_clip": 0.0}, "gradient_clip must be above 0, got 0.0; try leaving it out"),
        ({"max_minutes": -1.0}, "max_minutes must be above 0"),
        ({"batch_size": 4, "accumulate": 5}, "accumulate must be at most the batch_size, got 5 parts of 4 images"),
        ({"augment": ["blur"]}, "augment must be some of"),
    ],
)
def test_values_out_of_range_are_named(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Recipe(**settings)
