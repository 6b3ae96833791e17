"""The residual network against plain NumPy, as a function of a batch and of one sample."""

from __future__ import annotations

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from kernels.dense import relative_difference
from networks.plain_resnet import forward, norms, shaken

from ntkflow.kernels import empirical_ntk
from ntkflow.networks import (
    AbstractBatchClassifier,
    ResNet,
    Shortcut,
    Statistics,
    require_statistics,
    running_average,
    with_statistics_of,
)

SHORTCUTS: list[Shortcut] = ["projection", "padding"]
IMAGES = np.random.default_rng(0).standard_normal((5, 2, 7, 8))
ELSEWHERE = np.random.default_rng(1).standard_normal((5, 2, 7, 8))


@functools.cache
def network(shortcut: Shortcut = "projection", **options: object) -> ResNet:
    options = {"channels": (2, 3, 5), "input_channels": 2, "outputs": 3, "depth": 8, **options}
    return ResNet(jax.random.key(0), shortcut=shortcut, **options)


@eqx.filter_jit
def in_batch(net: ResNet, images: np.ndarray | jax.Array) -> tuple[jax.Array, AbstractBatchClassifier]:
    return net.batch_features(jnp.asarray(images))


@eqx.filter_jit
def one_by_one(net: ResNet, images: np.ndarray | jax.Array) -> jax.Array:
    return net.feature_matrix(jnp.asarray(images))


averaged = eqx.filter_jit(running_average)


@eqx.filter_jit
def tangents(net: ResNet, direction: ResNet, images: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Derivatives of the features along a direction in parameter space: of single samples, and of the batch."""
    parameters, rest = eqx.partition(net, eqx.is_inexact_array)

    def features(parameters: ResNet) -> tuple[jax.Array, jax.Array]:
        net = eqx.combine(parameters, rest)
        return net.feature_matrix(jnp.asarray(images)), net.batch_features(jnp.asarray(images))[0]

    return jax.jvp(features, (parameters,), (direction,))[1]


@pytest.mark.parametrize("near", ["initialisation", "elsewhere"])
@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_forward_and_statistics_of_a_reference(shortcut: Shortcut, near: str) -> None:
    """The batch mode, and the function of one sample that has the batch's statistics, are NumPy's to 1e-12."""
    net = network(shortcut) if near == "initialisation" else shaken(network(shortcut))
    expected, used = forward(net, IMAGES, batch=True)
    h, measured = in_batch(net, IMAGES)
    assert h.shape == (5, 5)
    assert relative_difference(h, expected) <= 1e-12
    assert len(norms(net)) == len(used) == (9 if shortcut == "projection" else 7)
    for norm, (mean, variance) in zip(norms(measured), used, strict=True):
        assert relative_difference(norm.statistics.mean, mean) <= 1e-12
        assert relative_difference(norm.statistics.variance, variance) <= 1e-12
    # The function of one sample, at the samples of the batch and at others.
    chosen = with_statistics_of(net, jnp.asarray(IMAGES)) if shortcut == "projection" else measured
    assert relative_difference(one_by_one(chosen, jnp.asarray(IMAGES)), expected) <= 1e-12
    others = one_by_one(chosen, jnp.asarray(ELSEWHERE))
    assert relative_difference(others, forward(chosen, ELSEWHERE, batch=False)[0]) <= 1e-12
    assert relative_difference(others, forward(net, ELSEWHERE, batch=True)[0]) > 0.05
    # The parameters are the same, and placeholders are no statistics.
    unset = one_by_one(net, jnp.asarray(IMAGES))
    assert relative_difference(unset, forward(net, IMAGES, batch=False)[0]) <= 1e-12
    assert relative_difference(unset, expected) > 0.3
    assert eqx.tree_equal(eqx.filter(chosen, eqx.is_inexact_array), eqx.filter(net, eqx.is_inexact_array))


def test_derivatives_with_frozen_statistics() -> None:
    """Along a direction in all parameters, against central differences in NumPy in which no statistic moves."""
    net = with_statistics_of(shaken(network()), jnp.asarray(IMAGES))
    parameters, rest = eqx.partition(net, eqx.is_inexact_array)
    generator = np.random.default_rng(2)
    direction = jax.tree.map(lambda leaf: jnp.asarray(generator.standard_normal(leaf.shape)), parameters)
    single, whole = tangents(net, direction, IMAGES)

    def difference(*, batch: bool) -> np.ndarray:
        ends = [jax.tree.map(lambda p, d, step=step: p + step * d, parameters, direction) for step in (1e-6, -1e-6)]
        plus, minus = (forward(eqx.combine(end, rest), IMAGES, batch=batch)[0] for end in ends)
        return (plus - minus) / 2e-6

    assert relative_difference(single, difference(batch=False)) <= 1e-7
    # In the batch mode the statistics move too: another derivative, of a function of the batch.
    assert relative_difference(whole, difference(batch=True)) <= 1e-7
    assert relative_difference(whole, single) > 0.1


def test_its_kernel_is_a_function_of_pairs() -> None:
    """Θ at two samples does not depend on the samples beside them, and is another one with statistics unset."""
    net = with_statistics_of(network(), jnp.asarray(IMAGES))
    one, other = jnp.asarray(IMAGES[:2]), jnp.asarray(IMAGES[2:4])
    together = np.asarray(empirical_ntk(net, one, jnp.asarray(IMAGES[1:3])).values)
    apart = np.asarray(empirical_ntk(net, one, other).values)
    assert relative_difference(together[:, :, :, 1], apart[:, :, :, 0]) <= 1e-12
    assert relative_difference(empirical_ntk(network(), one, other).values, apart) > 0.3


def test_running_averages_of_a_network() -> None:
    net = shaken(network())
    running = net
    for scale in (1.0, 3.0):
        running = averaged(running, in_batch(net, scale * IMAGES)[1], 0.25)
    first, second = (forward(net, scale * IMAGES, batch=True)[1] for scale in (1.0, 3.0))
    sizes = [280, 280, 280, 80, 80, 80, 20, 20, 20]  # samples × positions at each layer
    for norm, one, two, k in zip(norms(running), first, second, sizes, strict=True):
        assert relative_difference(norm.statistics.mean, 0.75 * one[0] + 0.25 * two[0]) <= 1e-12
        assert relative_difference(norm.statistics.variance, (0.75 * one[1] + 0.25 * two[1]) * k / (k - 1)) <= 1e-12
    assert eqx.tree_equal(eqx.filter(running, eqx.is_inexact_array), eqx.filter(net, eqx.is_inexact_array))
    # After one batch they differ from its statistics by k/(k − 1) only: no placeholder is left in.
    after_one = averaged(net, in_batch(net, IMAGES)[1])
    expected = forward(net, IMAGES, batch=True)[0]
    assert relative_difference(one_by_one(after_one, jnp.asarray(IMAGES)), expected) < 0.1
    for momentum in (0.0, 1.5, math.nan):
        with pytest.raises(ValueError, match="momentum is the weight of the new batch"):
            running_average(net, net, momentum)


def test_statistics_are_required() -> None:
    net = network()
    with pytest.raises(ValueError, match=r"^stem\.norm: statistics were never measured; set them with"):
        require_statistics(net)
    chosen = with_statistics_of(net, jnp.asarray(IMAGES))
    require_statistics(chosen)
    unset = eqx.tree_at(lambda n: n.blocks[1].second.norm, chosen, net.blocks[1].second.norm)
    with pytest.raises(ValueError, match=r"^blocks\[1\]\.second\.norm: statistics were never"):
        require_statistics(unset)
    broken = eqx.tree_at(
        lambda n: n.blocks[2].projection.norm.statistics, chosen, Statistics(jnp.full(5, jnp.nan), jnp.ones(5), 4)
    )
    with pytest.raises(ValueError, match=r"^blocks\[2\]\.projection\.norm: statistics are not finite"):
        require_statistics(broken)


COUNTS = {
    (8, "projection"): (78_042, 77_754),
    (20, "projection"): (272_474, 272_186),
    (32, "projection"): (466_906, 466_618),
    (56, "projection"): (855_770, 855_482),
    (8, "padding"): (75_290, 75_002),
    (20, "padding"): (269_722, 269_434),
    (32, "padding"): (464_154, 463_866),
    (56, "padding"): (853_018, 852_730),
}


def count(channels: list[int], blocks: int, inputs: int, projection: bool, outputs: int = 10) -> int:
    """The paper's architecture counted by hand: convolutions without bias, two numbers a normalised channel."""
    total = 9 * inputs * channels[0] + 2 * channels[0]
    for stage, size in enumerate(channels):
        before = channels[max(stage - 1, 0)]
        total += 9 * before * size + (2 * blocks - 1) * 9 * size * size + 2 * blocks * 2 * size
        total += (before * size + 2 * size) * (projection and stage > 0)
    return total + outputs * channels[-1] + outputs


@pytest.mark.parametrize(("depth", "shortcut"), list(COUNTS))
def test_parameter_counts(depth: int, shortcut: Shortcut) -> None:
    """Of the documented table; only the shapes are made."""
    for inputs, expected in zip((3, 1), COUNTS[depth, shortcut], strict=True):
        net = eqx.filter_eval_shape(
            lambda inputs=inputs: ResNet(
                jax.random.key(0), input_channels=inputs, outputs=10, depth=depth, shortcut=shortcut
            )
        )
        leaves = [leaf for leaf in jax.tree.leaves(net) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
        assert sum(leaf.size for leaf in leaves) == expected
        assert count([16, 32, 64], (depth - 2) // 6, inputs, shortcut == "projection") == expected
        assert f"{expected:,}".replace(",", " ") in (ResNet.__doc__ or "")
        assert net.depth == depth


def test_parameter_count_leaves_out_the_statistics() -> None:
    net = network()
    assert net.parameter_count() == count([2, 3, 5], 1, 2, True, outputs=3)
    assert with_statistics_of(net, jnp.asarray(IMAGES)).parameter_count() == net.parameter_count()


@pytest.mark.parametrize(("shape", "last"), [((1, 28, 28), (7, 7)), ((3, 32, 32), (8, 8))])
def test_the_papers_images(shape: tuple[int, int, int], last: tuple[int, int]) -> None:
    def run(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        net = ResNet(jax.random.key(0), input_channels=shape[0], outputs=10)
        a, _ = net.stem.apply(x, None)
        for block in net.blocks:
            a, _ = block.apply(a, None)
        return net.features(x), a

    features, a = jax.eval_shape(run, jnp.zeros(shape))
    assert features.shape == (64,)
    assert a.shape == (64, *last)


def test_initial_parameters() -> None:
    """The same random numbers under two rules: their ratio is that of the rules, layer by layer."""
    fan_in, fan_out = network(), network(initialization="he_normal_fan_out", readout_initialization="pytorch_uniform")
    changes = [(2, 2), (2, 3), (3, 5)]
    for one, two, (inputs, outputs) in zip(fan_in.blocks, fan_out.blocks, changes, strict=True):
        weights = [(one.first, two.first, math.sqrt(inputs / outputs)), (one.second, two.second, 1.0)]
        if inputs != outputs:
            weights.append((one.projection, two.projection, math.sqrt(inputs / outputs)))
        for layer, other, ratio in weights:
            expected = ratio * np.asarray(layer.convolution.weight)
            assert relative_difference(other.convolution.weight, expected) <= 1e-15
            assert other.convolution.bias is None
    assert fan_in.blocks[0].projection is None
    assert all(np.array_equal(norm.gain, np.ones_like(norm.gain)) and not norm.shift.any() for norm in norms(fan_in))
    assert not fan_in.readout.bias.any()
    assert fan_out.readout.bias.all()
    for array in (fan_out.readout.bias, fan_out.readout.weight):
        assert 0 < float(jnp.abs(array).max()) <= 1 / math.sqrt(5)
    # No two layers share their random numbers.
    first = np.concatenate([np.asarray(block.second.convolution.weight).ravel()[:36] for block in fan_in.blocks])
    assert len(set(first)) == first.size


@pytest.mark.parametrize("dtype", [jnp.float32, None])
def test_types(dtype: jnp.dtype | None) -> None:
    """Every number has the type that was asked for, in both modes."""

    def run(images: jax.Array) -> tuple:
        net = ResNet(jax.random.key(0), input_channels=2, outputs=3, depth=8, channels=(2, 3, 5), dtype=dtype)
        h, measured = net.batch_features(images)
        statistics = [(norm.statistics.mean, norm.statistics.variance) for norm in norms(measured)]
        return eqx.filter(net, eqx.is_inexact_array), h, statistics, measured.logit_matrix(images)

    expected = jnp.dtype(dtype or jnp.float64)
    shapes = eqx.filter_eval_shape(run, jnp.asarray(IMAGES, expected))
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {expected}


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"depth must be 6k \+ 2 \(8, 14, 20, …\), not 18"):
        network(depth=18)
    with pytest.raises(ValueError, match="not 2"):
        network(depth=2)
    with pytest.raises(ValueError, match="shrink, which shortcut 'padding' cannot do"):
        network("padding", channels=(4, 3, 5))
    net = network()
    for wrong, what in [((7, 8), r"\(7, 8\)"), ((3, 7, 8), r"\(3, 7, 8\)"), ((112,), r"\(112,\)")]:
        with pytest.raises(ValueError, match=rf"float64 of shape \(2, rows, columns\), not float64 of shape {what}"):
            net.features(jnp.zeros(wrong))
    with pytest.raises(ValueError, match=r"must be float64 of shape .* not float32"):
        net.features(jnp.zeros((2, 7, 8), jnp.float32))
    # One sample whose last stage has one position has no variance there.
    with pytest.raises(ValueError, match="one sample with one position"):
        with_statistics_of(net, jnp.zeros((1, 2, 4, 4)))


def test_lowering_for_cuda() -> None:
    net, images = network(), jnp.asarray(IMAGES)
    module = lower_for_cuda(lambda net, images: net.logit_matrix(images), net, images)
    assert "stablehlo.convolution" in module
    assert "custom_call" not in lower_for_cuda(with_statistics_of, net, images)
    assert "custom_call" not in lower_for_cuda(running_average, net, net)
