"""Infinite-width convolutional kernels of neural-tangents (tests/oracles/neural_tangents/infinite) against ours."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from ntkflow.kernels.infinite import ConvolutionalKernel, LeakyReLU

HERE = Path(next(iter(oracles.__path__))) / "neural_tangents" / "infinite"
HEADS: dict[str, Any] = {"flatten": "flatten", "pooling": "global average pooling"}
SIZES = {"square": (3, 2**0.5), "oblong": (5, 1.3)}
TOLERANCE = {"float64": 1e-6, "float32": 1e-4}


def test_the_stored_file_is_the_one_that_was_made() -> None:
    recorded = json.loads((HERE / "values.json").read_text())["sha256"]
    assert recorded["convolutional.npz"] == hashlib.sha256((HERE / "convolutional.npz").read_bytes()).hexdigest()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("precision", TOLERANCE)
def test_depths_one_to_five(name: str, head: str, precision: str) -> None:
    filter_size, sigma_w = SIZES[name]
    with np.load(HERE / "convolutional.npz") as stored:
        x = jnp.asarray(stored[name], precision)
        for sigma_b in (0.0, 0.1):
            kernel = ConvolutionalKernel(LeakyReLU(), 5, filter_size, HEADS[head], sigma_w, sigma_b)
            for kind, found in kernel.every_depth(x)._asdict().items():
                expected = stored[f"{name}/{head}/{sigma_b}/{kind}"]
                assert found.dtype == precision
                assert found.shape == expected.shape
                for depth in range(5):
                    off = np.max(np.abs(np.asarray(found[depth], "float64") - expected[depth]) / expected[depth])
                    assert off < TOLERANCE[precision]
