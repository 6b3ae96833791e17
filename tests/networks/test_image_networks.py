"""VGG and DenseNet: their shapes, initial weights, kernels, types, refusals, and compilation for CUDA."""

from __future__ import annotations

import functools
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from kernels.dense import relative_difference
from kernels.small_networks import jacobian
from networks.plain_resnet import convolve, norms
from networks.torch_reference import filled
from oracles.pytorch.recipe import Case

from ntkflow.kernels import empirical_ntk
from ntkflow.kernels.empirical.network_program import NetworkProgram
from ntkflow.kernels.empirical.sites import ConvolutionSite, DenseSite, FoldedSite, GainSite, ShiftSite
from ntkflow.networks import (
    VGG,
    AbstractBatchClassifier,
    AbstractClassifier,
    Convolution,
    DenseNet,
    NormalizedConvolution,
    Readout,
    max_pool,
    with_statistics_of,
)

IMAGES = np.random.default_rng(0).standard_normal((4, 1, 8, 8))
SMALL: dict[str, dict[str, Any]] = {
    "vgg": {"channels": (2, 2, 2, 3, 3), "head": (3, 2)},
    "densenet": {"depth": 10, "growth": 2},
}


@functools.cache
def network(kind: str, **options: Any) -> AbstractBatchClassifier:
    options = {"input_channels": 1, "outputs": 2, **SMALL[kind], **options}
    return {"vgg": VGG, "densenet": DenseNet}[kind](jax.random.key(0), **options)


@functools.cache
def drawn(kind: str) -> AbstractBatchClassifier:
    """The same network from NumPy's numbers, for what does not look at them: nothing is compiled."""
    return filled(Case(kind, SMALL[kind], (1, 8, 8), seed=0), jnp.float64)


class Pooled(AbstractClassifier):
    """A convolution, tanh, the largest of 2×2 values, all of which are features."""

    convolution: Convolution
    readout: Readout

    def __init__(self) -> None:
        self.convolution = Convolution(jax.random.key(0), 1, 2, initialization="pytorch_uniform")
        self.readout = Readout(jax.random.normal(jax.random.key(1), (2, 12)), jnp.zeros(2))

    def features(self, x: jax.Array) -> jax.Array:
        return max_pool(jnp.tanh(self.convolution(x)), 2, partial=True).ravel()


@functools.cache
def pooled() -> Pooled:
    return Pooled()


def plain_features(weight: np.ndarray, bias: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Of Pooled, with loops: one row a sample."""
    a = np.tanh(convolve(images, weight, 1, 1) + bias[:, None, None])
    rows, columns = (range(0, size, 2) for size in a.shape[2:])
    windows = [[a[:, :, r : r + 2, c : c + 2].max((2, 3)) for c in columns] for r in rows]
    return np.moveaxis(np.array(windows), (0, 1), (2, 3)).reshape(len(images), -1)


def test_windows_that_the_edge_cuts() -> None:
    image = np.random.default_rng(1).standard_normal((2, 5, 4)) - 10
    for window in (2, 7):
        found = np.asarray(max_pool(jnp.asarray(image), window, partial=True))
        rows, columns = (range(0, size, window) for size in image.shape[1:])
        assert found.shape == (2, len(rows), len(columns))
        for i, r in enumerate(rows):
            for j, c in enumerate(columns):
                assert np.array_equal(found[:, i, j], image[:, r : r + window, c : c + window].max((1, 2)))
    # What is not there has no derivative, and spoils none.
    gradient = jax.grad(lambda a: max_pool(a, 2, partial=True).sum())(jnp.asarray(image))
    assert np.all(np.isfinite(gradient))
    assert float(gradient.sum()) == 2 * 3 * 2


@pytest.mark.parametrize("method", ["structured", "jacobian"])
def test_the_kernel_of_maximum_pooling(method: str) -> None:
    """Θʰ against the Gram matrix of central differences in NumPy, on images whose windows the edge cuts."""
    images = np.random.default_rng(2).standard_normal((3, 1, 5, 4))
    net = pooled()
    weight, bias = np.asarray(net.convolution.weight), np.asarray(net.convolution.bias)
    columns = []
    for array in (weight, bias):
        for index in np.ndindex(array.shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = {"weight": weight.copy(), "bias": bias.copy()}
                moved["weight" if array is weight else "bias"][index] += step
                ends.append(plain_features(moved["weight"], moved["bias"], images))
            columns.append((ends[0] - ends[1]) / 2e-6)
    expected = np.einsum("pik,pjs->kisj", np.array(columns), np.array(columns))
    found = empirical_ntk(net, jnp.asarray(images), of="features", method=method)
    assert relative_difference(found.values, expected) <= 1e-8


@pytest.mark.parametrize("kind", list(SMALL))
def test_where_their_parameters_are_found(kind: str) -> None:
    """Each array meets data in one place, where its gradient factorises."""
    net = drawn(kind)
    places = NetworkProgram(net, jnp.asarray(IMAGES[0]), "logits").reading.places
    assert not places.opaque
    found = {ConvolutionSite: 0, DenseSite: 0, GainSite: 0, ShiftSite: 0}
    folded = [site for site in places.sites if isinstance(site, FoldedSite)]
    for site in places.sites:
        found[type(site.layer if isinstance(site, FoldedSite) else site)] += 1
    convolutions, dense, normalised = (8, 3, 10) if kind == "vgg" else (9, 1, 9)
    assert [found[ConvolutionSite], found[DenseSite]] == [convolutions, dense]
    # A gain and a shift for each normalisation, the readout's bias; some of them belong to the layer before.
    others = found[GainSite] + found[ShiftSite] + sum(len(site.others) for site in folded)
    assert others == 2 * normalised + 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(SMALL))
def test_their_kernels(kind: str) -> None:
    """Θ is the Gram matrix of the whole Jacobian."""
    x = jnp.asarray(IMAGES)
    net = with_statistics_of(network(kind), x)
    gradients = jacobian(net, x, "logits")
    kernel = np.einsum("ikp,jsp->kisj", gradients, gradients)
    assert relative_difference(empirical_ntk(net, x, method="structured").values, kernel) <= 1e-13


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_the_papers_images(shape: tuple[int, int, int]) -> None:
    """One position is left of both sizes of image, and the features are the head's 256."""

    def run(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        net = VGG(jax.random.key(0), input_channels=shape[0], outputs=10)
        a = x
        for stage in net.stages:
            for layer in stage:
                a = layer.apply(a, None)[0]
            a = max_pool(a, 2, partial=True)
        return a, net.head[1].apply(net.head[0].apply(a[:, 0, 0], None)[0], None)[0]

    last, features = jax.eval_shape(run, jnp.zeros(shape))
    assert (last.shape, features.shape) == ((512, 1, 1), (256,))


def _weights(net: Any) -> list[tuple[np.ndarray, int, int]]:
    """Every weight but the readout's, with fan-in and fan-out from its shape."""
    leaves = [leaf for leaf in jax.tree.leaves(eqx.tree_at(lambda n: n.readout, net, None)) if leaf.ndim > 1]
    return [(np.asarray(w), math.prod(w.shape[1:]), w.shape[0] * math.prod(w.shape[2:])) for w in leaves]


@pytest.mark.parametrize("kind", list(SMALL))
def test_initial_parameters(kind: str) -> None:
    """Under two rules the same random numbers, and their ratio is that of the rules, layer by layer."""
    fan_in = network(kind)
    fan_out = network(kind, initialization="he_normal_fan_out", readout_initialization="pytorch_uniform")
    pairs = list(zip(_weights(fan_in), _weights(fan_out), strict=True))
    assert len(pairs) == 10 if kind == "vgg" else 9
    for (weight, inputs, outputs), (other, _, _) in pairs:
        assert relative_difference(other, weight * math.sqrt(inputs / outputs)) <= 1e-15
    assert len({weight.flat[0] * math.sqrt(inputs) for (weight, inputs, _), _ in pairs}) == len(pairs)
    assert all(np.array_equal(norm.gain, np.ones_like(norm.gain)) and not norm.shift.any() for norm in norms(fan_in))
    assert not fan_in.readout.bias.any()
    assert fan_out.readout.bias.all()
    assert float(jnp.abs(fan_out.readout.weight).max()) <= 1 / math.sqrt(fan_out.readout.weight.shape[1])


@pytest.mark.parametrize("kind", list(SMALL))
def test_variance_of_initial_weights(kind: str) -> None:
    """Of all weights, each divided by √(2/fan-in): 1 within five standard errors, √(2/N)."""
    numbers = np.concatenate([weight.ravel() * math.sqrt(inputs / 2) for weight, inputs, _ in _weights(network(kind))])
    assert abs(numbers.var() - 1) < 5 * math.sqrt(2 / numbers.size)
    assert abs(numbers.mean()) < 5 / math.sqrt(numbers.size)


@pytest.mark.parametrize("kind", list(SMALL))
def test_types(kind: str) -> None:
    """Every number has the type that was asked for, in both modes; the other tests have the default."""

    def run(images: jax.Array) -> Any:
        net = {"vgg": VGG, "densenet": DenseNet}[kind](
            jax.random.key(0), input_channels=1, outputs=2, dtype=jnp.float32, **SMALL[kind]
        )
        h, measured = net.batch_features(images)
        statistics = [(norm.statistics.mean, norm.statistics.variance) for norm in norms(measured)]
        return eqx.filter(net, eqx.is_inexact_array), h, statistics, measured.logit_matrix(images)

    shapes = eqx.filter_eval_shape(run, jnp.asarray(IMAGES, jnp.float32))
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype(jnp.float32)}


def test_bad_input() -> None:
    for kind, options, said in [
        ("vgg", {"depth": 12}, "depth must be one of 11, 13, 16, 19, not 12"),
        ("densenet", {"depth": 12}, r"depth must be 6k \+ 4 \(10, 16, 22, …\), not 12"),
        ("densenet", {"depth": 4}, "not 4"),
        ("densenet", {"compression": 0.0}, r"compression must be in \(0, 1\], not 0.0"),
        ("densenet", {"compression": 0.1}, "compression 0.1 leaves none of 6 channels"),
    ]:
        with pytest.raises(ValueError, match=said):
            network(kind, **options)
    for kind, name in [("vgg", "VGG"), ("densenet", "DenseNet")]:
        with pytest.raises(ValueError, match=rf"^{name}: one input must be float64 of shape \(1, rows, columns\)"):
            drawn(kind).features(jnp.zeros((8, 8)))
    with pytest.raises(ValueError, match="image of 1×1 has no whole window"):
        jax.eval_shape(drawn("densenet").features, jnp.zeros((1, 3, 3)))


@pytest.mark.parametrize("kind", list(SMALL))
def test_lowering_for_cuda(kind: str) -> None:
    """The function of one sample, and a training step's gradient in batch mode."""

    def gradient(net: AbstractBatchClassifier, images: jax.Array) -> Any:
        def loss(net: AbstractBatchClassifier) -> Any:
            h, measured = net.batch_features(images)
            return jnp.sum(jax.vmap(net.readout, in_axes=1)(h) ** 2), measured

        return eqx.filter_value_and_grad(loss, has_aux=True)(net)

    images = jnp.asarray(IMAGES)
    assert "stablehlo.convolution" in lower_for_cuda(lambda net, x: net.logit_matrix(x), drawn(kind), images)
    assert "custom_call" not in lower_for_cuda(gradient, drawn(kind), images)


def test_layers_are_normalised_after_every_layer_but_the_readout() -> None:
    """The papers' VGG: as many normalisations as convolutions and dense layers of the head."""
    for depth, layers in ((11, 10), (13, 12), (16, 15), (19, 18)):
        net = eqx.filter_eval_shape(
            lambda depth=depth: VGG(jax.random.key(0), input_channels=1, outputs=10, depth=depth)
        )
        assert net.depth == depth
        assert len(norms(net)) == layers == sum(map(len, net.stages)) + len(net.head)
        assert isinstance(net.stages[0][0], NormalizedConvolution)
