from __future__ import annotations

import numpy as np
import pytest

from data.rendering.solids import Mesh, beam, box, frustum, hexahedron, join, rod

GREY = (0.5, 0.5, 0.5)


def volume(mesh: Mesh) -> float:
    # Divergence theorem over the two triangles of each face: positive only if all faces look outwards.
    a, b, c, d = np.moveaxis(mesh.quads, 1, 0)
    return float((np.einsum("fi,fi->f", a, np.cross(b, c)) + np.einsum("fi,fi->f", a, np.cross(c, d))).sum() / 6)


def prism_volume(sides: int, first: float, last: float, length: float) -> float:
    base = sides / 2 * np.sin(2 * np.pi / sides)
    return float(base * length * (first * first + first * last + last * last) / 3)


@pytest.mark.parametrize(
    ("mesh", "expected"),
    [
        (box((1, 2, 3), (0.5, 0.4, 0.2), GREY), 0.04),
        (frustum((0, 1, 0), (2, 3, 2), (1, 1), GREY), 3 * (4 + 1 + 2) / 3),
        (frustum((0, 1, 0), (2, 3, 2), (2, 2), GREY, shift=0.7), 12.0),
        (beam((0, 0, 0), (3, 4, 0), 0.1, 0.2, GREY), 0.1),
        (beam((1, 0, 0), (1, 2, 0), 0.1, 0.2, GREY, hint=(0, 1, 0)), 0.04),
        (rod((0, 0, 0), (0, 2, 0), (0.5, 0.5), GREY, 12), prism_volume(12, 0.5, 0.5, 2)),
        (rod((1, 2, 3), (1, 2, 5), (0.5, 0.2), GREY, 6), prism_volume(6, 0.5, 0.2, 2)),
    ],
)
def test_faces_close_the_solid_and_look_outwards(mesh: Mesh, expected: float) -> None:
    assert volume(mesh) == pytest.approx(expected)
    center = mesh.quads.reshape(-1, 3).mean(axis=0)
    away = np.einsum("fi,fi->f", mesh.normals(), mesh.quads.mean(axis=1) - center)
    assert (away > 0).all()
    assert np.allclose(np.linalg.norm(mesh.normals(), axis=1), 1)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0]])
def test_a_hexahedron_takes_its_ring_either_way(order: list[int]) -> None:
    ring = np.array([[0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 0, 1]], dtype=float)[order]
    assert volume(hexahedron(np.concatenate([ring, ring + np.array([0, 2, 0])]), GREY)) == pytest.approx(2)


def test_a_beam_keeps_its_length_width_and_depth() -> None:
    points = beam((0, 0, 0), (0, 0, 2), 0.3, 0.1, GREY, hint=(0, 1, 0)).quads.reshape(-1, 3)
    assert np.ptp(points, axis=0) == pytest.approx([0.1, 0.3, 2.0])


def test_join_keeps_faces_with_their_colors() -> None:
    mesh = join([box((0, 0, 0), (1, 1, 1), (1, 0, 0)), box((0, 0, 0), (1, 1, 1), (0, 1, 0))])
    assert mesh.quads.shape == (12, 4, 3)
    assert mesh.colors[[0, 11]].tolist() == [[1, 0, 0], [0, 1, 0]]
