"""One tiny real problem for all tests of training and comparison: compiled once, trained once each way.

The sizes are those of ``scenarios/digits.yaml`` as the experiments' tests shrink it: both share what is compiled.
"""

from __future__ import annotations

import functools

import jax

from ntkflow.data import Dataset, load_digits
from ntkflow.flows import Integration
from ntkflow.networks import MLP
from ntkflow.training import (
    History,
    Problem,
    Snapshot,
    measure_snapshot,
    train_by_gradient_descent,
    train_by_gradient_flow,
)

CLASSES, PER_CLASS, WIDTH, FEATURES = 3, 4, 8, 6
SAMPLES = CLASSES * PER_CLASS
Z = float(SAMPLES)
STEP = 0.05
STEPS = 600
SNAPSHOTS = (0, 37, 300)
END = 6.0
"""Gradient-flow time of :func:`flowed`; the residual falls by three quarters until then."""
FLOW_SNAPSHOTS = (0.0, 1.3)
TIGHT = Integration(rtol=1e-10, atol=1e-12)
LOOSE = Integration(rtol=1e-6, atol=1e-8)
"""A scenario's own tolerances for forecasts, so that what was compiled for one is there for the other."""


@functools.cache
def dataset() -> Dataset:
    return load_digits(classes=CLASSES, samples_per_class=PER_CLASS, encoding="zero_centred", seed=0)


@functools.cache
def problem() -> Problem:
    return Problem.of(dataset(), Z)


@functools.cache
def network() -> MLP:
    return MLP(
        jax.random.key(0),
        inputs=64,
        outputs=CLASSES,
        width=WIDTH,
        hidden_layers=1,
        features=FEATURES,
        activation="tanh",
    )


@functools.cache
def descended() -> History:
    return train_by_gradient_descent(
        network(), problem(), step_size=STEP, steps=STEPS, snapshots=SNAPSHOTS, records=200
    )


@functools.cache
def flowed() -> History:
    return train_by_gradient_flow(
        network(), problem(), end_time=END, snapshots=FLOW_SNAPSHOTS, records=200, integration=TIGHT
    )


@functools.cache
def snapshots() -> tuple[Snapshot, ...]:
    """Of gradient descent, one for each of :data:`SNAPSHOTS`."""
    return tuple(
        measure_snapshot(checkpoint, problem(), dataset().test_inputs, dataset().test_labels)
        for checkpoint in descended().checkpoints
    )


@functools.cache
def flow_snapshots() -> tuple[Snapshot, ...]:
    """Of gradient flow, one for each of :data:`FLOW_SNAPSHOTS`."""
    return tuple(
        measure_snapshot(checkpoint, problem(), dataset().test_inputs, dataset().test_labels)
        for checkpoint in flowed().checkpoints
    )
