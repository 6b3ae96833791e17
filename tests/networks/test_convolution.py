"""Convolution and pooling against loops, initial weights against their rules."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kernels.dense import relative_difference
from networks.plain_resnet import convolve

from ntkflow.networks import (
    Convolution,
    ProductConvolution,
    ResNet,
    as_trained,
    average_pool,
    global_average_pool,
    initial_bias,
    initial_weight,
    max_pool,
    normal_weight,
    with_product_convolutions,
)

IMAGES = np.random.default_rng(0).standard_normal((3, 2, 7, 6))


@pytest.mark.parametrize(("window", "stride", "padding"), [(3, 1, None), (3, 2, None), (2, 1, 0)])
def test_convolution(window: int, stride: int, padding: int | None) -> None:
    layer = Convolution(
        jax.random.key(0), 2, 4, window, stride=stride, padding=padding, initialization="pytorch_uniform"
    )
    assert layer.bias is not None
    assert np.all(np.asarray(layer.bias) != 0)
    expected = convolve(IMAGES, np.asarray(layer.weight), stride, (window - 1) // 2 if padding is None else padding)
    expected += np.asarray(layer.bias)[:, None, None]
    actual = jax.vmap(layer)(jnp.asarray(IMAGES))
    assert relative_difference(actual, expected) <= 1e-14
    if padding is None and stride == 1:
        assert actual.shape[2:] == IMAGES.shape[2:]


@pytest.mark.parametrize(("window", "stride", "padding"), [(3, 1, None), (3, 2, None), (2, 1, 0), (2, 2, 1), (1, 2, 0)])
@pytest.mark.parametrize("bias", [True, False])
def test_as_products(window: int, stride: int, padding: int | None, bias: bool) -> None:
    layer = Convolution(
        jax.random.key(0),
        2,
        4,
        window,
        stride=stride,
        padding=padding,
        bias=bias,
        initialization="pytorch_uniform",
    )
    other = with_product_convolutions(layer)
    assert isinstance(other, ProductConvolution)
    assert isinstance(with_product_convolutions(other), ProductConvolution)
    for image in IMAGES:
        assert relative_difference(other.apply(jnp.asarray(image), None), layer(jnp.asarray(image))) <= 1e-14


def test_a_network_with_products_has_the_same_parameters() -> None:
    network = ResNet(jax.random.key(1), input_channels=2, outputs=3, depth=8, channels=(2, 3, 4))
    other = with_product_convolutions(network)
    assert [leaf.shape for leaf in jax.tree.leaves(network)] == [leaf.shape for leaf in jax.tree.leaves(other)]
    assert "conv_general_dilated" not in str(jax.make_jaxpr(as_trained(other).feature_matrix)(jnp.ones((3, 2, 8, 6))))
    x = jnp.asarray(np.random.default_rng(1).standard_normal((5, 2, 8, 6)))
    assert relative_difference(as_trained(other).feature_matrix(x), as_trained(network).feature_matrix(x)) <= 1e-12


def test_without_bias() -> None:
    layer = Convolution(jax.random.key(0), 2, 4, bias=False)
    assert layer.bias is None
    assert (
        relative_difference(layer(jnp.asarray(IMAGES[0])), convolve(IMAGES[:1], np.asarray(layer.weight), 1, 1)[0])
        <= 1e-14
    )


def test_an_even_window_needs_its_padding() -> None:
    with pytest.raises(ValueError, match="window of 2 has no middle; give its padding"):
        Convolution(jax.random.key(0), 2, 4, 2)


def test_pooling() -> None:
    image = jnp.asarray(IMAGES[0])
    means, largest = np.zeros((2, 2, 2)), np.zeros((2, 2, 2))
    for r in range(2):
        for c in range(2):
            for channel in range(2):
                window = IMAGES[0, channel, 3 * r : 3 * r + 3, 3 * c : 3 * c + 3]
                means[channel, r, c], largest[channel, r, c] = window.sum() / 9, window.max()
    assert relative_difference(average_pool(image, 3), means) <= 1e-14
    assert np.array_equal(max_pool(image, 3), largest)
    assert relative_difference(global_average_pool(image), IMAGES[0].sum((1, 2)) / 42) <= 1e-14
    with pytest.raises(ValueError, match="7×6 has no whole window of 8×8"):
        max_pool(image, 8)


def test_where_values_tie_the_derivative_is_the_first_ones() -> None:
    """As in PyTorch, in the order of rows."""
    gradient = jax.grad(lambda a: max_pool(a, 2).sum())(jnp.asarray([[[0.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]]]))
    assert np.array_equal(gradient, [[[0, 1, 1, 0], [0, 0, 0, 0]]])
    assert np.isnan(max_pool(jnp.asarray([[[0.0, jnp.nan, jnp.nan, 1], [1, 1, 1, 2]]]), 2)).all()


# Fan-in 12·9 = 108, fan-out 30·9 = 270.
VARIANCES = {
    "he_normal": 2 / 108,
    "he_normal_fan_out": 2 / 270,
    "lecun_normal": 1 / 108,
    "lecun_truncated_normal": 1 / 108,
    "pytorch_uniform": 1 / (3 * 108),
}


@pytest.mark.parametrize("rule", list(VARIANCES))
def test_initial_weights(rule: str) -> None:
    """320 layers, 1 036 800 numbers: the variance is known to √(2/10⁶) = 0.14 % (normal; less for the others)."""
    keys = jax.random.split(jax.random.key(0), 320)
    weights = np.asarray(jax.vmap(lambda key: initial_weight(key, (30, 12, 3, 3), rule))(keys))
    std = math.sqrt(VARIANCES[rule])
    assert weights.shape == (320, 30, 12, 3, 3)
    assert abs(weights.var() / VARIANCES[rule] - 1) < 0.006
    assert abs(weights.mean()) < 0.004 * std
    largest, beyond = np.abs(weights).max() / std, np.mean(np.abs(weights) > 2 * std)
    if rule == "pytorch_uniform":
        assert 1.732 < largest <= math.sqrt(3)
    elif rule == "lecun_truncated_normal":
        # Cut at two standard deviations of the uncut normal, whose variance is 1/0.7737 of what is left.
        assert 2.27 < largest <= 2 / math.sqrt(0.7737)
    else:
        assert abs(beyond - 0.0455) < 0.001
        assert largest > 4


def test_dense_weights_are_windows_of_one() -> None:
    dense = initial_weight(jax.random.key(3), (5, 4), "he_normal")
    window = initial_weight(jax.random.key(3), (5, 4, 1, 1), "he_normal")
    assert relative_difference(window, np.sqrt(2 / 4) * jax.random.normal(jax.random.key(3), (5, 4, 1, 1))) <= 1e-15
    assert relative_difference(dense, np.sqrt(2 / 4) * jax.random.normal(jax.random.key(3), (5, 4))) <= 1e-15
    assert np.array_equal(normal_weight(jax.random.key(3), 5, 4, "he_normal"), dense)


def test_initial_biases() -> None:
    key = jax.random.key(1)
    assert not initial_bias(key, (7, 4, 3, 3), "he_normal").any()
    biases = np.asarray(initial_bias(key, (20_000, 4, 3, 3), "pytorch_uniform"))
    assert biases.shape == (20_000,)
    assert np.abs(biases).max() <= 1 / 6
    # The variance of the squares of a uniform distribution: 4/5 of the squared variance, so 0.63 % here.
    assert abs(biases.var() * 108 - 1) < 0.03
    # Not the numbers of the weights that came from the same key.
    weights = np.asarray(initial_weight(key, (20_000, 4, 3, 3), "pytorch_uniform"))
    assert abs(np.corrcoef(biases, weights[:, 0, 0, 0])[0, 1]) < 0.03
    assert not np.isin(biases[:100], weights).any()


def test_normal_weights_only() -> None:
    with pytest.raises(ValueError, match="'pytorch_uniform' is no normal distribution"):
        normal_weight(jax.random.key(0), 3, 4, "pytorch_uniform")


@pytest.mark.parametrize("rule", list(VARIANCES))
def test_types(rule: str) -> None:
    key = jax.random.key(0)
    for dtype, expected in [(jnp.float32, jnp.float32), (None, jnp.float64)]:
        for initial in (initial_weight, initial_bias):
            made = jax.eval_shape(lambda key, of=initial, dtype=dtype: of(key, (5, 4, 3, 3), rule, dtype), key)
            assert made.dtype == expected
