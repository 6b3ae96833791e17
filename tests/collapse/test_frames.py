"""Limiting Gram matrices against fixed points that are built from them, and against the equations of paper 3."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from ntkflow.collapse import ClassFrame, balanced_frame, equal_bias_constants
from ntkflow.kernels import BlockKernel

KAPPA = (1.9, 1.2, 0.4)


def kernel(classes: int = 4, kappa: tuple[float, float, float] = KAPPA) -> BlockKernel:
    return BlockKernel(*kappa, classes=classes, per_class=3)


def matrices(frame: ClassFrame) -> tuple[np.ndarray, np.ndarray]:
    """W and H₁ with these inner products: the Gram matrix of W's rows and H₁'s columns must have rank C at most."""
    gram = np.block([[frame.weight_gram, frame.logits], [frame.logits.T, frame.means_gram]])
    classes = len(frame.bias)
    values, vectors = np.linalg.eigh(gram)
    assert values[0] >= -1e-13 * values[-1]
    assert values[:classes].max() <= 1e-13 * values[-1]
    factor = vectors[:, classes:] * np.sqrt(np.maximum(values[classes:], 0))
    return factor[:classes], factor[classes:].T


@pytest.mark.parametrize("bias", [[0.1, -0.4, 0.7, 0.2], [0.25] * 4, [0.0] * 4, [0.6, 0.1, 0.1, 0.2]])
@pytest.mark.parametrize("centred", [False, True])
def test_balanced_frame_is_a_fixed_point_with_zero_invariant(bias: list[float], centred: bool) -> None:
    """Some of the biases make T − b1ᵀ singular."""
    k, b = kernel(), np.array(bias)
    targets = np.eye(4) - 0.25 * centred
    weight, means = matrices(balanced_frame(jnp.asarray(b), k, jnp.asarray(targets)))
    single, between, across = 0.7, 0.7 + 3 * 0.8, 0.4
    a = np.eye(4) - across * 3 / (between + 4 * across * 3)
    assert single + 3 * (KAPPA[1] - KAPPA[2]) == pytest.approx(between)
    invariant = weight.T @ weight / 3 - means @ a @ means.T / between
    # W and H₁ are made from a square root here, which keeps half of the digits where the frame is singular.
    singular = abs(np.linalg.det(targets - b[:, None])) < 1e-12
    assert singular == (abs(b.sum() - (not centred)) < 1e-12)
    digits = 1e-7 if singular else 1e-13
    assert np.linalg.norm(invariant) <= digits * np.linalg.norm(weight.T @ weight)
    assert np.abs(weight @ means + b[:, None] - targets).max() <= digits


def test_print_for_general_biases() -> None:
    """(60) and (63), with the exact square of the first and the triple product of the second."""
    k, b = kernel(), np.array([0.1, -0.4, 0.7, 0.2])
    frame = balanced_frame(jnp.asarray(b), k)
    alpha, classes, ratio = float(k.alpha), 4, 3 / float(k.lambda_class)
    one = np.ones(classes)
    eye, square = np.eye(classes), np.asarray(frame.weight_gram @ frame.weight_gram)
    cross = classes * np.outer(b, b) - np.outer(b, one) - np.outer(one, b)
    assert np.abs(square - ratio * (eye - alpha + (1 - alpha * classes) * cross)).max() <= 1e-14
    x = np.asarray(frame.means_gram)
    right = eye - np.outer(b, one) - np.outer(one, b) + b @ b
    assert np.abs(x @ (eye - alpha) @ x - right / ratio).max() <= 1e-14
    assert np.abs(x @ x - right / ratio).max() > 0.1  # α matters


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.25, 0.6])
def test_equal_biases(beta: float) -> None:
    """(62), (66) with γ and θ as corrected in docs/errata.md; centred means an ETF (67); cosines."""
    k, classes = kernel(), 4
    frame = balanced_frame(jnp.full(4, beta), k)
    gamma, theta = (float(value) for value in equal_bias_constants(beta, k))
    scale = float(jnp.sqrt(k.lambda_class / 3))
    assert np.abs(frame.weight_gram * scale - (np.eye(4) - gamma)).max() <= 1e-14
    assert np.abs(frame.means_gram / scale - (np.eye(4) - theta)).max() <= 1e-14
    assert np.abs(frame.centred_gram / scale - (np.eye(4) - 0.25)).max() <= 1e-14
    assert float(frame.nc2_distance) <= 1e-14
    assert float(frame.weight_cosines[0, 1]) == pytest.approx(-gamma / (1 - gamma), abs=1e-13)
    assert float(frame.means_cosines[2, 3]) == pytest.approx(-theta / (1 - theta), abs=1e-13)
    assert float(frame.centred_cosines[0, 3]) == pytest.approx(-1 / 3, abs=1e-13)
    root = np.sqrt(1 - float(k.alpha) * classes)
    printed = (1 - abs(1 - beta * classes) / (2 - root)) / classes
    assert (abs(theta - printed) < 1e-12) == (beta == 0.25)


@pytest.mark.parametrize("classes", [2, 3, 6])
def test_nc2_at_zero_invariant_needs_equal_biases_unless_there_are_two_classes(classes: int) -> None:
    unequal = jnp.asarray(np.random.default_rng(classes).normal(size=classes))
    distance = float(balanced_frame(unequal, kernel(classes)).nc2_distance)
    assert distance <= 1e-14 if classes == 2 else distance > 1e-2
    assert float(balanced_frame(jnp.full(classes, 0.2), kernel(classes)).nc2_distance) <= 1e-14


def test_alpha_near_its_bound_gives_the_simplex_for_all_biases() -> None:
    """α → 1/C: NC2 with the size √(μ_class/m) of (67), not μ_class/m as (70) prints, and with unequal biases."""
    k = kernel(kappa=(1e12 + 8, 1e12 + 2, 1e12))
    frame = balanced_frame(jnp.asarray([0.1, -0.4, 0.7, 0.2]), k)
    size = np.sqrt(float(k.lambda_class) / 3)
    assert np.abs(frame.centred_gram - size * (np.eye(4) - 0.25)).max() <= 1e-5
    assert abs(size - size**2) > 0.5
