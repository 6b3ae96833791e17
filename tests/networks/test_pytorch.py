"""Networks of images against PyTorch's layers with the same numbers: outputs in both modes, gradients, counts."""

from __future__ import annotations

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kernels.dense import relative_difference
from networks.torch_reference import HERE, KINDS, computed, count, filled, gradient_norms, outputs, recorded, shapes
from oracles.pytorch.recipe import CASES, COUNTED, inputs

NARROW = [name for name, case in CASES.items() if not case.real]
REAL = [name for name, case in CASES.items() if case.real]


def off(value: np.ndarray | jax.Array, expected: np.ndarray) -> float:
    """Largest difference relative to the largest entry."""
    value = np.asarray(value, np.float64)
    assert value.shape == expected.shape
    return float(np.abs(value - expected).max() / np.abs(expected).max())


def test_the_stored_file_is_the_one_that_was_made() -> None:
    assert hashlib.sha256((HERE / "outputs.npz").read_bytes()).hexdigest() == recorded()["sha256"]
    assert set(recorded()["float32 from float64"]) == set(CASES)
    assert set(recorded()["parameters"]) == set(COUNTED)


def test_documented_parameter_counts() -> None:
    """PyTorch's counts of its own networks stand in the documentation of ours."""
    page = (HERE.parents[2] / "docs" / "reference" / "networks-and-data.md").read_text(encoding="utf-8")
    for name, counts in recorded()["parameters"].items():
        for expected in counts:
            for text in (page, KINDS[COUNTED[name][0]].__doc__ or ""):
                assert f"{expected:,}".replace(",", " ") in text


@pytest.mark.parametrize("name", [name for name in COUNTED if "32" not in name and "56" not in name])
def test_parameter_counts(name: str) -> None:
    """Ours are PyTorch's; only shapes are made. (All depths of ResNet are counted by hand in test_resnet.py.)"""
    kind, options = COUNTED[name]
    colours, grey = (shapes(kind, channels, options) for channels in (3, 1))
    assert [count(colours), count(grey)] == recorded()["parameters"][name]
    assert colours.depth == options["depth"]
    features = {"vgg": 256, "resnet": 64, "densenet": 132 if options.get("compression") == 0.5 else 232}
    assert colours.readout.weight.shape == (10, features[kind])


@pytest.mark.parametrize("name", NARROW)
def test_outputs(name: str) -> None:
    case, stored = CASES[name], outputs(name)
    network, x = filled(case, jnp.float64), jnp.asarray(inputs(case), jnp.float64)
    for what, values in computed(network, x).items():
        assert off(values, stored[f"{what}/float64"]) <= 1e-12
    # The two modes differ, and nearly no sample's features are dead: an error would be seen.
    assert off(stored["stored/logits/float64"], stored["batch/logits/float64"]) > 0.1
    assert (stored["batch/features/float64"] > 0).any(1).mean() > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_gradients(name: str) -> None:
    """In batch mode, in float64: of every parameter array, through the statistics too."""
    case = CASES[name]
    slopes = gradient_norms(filled(case, jnp.float64), jnp.asarray(inputs(case), jnp.float64))
    assert relative_difference(slopes, outputs(name)["batch/gradient_norms/float64"]) <= 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("name", REAL)
def test_the_papers_networks(name: str, precision: str) -> None:
    """In float64 to 1e-10. In float32 to 1e-5 by stored statistics, and by a batch's to three times what PyTorch's own
    float32 is from its float64: the last layers of a VGG normalise by twelve values."""
    case, stored = CASES[name], outputs(name)
    found = computed(filled(case, precision), jnp.asarray(inputs(case), precision))
    if precision == "float64":
        assert all(off(values, stored[f"{what}/float64"]) <= 1e-10 for what, values in found.items())
        return
    assert off(found["stored/logits"], stored["stored/logits/float32"]) <= 1e-5
    allowed = max(1e-5, 3 * recorded()["float32 from float64"][name])
    assert off(found["batch/logits"], stored["batch/logits/float64"]) <= allowed
