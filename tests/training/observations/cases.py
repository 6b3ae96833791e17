"""Tiny networks at two moments, measured once for all tests, and the same quantities from whole Jacobians in NumPy."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from kernels.small_networks import jacobian, small_mlp
from networks.plain_resnet import convolve, standardize

from ntkflow.networks import AbstractBatchClassifier, NormalizedConvolution, Readout, with_statistics_of
from ntkflow.training.observations import (
    AlignmentObservation,
    BlockValueObservation,
    CollapseObservation,
    InvariantObservation,
    KernelMethod,
    LossObservation,
    Moment,
    Objective,
    Observed,
    ResidualObservation,
    SharpnessObservation,
    kernel_sample,
    observe,
    references_of,
)

CLASSES, M, KERNEL_M, TESTS = 3, 5, 4, 7
SAMPLES = CLASSES * M
Z, ETA = 7.5, 0.03
LABELS = [i // M for i in range(SAMPLES)]
TEST_LABELS = [2, 0, 0, 1, 2, 1, 1]
TRUE_LABELS = [0] * 4 + [1] * 7 + [2] * 4
TARGETS = np.eye(CLASSES) - 0.25
CASES = ("mlp", "entropy", "residual")
"""A dense network in float64 with squared error and with cross-entropy; a normalised residual one in float32."""
EXACT = {"mlp": 1e-10, "entropy": 1e-10, "residual": 2e-5}
"""What float32 leaves of the digits."""


class SmallResidual(AbstractBatchClassifier):
    """The input added to relu(norm(conv x)), mean over positions, readout."""

    readout: Readout
    layer: NormalizedConvolution

    @classmethod
    def drawn(cls, seed: int) -> "SmallResidual":
        keys = jax.random.split(jax.random.key(seed), 3)
        weight = jax.random.normal(keys[1], (CLASSES, 5), jnp.float32)
        readout = Readout(weight, 0.1 * jax.random.normal(keys[2], (CLASSES,), jnp.float32))
        return cls(readout, NormalizedConvolution(keys[0], 1, 5, dtype=jnp.float32))

    def apply(self, x: jax.Array, batch_axis: Any) -> tuple[jax.Array, "SmallResidual"]:
        z, layer = self.layer.apply(x, batch_axis)
        return jnp.mean(x + jax.nn.relu(z), axis=(1, 2)), SmallResidual(self.readout, layer)


@functools.cache
def inputs(case: str) -> tuple[jax.Array, jax.Array]:
    """Training and test samples; classes differ in their mean."""
    generator = np.random.default_rng(3)
    shape, dtype = ((1, 4, 4), np.float32) if case == "residual" else ((4,), np.float64)
    centres = generator.standard_normal((CLASSES, *shape))
    both = [generator.standard_normal((len(labels), *shape)) + centres[labels] for labels in (LABELS, TEST_LABELS)]
    return jnp.asarray(both[0].astype(dtype)), jnp.asarray(both[1].astype(dtype))


@functools.cache
def network(case: str, moment: int = 0) -> Any:
    if case != "residual":
        return small_mlp(moment)
    return with_statistics_of(SmallResidual.drawn(moment), inputs(case)[0])


@functools.cache
def observed(case: str) -> Observed:
    train, test = inputs(case)
    return Observed(
        train,
        CLASSES,
        jnp.asarray(TARGETS),
        test,
        jnp.asarray(TEST_LABELS),
        kernel_sample(train, CLASSES, KERNEL_M),
        Objective("cross_entropy" if case == "entropy" else "squared_error", Z),
        true_labels=jnp.asarray(TRUE_LABELS),
        piece=8,  # 15 samples in two pieces of 8, which share one.
    )


def moment(case: str, index: int = 0, **rest: Any) -> Moment:
    return Moment(
        network(case, index), observed(case), epoch=index, step=10 * index, time=0.3 * index, step_size=ETA, **rest
    )


OBSERVATIONS = (
    LossObservation(),
    CollapseObservation(),
    ResidualObservation(),
    BlockValueObservation(),
    AlignmentObservation(),
    InvariantObservation(),
    SharpnessObservation(tolerance=1e-4),
)
SAMPLED = KernelMethod(random_features=4, seed=5)


@functools.cache
def references(case: str) -> Any:
    return references_of(OBSERVATIONS, moment(case))


@functools.cache
def values(case: str, index: int = 1) -> Any:
    """All that is measured of a later moment."""
    return observe(OBSERVATIONS, moment(case, index), references(case))[0]


# The same without the package


@functools.cache
def plain_outputs(case: str, which: str = "train", index: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """H and f(X) as columns, in float64, layer by layer."""
    samples = np.asarray(inputs(case)[0 if which == "train" else 1], dtype=float)
    net = network(case, index)
    if case == "residual":
        z = convolve(samples, np.asarray(net.layer.convolution.weight, dtype=float), 1, 1)
        features = (samples + np.maximum(standardize(z, moments(net.layer), net.layer.norm), 0)).mean(axis=(2, 3)).T
    else:
        features = samples.T
        for layer in net.layers:
            features = np.tanh(np.asarray(layer.weight) @ features + np.asarray(layer.bias)[:, None])
    weight, bias = readout(case, index)
    return features, weight @ features + bias[:, None]


def moments(layer: NormalizedConvolution) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(layer.norm.statistics.mean, dtype=float), np.asarray(layer.norm.statistics.variance, dtype=float)


def readout(case: str, index: int = 1) -> tuple[np.ndarray, np.ndarray]:
    net = network(case, index)
    return np.asarray(net.readout.weight, dtype=float), np.asarray(net.readout.bias, dtype=float)


@functools.cache
def plain_jacobian(case: str, of: str, index: int = 1) -> np.ndarray:
    """(samples, outputs, parameters) on the kernels' samples."""
    chosen = np.array([c * M + i for c in range(CLASSES) for i in range(KERNEL_M)])
    return jacobian(network(case, index), inputs(case)[0][chosen], of).astype(float)


@functools.cache
def gram(case: str, of: str, index: int = 1) -> np.ndarray:
    """The traced kernel, mean over outputs."""
    found = plain_jacobian(case, of, index)
    return np.einsum("ikz,jkz->ij", found, found) / found.shape[1]


def close(found: Any, expected: Any, tolerance: float) -> None:
    """Relative to the largest entry."""
    expected = np.asarray(expected)
    assert np.abs(np.asarray(found) - expected).max() <= tolerance * np.abs(expected).max()
