"""The projection on what commutes with a family of symmetric matrices."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from kernels.dense import relative_difference

from ntkflow.kernels import Commutant

TURN = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0]


def turned(matrix: np.ndarray) -> np.ndarray:
    return TURN @ matrix @ TURN.T


def families() -> dict[str, list[np.ndarray]]:
    generator = np.random.default_rng(1)
    roots = generator.standard_normal((2, 3, 3))
    planes = [root @ root.T + np.eye(3) for root in roots]
    corner = [np.block([[a, np.zeros((3, 2))], [np.zeros((2, 3)), np.diag([0.3, 0.8])]]) for a in planes]
    return {
        "one with a double eigenvalue": [turned(np.diag([1.0, 1.0, 2.0, 3.0, 4.0]))],
        "commuting, told apart only together": [
            turned(np.diag([1.0, 1.0, 2.0, 2.0, 2.0])),
            turned(np.diag([1.0, 3.0, 3.0, 3.0, 5.0])),
        ],
        "a space of three and two lines": [turned(matrix) for matrix in corner],
    }


@pytest.mark.parametrize(
    ("name", "dimension"), list(zip(families(), [3 + 3, 1 + 1 + 3 + 1, 3], strict=True)), ids=lambda value: str(value)
)
def test_against_the_null_space_of_the_commutators(name: str, dimension: int) -> None:
    """The symmetric solutions of all BA = AB, from one linear system; and the orthogonal projection on them."""
    family = families()[name]
    commutant = Commutant.of([jnp.asarray(matrix) for matrix in family])
    pairs = [(i, j) for i in range(5) for j in range(i, 5)]
    members = []
    for i, j in pairs:
        unit = np.zeros((5, 5))
        unit[i, j] = unit[j, i] = 1.0 if i == j else np.sqrt(0.5)
        members.append(unit)
    system = np.stack([np.concatenate([(b @ a - a @ b).ravel() for a in family]) for b in members], axis=1)
    _, singular, rows = np.linalg.svd(system)
    null = rows[np.sum(singular > 1e-10) :]
    assert commutant.dimension == len(null) == dimension
    assert commutant.complete
    matrix = np.random.default_rng(2).standard_normal((5, 5))
    matrix = matrix + matrix.T
    basis = np.einsum("ka,apq->kpq", null, np.stack(members))
    expected = np.einsum("k,kpq->pq", np.einsum("kpq,pq->k", basis, matrix), basis)
    assert relative_difference(commutant.project(jnp.asarray(matrix)), expected) <= 1e-12


def test_directions_that_are_not_positive_are_left_out() -> None:
    matrices = [turned(np.diag([0.0, 1.0, 2.0, 3.0, 3.0])), turned(np.diag([1.0, 1.0, -0.5, 1.0, 1.0]))]
    commutant = Commutant.of([jnp.asarray(matrix) for matrix in matrices])
    assert commutant.dimension == 1 + 3
    kept = commutant.project(jnp.eye(5))
    assert relative_difference(kept, turned(np.diag([0.0, 1.0, 0.0, 1.0, 1.0]))) <= 1e-12
    assert Commutant.of([jnp.zeros((5, 5))]).dimension == 0
