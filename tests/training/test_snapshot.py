"""What else a snapshot says of its moment: the state, the invariant, accuracies, and how it prints."""

from __future__ import annotations

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float
from networks.plain_mlp import arrays, forward
from training.backpropagation import part_norms
from training.tiny import CLASSES, PER_CLASS, SNAPSHOTS, STEP, dataset, flow_snapshots, problem, snapshots

from ntkflow.collapse import METRICS
from ntkflow.networks import AbstractClassifier, Readout
from ntkflow.training import Checkpoint, Snapshot, measure_snapshot


@pytest.fixture(scope="module", params=range(len(SNAPSHOTS)))
def snapshot(request: pytest.FixtureRequest) -> Snapshot:
    return snapshots()[request.param]


def test_state_and_residual(snapshot: Snapshot) -> None:
    features, logits = forward(arrays(snapshot.kernels.network), np.asarray(dataset().inputs), "tanh")
    np.testing.assert_allclose(snapshot.state.features, features, rtol=0, atol=1e-13)
    np.testing.assert_array_equal(snapshot.state.weight, snapshot.kernels.network.readout.weight)
    np.testing.assert_array_equal(snapshot.state.bias, snapshot.kernels.network.readout.bias)
    np.testing.assert_allclose(snapshot.residual, logits - np.asarray(dataset().target_matrix), rtol=0, atol=1e-13)
    np.testing.assert_allclose(snapshot.residual_norms, part_norms(np.asarray(snapshot.residual), CLASSES), rtol=1e-12)


def test_the_invariant_with_the_measured_values(snapshot: Snapshot) -> None:
    """(26) from scratch: E = WᵀW/m − H₁(I − α11ᵀ)H₁ᵀ/μ_class − S/μ_single, S the summed within-class covariances."""
    d, c, n = snapshot.feature_kernel.block.values
    m = PER_CLASS
    single = d - c
    of_class = single + m * (c - n)
    alpha = n * m / (of_class + CLASSES * n * m)
    features, weight = np.asarray(snapshot.state.features), np.asarray(snapshot.state.weight)
    by_class = np.split(features, CLASSES, axis=1)
    means = np.stack([block.mean(axis=1) for block in by_class], axis=1)
    within = sum(np.cov(block, bias=True) for block in by_class)
    mixing = np.eye(CLASSES) - alpha * np.ones((CLASSES, CLASSES))
    feature_side = means @ mixing @ means.T / of_class + within / single
    weight_side = weight.T @ weight / m
    np.testing.assert_allclose(snapshot.invariant.feature_side, feature_side, rtol=0, atol=1e-10)
    np.testing.assert_allclose(snapshot.invariant.weight_side, weight_side, rtol=0, atol=1e-12)
    cosine = (feature_side * weight_side).sum() / np.linalg.norm(feature_side) / np.linalg.norm(weight_side)
    assert float(snapshot.invariant.alignment) == pytest.approx(cosine, abs=1e-10)
    assert float(snapshot.invariant.norm) == pytest.approx(np.linalg.norm(weight_side - feature_side), rel=1e-9)


def test_accuracies(snapshot: Snapshot) -> None:
    data = dataset()
    for own, inputs, labels in (
        (snapshot.train_accuracy, data.inputs, data.labels),
        (snapshot.test_accuracy, data.test_inputs, data.test_labels),
    ):
        _, logits = forward(arrays(snapshot.kernels.network), np.asarray(inputs), "tanh")
        right = sum(
            int(np.argmax(column)) == int(label) for column, label in zip(logits.T, np.asarray(labels), strict=True)
        )
        assert own == pytest.approx(right / len(labels), abs=1e-12)


def test_training_teaches() -> None:
    """Otherwise the accuracies above could be anything."""
    first, *_, last = snapshots()
    assert last.train_accuracy == 1.0
    assert last.test_accuracy > 0.7 > 0.5 > first.test_accuracy


def test_metrics_have_their_names_and_plain_numbers(snapshot: Snapshot) -> None:
    assert set(snapshot.metrics) == set(METRICS)
    assert all(type(value) is float for value in snapshot.metrics.values())
    by_class = np.split(np.asarray(snapshot.state.features), CLASSES, axis=1)
    within = np.mean([block.var(axis=1).sum() for block in by_class])
    between = np.stack([block.mean(axis=1) for block in by_class]).var(axis=0).sum()
    assert snapshot.metrics["nc1_trace_ratio"] == pytest.approx(within / between, rel=1e-10)


def test_moments_are_named_by_step_or_time() -> None:
    assert [item.label for item in snapshots()] == [f"step {step}" for step in SNAPSHOTS]
    assert [item.time for item in snapshots()] == [step * STEP for step in SNAPSHOTS]
    assert [item.label for item in flow_snapshots()] == ["t = 0", "t = 1.3"]


def test_it_prints_itself(snapshot: Snapshot) -> None:
    lines = str(snapshot).splitlines()
    assert lines[0] == f"Snapshot at step {snapshot.step} (t = {snapshot.time:g})"
    assert [line.split()[0] for line in lines[1:]] == ["logits:", "features:", "residual"]


def test_it_cannot_be_changed(snapshot: Snapshot) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.time = 1.0  # pyright: ignore[reportAttributeAccessIssue]


def test_without_test_samples_there_is_no_test_accuracy() -> None:
    first = snapshots()[0]
    none = measure_snapshot(
        Checkpoint(0.0, 0, first.kernels.network), problem(), jnp.zeros((0, 64)), jnp.zeros(0, dtype=int)
    )
    assert np.isnan(none.test_accuracy)
    assert none.train_accuracy == first.train_accuracy


def test_kernels_in_single_precision() -> None:
    """The kernels' rounding is that of float32; everything that is not a kernel over pairs stays as it is."""
    exact = snapshots()[0]
    checkpoint = Checkpoint(0.0, 0, exact.kernels.network)
    data = dataset()
    single = measure_snapshot(checkpoint, problem(), data.test_inputs, data.test_labels, kernel_precision="float32")
    assert single.kernels.precision == "float32"
    for ours, theirs in ((single.logit_kernel, exact.logit_kernel), (single.feature_kernel, exact.feature_kernel)):
        difference = np.abs(ours.block.values / theirs.block.values - 1).max()
        assert 1e-12 < difference <= 1e-6
        assert ours.traced.dtype == np.float64
    assert np.array_equal(single.residual, exact.residual)
    assert single.step_limit == exact.step_limit


class _Constant(AbstractClassifier):
    readout: Readout

    def features(self, x: Float[Array, ...]) -> Float[Array, " features"]:
        return jnp.ones(self.readout.weight.shape[1])


def test_features_that_no_parameter_moves() -> None:
    """Θʰ = 0, and Θ_{k,k} = ⟨h, h'⟩ + 1 from the readout alone, for a network that is no MLP."""
    constant = Checkpoint(0.0, 0, _Constant(snapshots()[0].kernels.network.readout))
    measured = measure_snapshot(constant, problem(), dataset().inputs, dataset().labels)
    assert not measured.feature_kernel.traced.any()
    features = snapshots()[0].kernels.network.readout.weight.shape[1]
    assert np.allclose(measured.logit_kernel.traced, features + 1, rtol=1e-14, atol=0)


def test_no_gradient_was_left_out() -> None:
    """Every parameter of the network moves in training: none is static by mistake."""
    first, *_, last = snapshots()
    before, after = (jax.tree.leaves(eqx.filter(item.kernels.network, eqx.is_inexact_array)) for item in (first, last))
    assert len(before) == 6
    assert all(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))
