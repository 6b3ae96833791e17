"""Layers read together with the scales and shifts of their neurons: what is one place, and that nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kernels.dense import relative_difference

from ntkflow.kernels.empirical.factors import prepared
from ntkflow.kernels.empirical.network_program import NetworkProgram
from ntkflow.kernels.empirical.sites import FoldedSite

GENERATOR = np.random.default_rng(4)
IMAGES = GENERATOR.standard_normal((3, 2, 5, 5))
MEAN, DEVIATION = np.array([0.3, -1.2, 0.5]), np.array([0.7, 1.9, 1.1])
OUTPUTS = GENERATOR.standard_normal((2, 3))
PARAMETERS = {
    "weight": GENERATOR.standard_normal((3, 2, 3, 3)) / 3,
    "dense": GENERATOR.standard_normal((2, 3)),
    "bias": GENERATOR.standard_normal(3),
    # One gain is 0: nothing may be divided by it.
    "gain": np.array([1.3, 0.0, -0.4]),
    "shift": GENERATOR.standard_normal(3),
    "map": GENERATOR.standard_normal((3, 6, 5)),
}
Arrays = dict[str, jax.Array]


class Rule(eqx.Module):
    """A function of some of the parameters and an image."""

    arrays: Arrays
    rule: Callable[[Arrays, jax.Array], jax.Array] = eqx.field(static=True)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.rule(self.arrays, x)


def convolution(weight: jax.Array, x: jax.Array, stride: int = 1, dilation: int = 1) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x[None], weight, (stride, stride), [(1, 2), (1, 1)], rhs_dilation=(dilation, dilation)
    )[0]


def channels(vector: Any, like: jax.Array) -> jax.Array:
    return jnp.asarray(vector, like.dtype)[:, None, None]


def normalised(z: jax.Array, mean: Any = MEAN) -> jax.Array:
    return (z - channels(mean, z)) / channels(DEVIATION, z)


def read_out(y: jax.Array) -> jax.Array:
    return jnp.asarray(OUTPUTS, y.dtype) @ jnp.tanh(y).mean((1, 2))


def batch_normalised(p: Arrays, x: jax.Array) -> jax.Array:
    return read_out(channels(p["gain"], x) * normalised(convolution(p["weight"], x)) + channels(p["shift"], x))


def biased_and_normalised(p: Arrays, x: jax.Array) -> jax.Array:
    """Strides, a constant on the way of the weight, a bias that is subtracted, and a result that is."""
    z = convolution(p["weight"] * 0.7, x, stride=2) - channels(p["bias"], x)
    return read_out(channels(p["shift"], x) - channels(p["gain"], x) * normalised(z))


def dilated_and_repeated(p: Arrays, x: jax.Array) -> jax.Array:
    """Vectors that are repeated before they are combined, inside a call; two negations."""

    @jax.jit
    def scaled(z: jax.Array, gain: jax.Array) -> jax.Array:
        repeated = jnp.broadcast_to(channels(gain, z), z.shape) * z
        return -repeated / jnp.broadcast_to(channels(DEVIATION, z), z.shape)

    return read_out(-scaled(convolution(p["weight"], x, dilation=2), p["gain"]))


def tokens(p: Arrays, x: jax.Array) -> jax.Array:
    """A dense layer on every pixel, whose result is turned and then scaled."""
    y = x.reshape(2, -1).T @ p["dense"] + p["bias"]
    return read_out(y.T.reshape(3, 5, 5) * channels(p["gain"], x))


def used_twice(p: Arrays, x: jax.Array) -> jax.Array:
    z = convolution(p["weight"], x)
    return read_out(channels(p["gain"], x) * z + z)


def middle_is_an_output(p: Arrays, x: jax.Array) -> jax.Array:
    y = channels(p["gain"], x) * convolution(p["weight"], x)
    return jnp.concatenate([read_out(y + channels(p["shift"], x)), y.mean((1, 2))])


def own_statistics(p: Arrays, x: jax.Array) -> jax.Array:
    """Statistics of the sample itself are no constants."""
    z = convolution(p["weight"], x)
    return read_out(channels(p["gain"], x) * (z - z.mean((1, 2), keepdims=True)) + channels(p["shift"], x))


def one_gain_for_two(p: Arrays, x: jax.Array) -> jax.Array:
    """A gain that is used at two places is opaque, and no part of the layer."""
    gain = channels(p["gain"], x)
    return read_out(gain * convolution(p["weight"], x)) + read_out(gain * jnp.sin(x[:1]))


def differs_between_positions(p: Arrays, x: jax.Array) -> jax.Array:
    return read_out(p["map"] * convolution(p["weight"], x) + channels(p["shift"], x))


def inverted(p: Arrays, x: jax.Array) -> jax.Array:
    """A bias of its own; a square and a quotient end the layer."""
    y = convolution(p["weight"], x) + channels(p["bias"], x)
    return read_out(1.0 / (2.0 + jnp.square(y)))


FOLDED: dict[Any, list[list[str]]] = {
    batch_normalised: [["weight", "gain", "shift"]],
    biased_and_normalised: [["weight", "bias", "gain", "shift"]],
    dilated_and_repeated: [["weight", "gain"]],
    tokens: [["dense", "bias", "gain"]],
    used_twice: [],
    middle_is_an_output: [["weight", "gain"]],
    own_statistics: [],
    one_gain_for_two: [],
    differs_between_positions: [],
    inverted: [["weight", "bias"]],
}
USED = {
    **{rule: {name for names in groups for name in names} for rule, groups in FOLDED.items() if groups},
    used_twice: {"weight", "gain"},
    middle_is_an_output: {"weight", "gain", "shift"},
    own_statistics: {"weight", "gain", "shift"},
    one_gain_for_two: {"weight", "gain"},
    differs_between_positions: {"weight", "map", "shift"},
}


def network(rule: Any, dtype: Any = np.float64) -> Rule:
    return Rule({name: jnp.asarray(PARAMETERS[name], dtype) for name in sorted(USED[rule])}, rule)


def kernels(net: Rule, x: jax.Array) -> list[jax.Array]:
    """From factors, as for one pair of samples, and through gradients, as for very many."""
    program = NetworkProgram(net, x[0], "logits")

    @jax.jit
    def both(x: jax.Array) -> list[jax.Array]:
        factors = program.factors(x, jnp.eye(program.outputs, dtype=x.dtype))
        of_pairs = [prepared(factors, pairs, x.shape[0], traced=False) for pairs in (1, 10**9)]
        return [sum((part.pairs(part) for part in parts[1:]), parts[0].pairs(parts[0])) for parts in of_pairs]

    return both(x)


def brute_force(net: Rule, x: jax.Array) -> np.ndarray:
    """The Gram matrix of whole Jacobians, (samples, outputs, samples, outputs)."""
    jacobians = jax.jit(jax.vmap(jax.jacrev(net.rule), (None, 0)))(net.arrays, x)
    flat = np.concatenate([np.asarray(item).reshape(*item.shape[:2], -1) for item in jacobians.values()], axis=2)
    return np.einsum("ikp,jsp->ikjs", flat, flat)


@pytest.mark.parametrize("rule", FOLDED, ids=lambda rule: rule.__name__)
def test_what_is_one_place(rule: Any) -> None:
    net = network(rule)
    names = sorted(net.arrays)
    sites = NetworkProgram(net, jnp.asarray(IMAGES[0]), "logits").reading.places.sites
    folded = [[names[leaf] for leaf in (site.leaf, *site.others)] for site in sites if isinstance(site, FoldedSite)]
    assert folded == FOLDED[rule]


@pytest.mark.parametrize("rule", FOLDED, ids=lambda rule: rule.__name__)
def test_the_kernel_is_the_same(rule: Any) -> None:
    net, x = network(rule), jnp.asarray(IMAGES)
    expected = brute_force(net, x)
    for found in kernels(net, x):
        assert relative_difference(found, expected) <= 1e-13


@pytest.mark.parametrize(("mean", "limit"), [(1.0, 3e-6), (1000.0, 3e-3)])
def test_single_precision(mean: float, limit: float) -> None:
    """A gain's gradient loses what z − μ loses: |μ|/σ times the rounding error; the test's μ/σ is about ``mean``."""

    def rule(p: Arrays, x: jax.Array) -> jax.Array:
        z = convolution(p["weight"], x) + channels(np.full(3, mean), x)
        return read_out(channels(p["gain"], x) * normalised(z, np.full(3, mean)) + channels(p["shift"], x))

    USED[rule] = {"weight", "gain", "shift"}
    expected = brute_force(network(rule), jnp.asarray(IMAGES))
    for found in kernels(network(rule, np.float32), jnp.asarray(IMAGES, np.float32)):
        assert relative_difference(np.asarray(found, np.float64), expected) <= limit
