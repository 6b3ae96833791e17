"""Each assumption of the ladder, broken alone, shows in its own rung and in no other.

Features h(x) = M(Vx + c) with a constant M have Θʰ_{p,q}(x, x') = (MMᵀ)_{p,q}(⟨x, x'⟩ + 1) whatever V and c are. So M
chooses how features are coupled (not at all and alike; not at all, each with its own size; all with all), the inputs
how samples are: any Gram matrix, one with three values, or one with three values and a spectrum of its own within
classes. The rungs that are exact follow from the definitions, and all the others have to be off.
"""

from __future__ import annotations

import functools
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float
from training.tiny import CLASSES, PER_CLASS, SAMPLES, Z, dataset

from ntkflow.comparison import LADDER, RUNGS, Model, SnapshotComparison, compare_snapshot
from ntkflow.data import Dataset
from ntkflow.flows import Integration
from ntkflow.networks import AbstractClassifier, Readout, Stored
from ntkflow.report import style
from ntkflow.scenario.comparison_kind import Rung
from ntkflow.training import Problem, measure_snapshot, train_by_gradient_flow

FINE = Integration(rtol=1e-9, atol=1e-11)
FEATURES = 5
BLOCK = (4.0, 2.5, 1.4)


class MixedLinear(AbstractClassifier):
    """h = M(Vx + c)."""

    readout: Readout
    first: Readout
    mixing: Stored

    def features(self, x: Float[Array, "..."]) -> Float[Array, " features"]:
        return self.mixing.value @ self.first(x)


def mixing(kind: str) -> np.ndarray:
    if kind == "alike":
        return np.eye(FEATURES)
    if kind == "own sizes":
        return np.diag([0.5, 0.8, 1.0, 1.2, 1.4])
    return np.eye(FEATURES) + 0.6 * np.random.default_rng(5).standard_normal((FEATURES, FEATURES))


def gram(kind: str) -> np.ndarray:
    """⟨x, x'⟩ + 1."""
    d, c, n = BLOCK
    same = np.kron(np.eye(CLASSES), np.ones((PER_CLASS, PER_CLASS)))
    block = (d - c) * np.eye(SAMPLES) + (c - n) * same + n
    if kind == "block":
        return block
    if kind == "own spectrum":
        spread = np.random.default_rng(6).standard_normal((SAMPLES, SAMPLES))
        within = np.eye(SAMPLES) - same / PER_CLASS
        return block + 0.15 * within @ spread @ spread.T @ within
    pixels = np.asarray(dataset().inputs)
    return pixels @ pixels.T + 1


@functools.cache
def compared(features: str, samples: str) -> SnapshotComparison:
    inputs = jnp.asarray(np.linalg.cholesky(gram(samples) - 1))
    data = Dataset(samples, inputs, dataset().targets, inputs[:0], dataset().test_labels[:0], "")
    generator = np.random.default_rng(3)
    weight, hidden = (generator.standard_normal(shape) for shape in ((CLASSES, FEATURES), (FEATURES, SAMPLES)))
    network = MixedLinear(
        Readout(jnp.asarray(weight / np.sqrt(FEATURES)), jnp.zeros(CLASSES)),
        Readout(jnp.asarray(hidden / np.sqrt(SAMPLES)), jnp.zeros(FEATURES)),
        Stored(jnp.asarray(mixing(features))),
    )
    problem = Problem.of(data, Z)
    history = train_by_gradient_flow(network, problem, end_time=8.0, snapshots=[0.0, 3.0], records=60, integration=FINE)
    moments = [measure_snapshot(item, problem, data.test_inputs, data.test_labels) for item in history.checkpoints]
    return compare_snapshot(
        moments[0],
        history,
        problem,
        moments=moments,
        models=LADDER,
        horizon=None,
        integration=FINE,
        descent=None,
    )


EXACT: dict[tuple[str, str], set[Model]] = {
    ("alike", "block"): set(LADDER),
    ("alike", "own spectrum"): {"full_frozen", "neuron_diagonal", "isotropic", "within_spectrum"},
    ("alike", "any"): {"full_frozen", "neuron_diagonal", "isotropic"},
    ("own sizes", "any"): {"full_frozen", "neuron_diagonal"},
    ("own sizes", "block"): {"full_frozen", "neuron_diagonal", "matrix_blocks", "neuron_values"},
    ("coupled", "any"): {"full_frozen"},
    ("coupled", "block"): {"full_frozen", "matrix_blocks"},
}


@pytest.mark.parametrize(("features", "samples"), EXACT)
def test_exact_where_its_assumption_holds_and_nowhere_else(features: str, samples: str) -> None:
    found = compared(features, samples)
    off = {model: float(errors.vector_errors.max()) for model, errors in found.errors.items()}
    exact = EXACT[features, samples]
    assert {model for model, error in off.items() if error <= 1e-5} == exact, off
    assert all(error > 1e-2 for model, error in off.items() if model not in exact), off


@pytest.mark.parametrize(("features", "samples"), [("alike", "block"), ("own sizes", "any"), ("coupled", "any")])
def test_so_are_features_weights_and_biases_later(features: str, samples: str) -> None:
    for model, errors in compared(features, samples).state_errors.items():
        assert errors.shape == (1, 3)
        if model in EXACT[features, samples]:
            assert (errors <= 1e-5).all(), model
        else:
            assert (errors > 1e-3).all(), model


@pytest.mark.parametrize(("features", "samples"), EXACT)
def test_the_ladder_adds_what_is_assumed(features: str, samples: str) -> None:
    found = compared(features, samples).ladder
    assert found is not None
    assert found.models == LADDER
    exact = EXACT[features, samples]
    np.testing.assert_allclose(np.cumsum(found.added), found.log_ratios, rtol=0, atol=1e-12)
    before = True
    for model, added, moved in zip(found.models, found.added, found.moved, strict=True):
        now = model in exact
        if before and now:
            assert abs(added) <= 1e-5
            assert moved <= 1e-5
        elif before != now:
            assert moved > 1e-3
        before = now
    if set(LADDER) != exact:
        assert found.shares.sum() == pytest.approx(1)


def test_the_network_moves() -> None:
    """Else any kernel would do."""
    for features, samples in EXACT:
        real = compared(features, samples).real_norms
        assert (np.linalg.norm(real[-1]) < 0.5 * np.linalg.norm(real[0])).all()


def test_every_model_says_what_it_assumes() -> None:
    assert set(LADDER) < set(RUNGS)
    assert len({rung.title for rung in RUNGS.values()}) == len(RUNGS)
    assert all(rung.assumption.endswith(".") for rung in RUNGS.values())


def test_names_are_the_same_everywhere() -> None:
    """Scenarios and figures have lists of their own: neither may import what knows the flows."""
    assert tuple(RUNGS) == get_args(Model) == get_args(Rung) == tuple(style.RUNGS)
    lines = [(name, str(dashes)) for name, dashes in style.RUNGS.values()]
    assert len(set(lines)) == len(lines)


def test_the_networks_gradient_leaves_the_mixing_alone() -> None:
    """What makes the kernel constant."""
    found = compared("coupled", "any")
    network = found.snapshot.kernels.network
    assert network.parameter_count() == CLASSES * FEATURES + CLASSES + FEATURES * SAMPLES + FEATURES
    assert jax.tree.leaves(network.features(jnp.ones(SAMPLES)))[0].shape == (FEATURES,)
