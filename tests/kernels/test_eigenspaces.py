"""The split into global mean, class means and what is left within the classes."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from kernels.dense import projectors

from ntkflow.kernels import split_eigenspaces

CASES = [((), 3, 4), ((5,), 3, 4), ((2, 5), 3, 4), ((5,), 2, 1), ((5,), 1, 4)]


@pytest.mark.parametrize(("rows", "classes", "per_class"), CASES)
def test_parts_are_the_projections(rows: tuple[int, ...], classes: int, per_class: int) -> None:
    array = np.random.default_rng(0).standard_normal((*rows, classes * per_class)) + 1
    split = split_eigenspaces(jnp.asarray(array), classes)
    parts = np.asarray(split.parts())
    expected = np.stack([array @ projector for projector in projectors(classes, per_class)])
    assert np.abs(parts - expected).max() <= 1e-14
    assert np.abs(parts.sum(axis=0) - array).max() <= 1e-14
    scale = np.linalg.norm(array)
    norms = np.asarray(split.norms())
    assert np.abs(norms - [np.linalg.norm(part) for part in expected]).max() <= 1e-13 * scale
    assert abs((norms**2).sum() - scale**2) <= 1e-13 * scale**2
    for e in range(3):
        for f in range(e):
            assert abs(np.sum(parts[e] * parts[f])) <= 1e-13 * scale**2


def test_splitting_a_part_again_gives_it_back_and_nothing_else() -> None:
    array = np.random.default_rng(1).standard_normal((5, 12))
    parts = split_eigenspaces(jnp.asarray(array), 3).parts()
    for e, part in enumerate(parts):
        again = np.asarray(split_eigenspaces(part, 3).parts())
        expected = np.zeros_like(again)
        expected[e] = part
        assert np.abs(again - expected).max() <= 1e-15


def test_a_large_common_offset_does_not_leak_into_the_class_means() -> None:
    array = np.random.default_rng(2).standard_normal((5, 12))
    shifted = np.asarray(split_eigenspaces(jnp.asarray(array + 1e6), 3).norms())
    assert np.abs(shifted[1:] / np.asarray(split_eigenspaces(jnp.asarray(array), 3).norms())[1:] - 1).max() <= 1e-9


def test_uneven_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="13 samples cannot be sorted into 3 classes of equal size"):
        split_eigenspaces(jnp.zeros((2, 13)), 3)
