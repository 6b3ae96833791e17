"""Kernels of infinitely wide convolutional networks against the slides' loops, wide networks and their own rules."""

from __future__ import annotations

import math
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float, PRNGKeyArray
from kernels.infinite.naive_convolutional import cosine, relu, slides_kernels

from ntkflow.kernels import empirical_ntk
from ntkflow.kernels.infinite import AbstractDualActivation, ConvolutionalKernel, LeakyReLU, PairMoments
from ntkflow.networks import Convolution

POOLED = "global average pooling"
HEADS = ("flatten", POOLED)


@final
class Cosine(AbstractDualActivation):
    """φ = cos, which is not 0 at 0: E[φφ] = e^{−(q_u + q_v)/2} cosh k."""

    def second_moment(self, variance: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return (1 + jnp.exp(-2 * variance)) / 2

    def pair(
        self,
        variance_u: Float[Array, "*#shape"],
        variance_v: Float[Array, "*#shape"],
        gap: Float[Array, "*#shape"],
    ) -> PairMoments:
        k = jnp.sqrt(variance_u * variance_v) * (1 - gap)
        falls = jnp.exp(-(variance_u + variance_v) / 2)
        size = jnp.sqrt(self.second_moment(variance_u) * self.second_moment(variance_v))
        return PairMoments(1 - falls * jnp.cosh(k) / size, falls * jnp.sinh(k))


def images(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    """Images with black rows in the last one."""
    values = np.random.default_rng(seed).standard_normal((count, *shape))
    values[-1, :, : shape[1] - 1] = 0
    return values


def off(value: Any, expected: np.ndarray) -> float:
    value = np.asarray(value)
    assert value.shape == expected.shape
    return float(np.max(np.abs(value - expected)) / np.max(np.abs(expected)))


@pytest.mark.parametrize("head", HEADS)
def test_the_slides_recursion_with_relu(head: Any) -> None:
    """c_σ = 2: their CNTK is channels·P·Q/2 times ours, and with pooling channels/2 times, at every depth."""
    channels, height, width = 2, 3, 4
    x = images(3, channels, height, width)
    found = ConvolutionalKernel(LeakyReLU(), 3, 3, head).every_depth(jnp.asarray(x[:2]), jnp.asarray(x))
    for depth in (1, 3):
        for row, column in ((0, 0), (0, 1), (1, 2)):
            values = slides_kernels(x[row], x[column], depth=depth, filter_size=3, c_sigma=2.0)
            for ours, theirs in zip(found, values, strict=True):
                expected = np.einsum("ijij->", theirs) / (channels * height * width / 2)
                if head == POOLED:
                    expected = theirs.sum() / (height * width) ** 2 / (channels / 2)
                assert float(ours[depth - 1, row, column]) == pytest.approx(expected, rel=1e-12)


def test_filters_that_are_larger_than_the_image() -> None:
    x = images(1, 1, 1, 2, seed=2)[:, :, :1] + 1
    found = ConvolutionalKernel(LeakyReLU(), 2, 5, POOLED).kernels(jnp.asarray(x))
    values = slides_kernels(x[0], x[0], depth=2, filter_size=5, c_sigma=2.0)
    for ours, theirs in zip(found, values, strict=True):
        assert float(ours[0, 0]) == pytest.approx(theirs.mean() * 2, rel=1e-12)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("activation", [Cosine(), LeakyReLU()])
def test_the_slides_recursion_with_any_activation(head: Any, activation: AbstractDualActivation) -> None:
    """Where φ is not homogeneous their network is ours on images times q √channels/σ_w, with σ_w² = c_σ."""
    channels, height, width, q, c_sigma, depth = 2, 3, 2, 3, 1.3, 2
    x = images(2, channels, height, width, seed=1)
    scaled = jnp.asarray(x * q * math.sqrt(channels / c_sigma))
    kernel = ConvolutionalKernel(activation, depth, q, head, sigma_w=math.sqrt(c_sigma))
    found = kernel.kernels(scaled)
    dual = cosine if isinstance(activation, Cosine) else relu
    for row, column in ((0, 0), (0, 1), (1, 1)):
        values = slides_kernels(x[row], x[column], depth=depth, filter_size=q, c_sigma=c_sigma, dual=dual)
        for ours, theirs in zip(found, values, strict=True):
            pixels = height * width
            mean = np.einsum("ijij->", theirs) / pixels if head == "flatten" else theirs.sum() / pixels**2
            assert float(ours[row, column]) == pytest.approx(q**2 * mean, rel=1e-12)


class Wide(eqx.Module):
    """Two convolutions and a dense layer in the NTK parametrisation, from ntkflow's own layers."""

    first: Convolution
    second: Convolution
    readout: Array
    shift: Array
    pooled: bool = eqx.field(static=True)

    def __init__(self, key: PRNGKeyArray, channels: int, pixels: int, width: int, *, pooled: bool) -> None:
        keys = jax.random.split(key, 6)
        self.first, self.second = Convolution(keys[0], channels, width), Convolution(keys[1], width, width)
        self.first, self.second = (
            eqx.tree_at(
                lambda layer: (layer.weight, layer.bias),
                layer,
                (jax.random.normal(key, layer.weight.shape), jax.random.normal(bias_key, layer.bias.shape)),
            )
            for layer, key, bias_key in ((self.first, *keys[:2]), (self.second, *keys[2:4]))
        )
        self.readout = jax.random.normal(keys[4], (1, width if pooled else width * pixels))
        self.shift = jax.random.normal(keys[5], (1,))
        self.pooled = pooled

    def features(self, x: Float[Array, "channels height width"]) -> Float[Array, " features"]:
        for layer in (self.first, self.second):
            scale = 1.2 / np.sqrt(layer.weight[0].size)
            scaled = eqx.tree_at(
                lambda layer: (layer.weight, layer.bias), layer, (layer.weight * scale, layer.bias * 0.4)
            )
            x = jax.nn.relu(scaled(x))
        return x.mean((1, 2)) if self.pooled else x.reshape(-1)

    def __call__(self, x: Float[Array, "channels height width"]) -> Float[Array, "1"]:
        a = self.features(x)
        return self.readout @ a * (1.2 / np.sqrt(a.size)) + 0.4 * self.shift


@pytest.mark.parametrize("head", HEADS)
def test_wide_networks(head: Any) -> None:
    """Means over networks of 192 channels are within four standard errors, which are below five per cent."""
    x = jnp.asarray(np.random.default_rng(3).standard_normal((2, 2, 4, 3)))
    exact = ConvolutionalKernel(LeakyReLU(), 2, 3, head, 1.2, 0.4).kernels(x)
    tangents, products = [], []
    for key in jax.random.split(jax.random.key(4), 24):
        network = Wide(key, 2, 12, 192, pooled=head == POOLED)
        tangents.append(np.asarray(empirical_ntk(network, x, trace="mean").values))
        # The covariance over readouts, given everything before them.
        a = np.asarray(jax.vmap(network.features)(x))
        products.append(1.2**2 * a @ a.T / a.shape[1] + 0.4**2)
    for found, expected, most in ((tangents, exact.ntk, 0.05), (products, exact.nngp, 0.05)):
        error = np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
        assert np.all(error < most * np.asarray(expected).max())
        assert np.all(np.abs(np.mean(found, axis=0) - np.asarray(expected)) < 4 * error)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_rules_that_every_kernel_keeps(head: Any, precision: str) -> None:
    x = images(5, 3, 5, 4, seed=5)
    x[2] = x[0]
    x[3] = 0
    x = jnp.asarray(x, precision)
    kernel = ConvolutionalKernel(LeakyReLU(), 3, 3, head)
    own, between = kernel.every_depth(x), kernel.every_depth(x[:2], x)
    few = kernel.every_depth(x, tile=4)
    eps = float(jnp.finfo(precision).eps)
    for of, parts, tiled in zip(own, between, few, strict=True):
        assert of.dtype == parts.dtype == precision
        assert of.shape == (3, 5, 5)
        assert parts.shape == (3, 2, 5)
        of = np.asarray(of)
        assert np.array_equal(of, of.transpose(0, 2, 1))
        assert off(parts, of[:, :2]) < 20 * eps
        assert off(tiled, of) < 20 * eps
        assert np.all(np.linalg.eigvalsh(of) > -50 * eps * of.max())
        # A black image has no features; equal images have the same.
        assert np.array_equal(of[:, 3], np.zeros((3, 5)))
        assert off(of[:, 2, [0, 1, 4]], of[:, 0, [0, 1, 4]]) < 20 * eps
        assert of[:, 0, 2] == pytest.approx(of[:, 0, 0], rel=20 * eps)
    for alone, of in zip(kernel.diagonals(x), own, strict=True):
        assert off(alone, np.diagonal(np.asarray(of)[-1])) < 20 * eps
    last = kernel.kernels(x)
    assert np.array_equal(last.ntk, own.ntk[-1])


def test_equal_and_nearly_equal_images_in_float32() -> None:
    """arccos of a rounded cosine would put these 2·10⁻⁴ and more off."""
    x = np.random.default_rng(6).standard_normal((2, 3, 6, 6)).astype(np.float32)
    x[1] = x[0] + np.float32(1e-4) * x[1]
    kernel = ConvolutionalKernel(LeakyReLU(), 5)
    exact = kernel.kernels(jnp.asarray(x, "float64"))
    for found, expected in zip(kernel.kernels(jnp.asarray(x)), exact, strict=True):
        assert off(found, np.asarray(expected)) < 2e-6
        assert float(found[0, 0] - found[0, 1]) == pytest.approx(float(expected[0, 0] - expected[0, 1]), abs=2e-5)


def test_a_linear_network_is_a_sum_over_layers() -> None:
    """Slope 1: with single pixels σ_w² multiplies at every layer, and the tangent kernel has one such term a layer."""
    x = np.random.default_rng(7).standard_normal((3, 4, 1, 1))
    kernel = ConvolutionalKernel(LeakyReLU(1.0), 2, 1, sigma_w=1.5, sigma_b=0.5)
    weight, bias = 1.5**2, 0.5**2
    covariance = [weight * (x.reshape(3, 4) @ x.reshape(3, 4).T) / 4 + bias]
    for _ in range(2):
        covariance.append(weight * covariance[-1] + bias)
    found = kernel.kernels(jnp.asarray(x))
    assert off(found.nngp, covariance[2]) < 1e-14
    assert off(found.ntk, covariance[2] + weight * covariance[1] + weight**2 * covariance[0]) < 1e-14


def test_it_is_a_program_for_graphics_cards_too() -> None:
    def kernels(x: Array) -> Any:
        return ConvolutionalKernel(LeakyReLU(), 2, 3, POOLED).kernels(x)

    exported = jax.export.export(jax.jit(kernels), platforms=["cuda"])(jax.ShapeDtypeStruct((3, 1, 4, 4), "float32"))
    assert exported.platforms == ("cuda",)


def test_what_is_refused() -> None:
    for wrong, message in (
        ({"depth": 0}, "depth must be at least 1, not 0"),
        ({"filter_size": 2}, "filter_size must be odd and positive, not 2"),
        ({"sigma_w": 0.0}, "sigma_w must be positive"),
        ({"sigma_b": -1.0}, "sigma_b must be at least 0"),
        ({"sigma_b": float("nan")}, "sigma_b must be at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            ConvolutionalKernel(LeakyReLU(), **{"depth": 1, **wrong})
    wrong_head: Any = "max pooling"
    with pytest.raises(Exception, match="head"):  # The tests' own check of types comes first.
        ConvolutionalKernel(LeakyReLU(), 1, 3, wrong_head)
    kernel, x = ConvolutionalKernel(LeakyReLU(), 1), jnp.ones((2, 1, 3, 3))
    with pytest.raises(Exception, match="columns"):  # As above.
        kernel.kernels(x, jnp.ones((2, 1, 3, 4)))
    for columns, message in (
        (x.astype("float32"), "one shape and precision"),
        (x.at[0, 0, 1, 2].set(jnp.nan), "columns is nan at"),
        (jnp.ones((0, 1, 3, 3)), "without empty axes"),
    ):
        with pytest.raises(ValueError, match=message):
            kernel.kernels(x, columns)
    with pytest.raises(ValueError, match="float32 or float64, not float16"):
        kernel.kernels(x.astype("float16"))
    with pytest.raises(ValueError, match="tile must be at least 1"):
        kernel.kernels(x, tile=0)
