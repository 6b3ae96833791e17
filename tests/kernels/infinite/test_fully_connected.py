"""Kernels of fully connected networks against neural-tangents, mpmath, and what has to hold of any kernel."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from kernels.infinite import reference
from oracles.neural_tangents.rebuilt import HERE

from ntkflow.kernels.infinite import GELU, Erf, FullyConnectedKernel, KinkedDual, LeakyReLU, SmoothDual

STORED = HERE / "infinite"
DUALS = {"relu": LeakyReLU(), "erf": Erf()}
TOLERANCE = {"float64": 1e-6, "float32": 1e-4}


def inputs(samples: int = 9, features: int = 6, seed: int = 0) -> jax.Array:
    generator = np.random.default_rng(seed)
    return jnp.asarray(generator.standard_normal((samples, features)) * generator.uniform(0.5, 2, (samples, 1)))


def test_the_stored_file_is_the_one_that_was_made() -> None:
    recorded = json.loads((STORED / "values.json").read_text())["sha256"]
    assert recorded == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in STORED.glob("*.npz")}


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("name", ["relu", "relu_bias", "erf", "erf_bias"])
def test_neural_tangents(name: str, precision: str) -> None:
    with np.load(STORED / "fully_connected.npz") as stored:
        x = jnp.asarray(stored["inputs"], precision)
        depths = stored["depths"]
        sigma_w, sigma_b = map(float, stored[f"{name}/scales"])
        expected = {kind: stored[f"{name}/{kind}/{precision}"] for kind in ("nngp", "ntk")}
    kernel = FullyConnectedKernel(DUALS[name.split("_")[0]], int(depths[-1]), sigma_w, sigma_b)
    found = kernel.every_depth(x)
    for kind in ("nngp", "ntk"):
        values = getattr(found, kind)
        assert values.dtype == precision
        size = np.sqrt(np.einsum("dii->di", expected[kind]))
        error = np.abs(np.asarray(values)[depths - 1] - expected[kind]) / (size[:, :, None] * size[:, None, :])
        assert np.max(error) < TOLERANCE[precision]


DISTANCES = (1e-3, 1e-6, 1e-9, 1e-12)


@pytest.mark.parametrize(("name", "sigma_b"), [("relu", 0.0), ("relu", 0.5), ("erf", 0.5)])
def test_near_inputs_keep_twelve_digits(name: str, sigma_b: float) -> None:
    """Depth 8 of two inputs as near as ‖x − x'‖ = 10⁻¹², as float64 holds them, against 80 digits."""
    generator = np.random.default_rng(3)
    x, direction = generator.standard_normal((2, 7))
    direction /= np.linalg.norm(direction)
    rows = np.stack([x, *(x + distance * direction for distance in DISTANCES), 1.25 * x])
    dual: Any = {"relu": reference.relu, "erf": reference.erf}[name]
    kernel = FullyConnectedKernel(DUALS[name], 8, 1.4, sigma_b)
    found = kernel.kernels(jnp.asarray(rows))
    apart = kernel.kernels(jnp.asarray(rows[:1]), jnp.asarray(rows))
    for place, row in enumerate(rows):
        exact = reference.kernels(dual, list(x), list(row), 8, 1.4, sigma_b)
        for values, value in zip(found, exact, strict=True):
            assert abs(float(mp.mpf(float(values[0, place])) / value - 1)) < 1e-12
        for values, value in zip(apart, exact, strict=True):
            assert abs(float(mp.mpf(float(values[0, place])) / value - 1)) < 1e-12


@pytest.fixture(scope="module")
def relu() -> FullyConnectedKernel:
    return FullyConnectedKernel(LeakyReLU(), 5, math.sqrt(2), 0.1, tile=4)


def test_symmetric_and_positive(relu: FullyConnectedKernel) -> None:
    x = jnp.concatenate([inputs(), inputs()[:2], -inputs()[:1]])
    found = relu.kernels(x)
    for values in found:
        np.testing.assert_array_equal(values, values.T)
        eigenvalues = np.linalg.eigvalsh(values)
        assert eigenvalues[0] > -1e-13 * eigenvalues[-1]
        # The same input twice: rows agree, and so do the values on the diagonal and off it.
        np.testing.assert_allclose(values[0], values[9], rtol=1e-13)
        np.testing.assert_allclose(values[0, 9], values[0, 0], rtol=1e-14)
    np.testing.assert_allclose(found.ntk, relu.ntk(x), rtol=0)
    np.testing.assert_allclose(found.nngp, relu.nngp(x), rtol=0)


def test_tiles_rows_and_columns_do_not_matter(relu: FullyConnectedKernel) -> None:
    x = inputs()
    whole = FullyConnectedKernel(LeakyReLU(), 5, math.sqrt(2), 0.1).kernels(x)
    for tile in (2, 4):
        tiled = FullyConnectedKernel(LeakyReLU(), 5, math.sqrt(2), 0.1, tile=tile).kernels(x)
        part = FullyConnectedKernel(LeakyReLU(), 5, math.sqrt(2), 0.1, tile=tile).kernels(x[:3], x[1:])
        for values, of_tiles, of_part in zip(whole, tiled, part, strict=True):
            np.testing.assert_allclose(of_tiles, values, rtol=1e-14)
            np.testing.assert_allclose(of_part, values[:3, 1:], rtol=1e-13)
    diagonals = relu.diagonals(x)
    for values, diagonal in zip(whole, diagonals, strict=True):
        np.testing.assert_allclose(diagonal, np.diag(values), rtol=1e-14)


def test_every_depth_is_the_kernel_of_that_depth() -> None:
    x = inputs()
    all_depths = FullyConnectedKernel(Erf(), 4, 1.5, 0.2).every_depth(x)
    for depth in (1, 2, 4):
        found = FullyConnectedKernel(Erf(), depth, 1.5, 0.2).kernels(x)
        for values, deepest in zip(found, all_depths, strict=True):
            np.testing.assert_allclose(values, deepest[depth - 1], rtol=1e-13)
    np.testing.assert_allclose(all_depths.nngp[0], 1.5**2 * x @ x.T / x.shape[1] + 0.2**2, rtol=1e-12)
    np.testing.assert_allclose(all_depths.ntk[0], all_depths.nngp[0], rtol=1e-11)


@pytest.mark.parametrize("biases", [True, False])
def test_standard_parametrisation_by_hand(biases: bool) -> None:
    """Θ of the weights themselves, from E[φφ] and E[φ'φ'] of the NNGP's own layers."""
    x, widths, sigma_b = inputs(), (300, 200), 0.3 if biases else 0.0
    found = FullyConnectedKernel(
        LeakyReLU(), 3, 1.2, sigma_b, parametrization="standard", widths=widths, biases=biases
    ).kernels(x)
    layers = FullyConnectedKernel(LeakyReLU(), 3, 1.2, sigma_b).every_depth(x)
    np.testing.assert_allclose(found.nngp, layers.nngp[-1], rtol=1e-13)
    theta = x @ x.T + float(biases)
    for layer, width in enumerate(widths):
        k = layers.nngp[layer]
        size = jnp.sqrt(jnp.diag(k))
        angle = jnp.arccos(jnp.clip(k / size[:, None] / size, -1, 1))
        moment = (layers.nngp[layer + 1] - sigma_b**2) / 1.2**2
        theta = width * moment + float(biases) + 1.2**2 * theta * (np.pi - angle) / (2 * np.pi)
    np.testing.assert_allclose(found.ntk, theta, rtol=1e-7)  # arccos near the diagonal


def test_quadrature_gives_the_kernel_of_the_closed_form() -> None:
    x = inputs(5)
    exact = FullyConnectedKernel(GELU(), 3, 1.5, 0.1)
    quadrature = FullyConnectedKernel(SmoothDual(lambda z: jax.nn.gelu(z, approximate=False)), 3, 1.5, 0.1)
    for found, expected in zip(quadrature.kernels(x), exact.kernels(x), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert exact.error_estimate(x) == 0
    assert 0 < quadrature.error_estimate(x) < 1e-12


def test_a_quadrature_that_is_not_good_enough_is_refused() -> None:
    blunt = FullyConnectedKernel(SmoothDual(jax.nn.relu, nodes=64, terms=64), 2, 1.0)
    with pytest.raises(ValueError, match=r"off by .* give it more nodes and terms, or the places of its kinks"):
        blunt.kernels(inputs(3))


def test_images_are_flattened_and_programs_are_traced(relu: FullyConnectedKernel) -> None:
    x = inputs()
    inside = jax.jit(lambda x: relu.kernels(x.reshape(9, 2, 3)))(x)
    for found, expected in zip(inside, relu.kernels(x), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_an_input_of_zeros_with_a_bias(relu: FullyConnectedKernel) -> None:
    x = inputs().at[2].set(0.0)
    found = relu.every_depth(x)
    np.testing.assert_allclose(found.nngp[0, 2], 0.1**2, rtol=1e-14)
    assert np.all(np.isfinite(found.ntk))


def test_lowering_for_cuda() -> None:
    for dual in (LeakyReLU(), Erf(), SmoothDual(jnp.tanh), KinkedDual(jnp.abs, (0.0,))):
        kernel = FullyConnectedKernel(dual, 3, 1.4, 0.1, tile=4)
        text = lower_for_cuda(lambda x, kernel=kernel: kernel.kernels(x), inputs())
        assert "stablehlo.while" in text
        assert "callback" not in text


X = inputs()


def of_depth(depth: int, *scales: float, **settings: Any) -> FullyConnectedKernel:
    return FullyConnectedKernel(Erf(), depth, *(scales or (1.0,)), **settings)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: of_depth(0), "depth and tile must be at least 1, not 0"),
        (lambda: of_depth(1, 0.0), "sigma_w must be positive"),
        (lambda: of_depth(1, 1.0, -0.1), "sigma_b not negative"),
        (lambda: of_depth(3, parametrization="standard", widths=(5,)), "needs 2 positive widths"),
        (lambda: of_depth(2, widths=(5,)), "needs 0 positive widths"),
        (lambda: of_depth(2, 1.0, 0.1, biases=False), "without biases sigma_b must be 0"),
        (lambda: of_depth(2).ntk(X, X[:, :3]), "rows and columns must be of one kind: 6 numbers"),
        (lambda: of_depth(2).ntk(X, X.astype(jnp.float32)), "rows and columns must be of one kind"),
        (lambda: of_depth(2).ntk(X[:, 0]), "must hold samples of at least one number"),
        (lambda: of_depth(2).ntk(X[:0]), "must hold samples of at least one number"),
        (lambda: of_depth(2).ntk(X, X.at[3, 1].set(jnp.nan)), "columns: 1 samples have values that are NaN"),
        (lambda: of_depth(2).ntk(X.at[4].set(0.0)), "rows: 1 samples are 0, the first is 4"),
    ],
)
def test_bad_arguments_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
