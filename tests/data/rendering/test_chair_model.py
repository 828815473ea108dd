from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data.rendering.chair_design import ARMS, BACKS, LEGS, SEATS, design
from data.rendering.chair_model import BACK_BUILDERS, chair
from data.rendering.chair_parts import LEG_BUILDERS


def test_every_choice_can_be_built_and_is_drawn() -> None:
    assert set(BACK_BUILDERS) == set(BACKS)
    assert set(LEG_BUILDERS) == set(LEGS)
    designs = [design(t, 0) for t in range(49)]
    assert {d.seat for d in designs} == set(SEATS)
    assert {d.back for d in designs} == set(BACKS)
    assert {d.legs for d in designs} == set(LEGS)
    assert {d.arms for d in designs} == set(ARMS)


@pytest.mark.parametrize("legs", LEGS)
@pytest.mark.parametrize("back", BACKS)
def test_every_combination_stands_on_the_ground_and_has_a_back_at_the_rear(back: str, legs: str) -> None:
    for seat in SEATS:
        model = replace(design(3, 1), back=back, legs=legs, seat=seat, arms="posts")
        mesh = chair(model)
        points = mesh.quads.reshape(-1, 3)
        assert np.isfinite(mesh.normals()).all()
        assert points[:, 1].min() == pytest.approx(0, abs=0.02)
        assert points[:, 1].max() == pytest.approx(model.height + model.back_height, abs=0.06)
        assert points[points[:, 1] > model.height + 0.25, 2].mean() < 0
        assert (mesh.colors >= 0).all()
        assert (mesh.colors <= 1).all()


def test_the_model_is_mirror_symmetric_about_its_middle() -> None:
    for number in range(49):
        model = design(number, 0)
        if model.legs == "star":
            continue
        points = chair(model).quads.reshape(-1, 3)
        assert points[:, 0].min() == pytest.approx(-points[:, 0].max(), abs=1e-6)


def test_designs_follow_from_seed_and_number_alone() -> None:
    assert design(5, 0) == design(5, 0)
    assert design(5, 0) != design(5, 1)
    assert len({design(number, 0) for number in range(49)}) == 49
