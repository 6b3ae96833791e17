"""The slides' table, accuracy of CNTK regression by depth and head, on real 8×8 digits."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from ntkflow.data import load_digits
from ntkflow.flows import DenseModes, KernelRegressionFlow
from ntkflow.kernels.infinite import ConvolutionalKernel, LeakyReLU

DEPTHS = (1, 2, 3, 4, 6, 11, 21)
HEADS: tuple[Any, ...] = ("flatten", "global average pooling")
SEEDS, PER_CLASS, TESTS = 3, 10, 200


def accuracies(head: Any, seed: int) -> list[float]:
    data = load_digits(samples_per_class=PER_CLASS, encoding="zero_centred", seed=seed)
    train = data.inputs.reshape(-1, 1, 8, 8)
    test, labels = data.test_inputs[:TESTS].reshape(-1, 1, 8, 8), data.test_labels[:TESTS]
    kernel = ConvolutionalKernel(LeakyReLU(), max(DEPTHS), 3, head)
    own, rows = kernel.every_depth(train).ntk, kernel.every_depth(test, train).ntk
    found = []
    for depth in DEPTHS:
        modes = DenseModes.of(own[depth - 1], rows[depth - 1])
        flow = KernelRegressionFlow(modes, targets=data.target_matrix, loss_scale=1.0)
        found.append(float(jnp.mean(jnp.argmax(flow.limit().test, axis=0) == labels, dtype=float)))
    return found


@pytest.mark.slow
def test_accuracy_by_depth_and_head() -> None:
    table = np.array([[accuracies(head, seed) for seed in range(SEEDS)] for head in HEADS])
    mean, error = table.mean(axis=1), table.std(axis=1, ddof=1) / np.sqrt(SEEDS)
    print()
    for depth, column, spread in zip(DEPTHS, mean.T, error.T, strict=True):
        cells = (f"{100 * value:.2f} ± {100 * width:.2f}" for value, width in zip(column, spread, strict=True))
        print(f"| {depth} | {' | '.join(cells)} |")
    # As in the slides: pooling is worth some per cent at every depth.
    assert np.all(mean[1] > mean[0])
