"""What a pass over a batch computes is what layers compute of single images: values, every derivative, members."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from kernels.dense import relative_difference
from networks.plain_resnet import convolve

from ntkflow.networks import Convolution, ResNet
from ntkflow.networks.channel_order import relu_of_sum

GENERATOR = np.random.default_rng(0)
IMAGES = jnp.asarray(GENERATOR.standard_normal((3, 2, 7, 6)))
LAYERS = [(3, 1, None), (3, 2, None), (2, 1, 0), (1, 1, None), (1, 2, None), (1, 1, 1), (5, 3, 1)]
FAST = [(3, 2, None), (1, 1, 1), (5, 3, 1)]
"""One of each kind: a stride, a margin around single positions, a wide window with another margin than its half."""


def in_batch(layer: Convolution, images: jax.Array) -> jax.Array:
    return jax.vmap(lambda a: layer.apply(a, "batch"), axis_name="batch")(images)


def one_by_one(layer: Convolution, images: jax.Array) -> jax.Array:
    return jnp.stack([layer(a) for a in images])


def make(window: int, stride: int, padding: int | None, seed: int = 0) -> Convolution:
    return Convolution(
        jax.random.key(seed), 2, 4, window, stride=stride, padding=padding, initialization="pytorch_uniform"
    )


@pytest.mark.parametrize(
    ("window", "stride", "padding"),
    [pytest.param(*layer, marks=() if layer in FAST else pytest.mark.slow) for layer in LAYERS],
)
def test_values_and_derivatives(window: int, stride: int, padding: int | None) -> None:
    layer = make(window, stride, padding)
    expected = convolve(np.asarray(IMAGES), np.asarray(layer.weight), stride, layer.padding)
    z, backward = jax.vjp(in_batch, layer, IMAGES)
    assert relative_difference(z, expected + np.asarray(layer.bias)[:, None, None]) <= 1e-14
    cotangent = jnp.asarray(GENERATOR.standard_normal(z.shape))
    found = backward(cotangent)
    for ours, plain in zip(
        jax.tree.leaves(found), jax.tree.leaves(jax.vjp(one_by_one, layer, IMAGES)[1](cotangent)), strict=True
    ):
        assert relative_difference(ours, plain) <= 1e-13
    # Forward derivatives pair with backward ones.
    moved = jax.tree.map(lambda leaf: jnp.asarray(GENERATOR.standard_normal(leaf.shape)), (layer, IMAGES))
    dz = jax.jvp(in_batch, (layer, IMAGES), moved)[1]
    paired = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(moved), strict=True))
    assert abs(float(jnp.vdot(cotangent, dz) - paired)) <= 1e-12 * float(jnp.abs(cotangent * dz).sum())


def test_members() -> None:
    layers = [make(3, 2, None, seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers)

    def gradient(layer: Convolution) -> Convolution:
        return jax.grad(lambda layer: jnp.sum(in_batch(layer, IMAGES) ** 2))(layer)

    together = jax.vmap(gradient)(stacked)
    for i, layer in enumerate(layers):
        alone = jax.grad(lambda layer: jnp.sum(one_by_one(layer, IMAGES) ** 2))(layer)
        assert relative_difference(together.weight[i], alone.weight) <= 1e-13
        assert relative_difference(together.bias[i], alone.bias) <= 1e-13


def test_sums_of_a_batch() -> None:
    other = IMAGES[::-1] - 0.1

    def value(a: jax.Array, b: jax.Array) -> jax.Array:
        return jax.vmap(lambda a, b: relu_of_sum(a, b, batch_axis="batch"), axis_name="batch")(a, b)

    expected = np.maximum(np.asarray(IMAGES) + np.asarray(other), 0)
    assert np.array_equal(value(IMAGES, other), expected)
    gradient = jax.grad(lambda a, b: jnp.sum(value(a, b)), 1)(IMAGES, other)
    assert np.array_equal(gradient, expected > 0)


def test_a_single_sample_is_traced_as_before() -> None:
    """The kernel engine reads this program: one convolution, channels first, and nothing that stands in its way."""
    layer = make(3, 1, None)
    assert str(jax.make_jaxpr(lambda a: layer.apply(a, None))(IMAGES[0])) == str(jax.make_jaxpr(layer)(IMAGES[0]))
    network = ResNet(jax.random.key(0), input_channels=2, outputs=3, depth=8, channels=(2, 3, 4))
    program = str(jax.make_jaxpr(network.features)(IMAGES[0]))
    assert program.count("conv_general_dilated[") == 9
    assert "optimization_barrier" not in program
    assert "transpose[" not in program


def test_cuda_gets_plain_convolutions() -> None:
    network = ResNet(jax.random.key(0), input_channels=2, outputs=3, depth=8, channels=(2, 3, 4))
    parameters, rest = eqx.partition(network, eqx.is_inexact_array)

    def loss(parameters: ResNet, images: jax.Array) -> jax.Array:
        return jnp.sum(eqx.combine(parameters, rest).batch_features(images)[0])

    text = lower_for_cuda(jax.grad(loss), parameters, IMAGES)
    # Seven 3×3 windows forward and for their weights, six for their inputs, of which the network's needs none.
    assert text.count("stablehlo.convolution") == 7 + 7 + 6
    # Patches of images would be gathered or put side by side.
    assert "stablehlo.concatenate" not in text
    assert "stablehlo.gather" not in text
