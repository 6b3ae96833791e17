"""Standard and NTK parametrisation of fully-connected networks: thesis (2.26), (2.51)–(2.53)."""

from __future__ import annotations

import functools
from itertools import pairwise
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from kernels.dense import relative_difference
from networks.plain_mlp import arrays, forward

from ntkflow.kernels import empirical_ntk
from ntkflow.kernels.empirical.network_program import NetworkProgram
from ntkflow.kernels.empirical.sites import DenseSite, ShiftSite
from ntkflow.networks import MLP, NTKDense, initial_bias, initial_weight, load_checkpoint, save_checkpoint
from ntkflow.training import Checkpoint, Problem, measure_snapshot

INPUTS = np.random.default_rng(0).standard_normal((5, 4))
WIDTHS = (6, 3)
SIZES = (4, *WIDTHS, 5, 3)
SIGMA_W, SIGMA_B = 1.7, 0.4


@functools.cache
def network(**options: Any) -> MLP:
    options = {"widths": WIDTHS, "sigma_w": SIGMA_W, "sigma_b": SIGMA_B, "activation": "tanh", **options}
    return MLP(jax.random.key(3), inputs=4, outputs=3, features=5, **options)


@eqx.filter_jit
def matrices(net: MLP) -> tuple[jax.Array, jax.Array]:
    return net.feature_matrix(jnp.asarray(INPUTS)), net.logit_matrix(jnp.asarray(INPUTS))


@eqx.filter_jit
@eqx.filter_grad
def slope_of_the_sum(net: MLP) -> jax.Array:
    """∇ of the sum of all logits."""
    return jnp.sum(net.logit_matrix(jnp.asarray(INPUTS)))


def ntk_network() -> MLP:
    return network(parametrization="ntk")


def factors(biases: float = SIGMA_B) -> list[tuple[float, float]]:
    """σ_w/√fan-in and σ_b of every layer."""
    return [(SIGMA_W / np.sqrt(fan_in), biases) for fan_in in SIZES[:-1]]


def test_any_widths() -> None:
    net = network()
    assert [layer.weight.shape for layer in (*net.layers, net.readout)] == list(zip(SIZES[1:], SIZES[:-1], strict=True))
    assert net.parameter_count() == sum(a * b + b for a, b in pairwise(SIZES))
    features, logits = forward(arrays(net), INPUTS, "tanh")
    found = matrices(net)
    assert relative_difference(found[0], features) <= 1e-14
    assert relative_difference(found[1], logits) <= 1e-14
    # One width is a short way to write several, and there may be none.
    same, short = network(widths=(5, 5)), network(widths=None, width=5, hidden_layers=2)
    assert eqx.tree_equal(same, short)
    assert network(widths=()).parameter_count() == 4 * 5 + 5 + 5 * 3 + 3


def test_both_parametrisations_start_as_the_same_function() -> None:
    standard, ntk = network(), ntk_network()
    for layer, other, (weight, bias) in zip(
        (*standard.layers, standard.readout), (*ntk.layers, ntk.readout), factors(), strict=True
    ):
        assert isinstance(other, NTKDense)
        assert relative_difference(weight * np.asarray(other.unit_weight), layer.weight) <= 1e-15
        assert relative_difference(bias * np.asarray(other.unit_bias), layer.bias) <= 1e-15
    assert relative_difference(matrices(ntk)[1], forward(arrays(standard), INPUTS, "tanh")[1]) <= 1e-14
    assert ntk.parameter_count() == standard.parameter_count()


def test_gradients_are_scaled() -> None:
    """(2.53), of every parameter, with ∇_W and ∇_b from central differences in NumPy."""
    gradient = slope_of_the_sum(ntk_network())
    parameters = arrays(network())
    expected = []
    for array in parameters:
        slopes = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = [np.array(other) for other in parameters]
                moved[next(i for i, other in enumerate(parameters) if other is array)][index] += step
                ends.append(forward(moved, INPUTS, "tanh")[1].sum())
            slopes[index] = (ends[0] - ends[1]) / 2e-5
        expected.append(slopes)
    layers = (*gradient.layers, gradient.readout)
    for layer, (weight, bias), slope, shift in zip(layers, factors(), expected[::2], expected[1::2], strict=True):
        assert relative_difference(layer.unit_weight, weight * slope) <= 1e-8
        assert relative_difference(layer.unit_bias, bias * shift) <= 1e-8


def test_the_kernel_is_structured_and_exact() -> None:
    """Every weight is a dense site, every bias a shift, and Θ and Θʰ are the Gram matrices of the Jacobians."""
    net, x = ntk_network(), jnp.asarray(INPUTS)
    program = NetworkProgram(net, x[0], "logits")
    names = [
        jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(eqx.filter(net, eqx.is_array))
    ]
    kinds = {names[site.leaf]: type(site) for site in program.reading.places.sites}
    layers = [*(f".layers[{index}]" for index in range(3)), ".readout"]
    assert kinds == {
        f"{layer}.{name}": kind
        for layer in layers
        for name, kind in (("unit_weight", DenseSite), ("unit_bias", ShiftSite))
    }
    assert not program.reading.places.opaque
    # ∂f/∂w = σ_w/√fan-in ∂f/∂W: the standard network's Jacobian, by complex steps in NumPy, its columns scaled.
    for of, outputs in (("features", 5), ("logits", 3)):
        columns = []
        for position, array in enumerate(arrays(network())):
            scale = factors()[position // 2][position % 2]
            for index in np.ndindex(array.shape):
                parameters = [other.astype(complex) for other in arrays(network())]
                parameters[position][index] += 1e-30j
                columns.append(scale * forward(parameters, INPUTS, "tanh")[of == "logits"].imag / 1e-30)
        jacobian = np.stack(columns, -1)
        assert jacobian.shape[:2] == (outputs, 5)
        expected = np.einsum("kip,sjp->kisj", jacobian, jacobian)
        assert relative_difference(empirical_ntk(net, x, of=of, method="structured").values, expected) <= 1e-13


def test_moments_of_gaussian_initial_weights() -> None:
    """Mean and variance of every array within five standard errors, √(2/N) of the variance: thesis (2.26)."""
    sizes = (250, 250, 250, 250)

    @eqx.filter_jit
    def made(key: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
        net = MLP(key, inputs=250, widths=(250,), features=250, outputs=250, sigma_w=SIGMA_W, sigma_b=SIGMA_B)
        return [(layer.weight, layer.bias) for layer in (*net.layers, net.readout)]

    for pair, fan_in in zip(made(jax.random.key(0)), sizes[:-1], strict=True):
        weight, bias = map(np.asarray, pair)
        for array, variance in ((weight, SIGMA_W**2 / fan_in), (bias, SIGMA_B**2)):
            assert abs(array.mean()) < 5 * np.sqrt(variance / array.size)
            assert abs(array.var() / variance - 1) < 5 * np.sqrt(2 / array.size)
        # The weights of a layer are not its biases' numbers.
        assert abs(np.corrcoef(weight[:, 0], bias)[0, 1]) < 5 / np.sqrt(bias.size)


RULES = ["he_normal", "lecun_normal", "he_normal_fan_out", "lecun_truncated_normal", "pytorch_uniform"]


def test_named_rules() -> None:
    """Every layer has the rule that was asked for; the moments of the rules are in test_convolution.py."""

    def layers(**options: Any) -> list[tuple[np.ndarray, np.ndarray]]:
        net = MLP(jax.random.key(3), inputs=5, outputs=5, features=5, widths=(5,), **options)
        return [(np.asarray(layer.weight), np.asarray(layer.bias)) for layer in (*net.layers, net.readout)]

    keys = jax.random.split(jax.random.key(3), 3)
    for rule in RULES:
        # With the layers' own keys, the rule gives the same numbers.
        for (weight, bias), key in zip(layers(initialization=rule, readout_initialization=rule), keys, strict=True):
            assert np.array_equal(weight, initial_weight(key, (5, 5), rule))
            assert np.array_equal(bias, initial_bias(key, (5, 5), rule))
            assert bias.any() == (rule == "pytorch_uniform")
    # The readout's rule is its own.
    *_, (weight, bias) = layers(initialization="pytorch_uniform")
    assert np.array_equal(weight, initial_weight(keys[-1], (5, 5), "lecun_normal"))
    assert not bias.any()


def test_no_bias() -> None:
    """σ_b = 0 unless told: the biases are 0, and in the NTK parametrisation no gradient moves them."""
    assert not any(layer.bias.any() for layer in network(sigma_b=None).layers)
    net = network(sigma_b=None, parametrization="ntk")
    gradient = slope_of_the_sum(net)
    for layer in (*gradient.layers, gradient.readout):
        assert layer.unit_weight.any()
        assert not layer.unit_bias.any()


@pytest.mark.parametrize("options", [{}, {"sigma_w": 1.0}, {"sigma_w": 1.0, "parametrization": "ntk"}])
def test_types(options: dict[str, Any]) -> None:
    for dtype, expected in ((jnp.float32, jnp.float32), (None, jnp.float64)):

        def run(x: jax.Array, dtype: Any = dtype) -> Any:
            net = MLP(jax.random.key(0), inputs=4, outputs=3, features=5, widths=(6,), dtype=dtype, **options)
            return eqx.filter(net, eqx.is_inexact_array), net(x)

        shapes = eqx.filter_eval_shape(run, jnp.zeros(4, expected))
        assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype(expected)}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"width": 3}, "either widths, one for each hidden layer, or width and hidden_layers"),
        ({"widths": None, "width": 3}, "either widths"),
        ({"widths": None}, "either widths"),
        ({"initialization": "he_normal"}, "sigma_w is the rule of every layer"),
        ({"readout_initialization": "he_normal"}, "sigma_w is the rule of every layer"),
        ({"sigma_w": None}, "sigma_b belongs to sigma_w"),
        ({"sigma_w": None, "sigma_b": None, "parametrization": "ntk"}, "'ntk' scales by sigma_w"),
        ({"sigma_w": 0.0}, "sigma_w must be positive and sigma_b not negative, not 0.0 and 0.4"),
        ({"sigma_b": -1.0}, "sigma_w must be positive and sigma_b not negative, not 1.7 and -1.0"),
        ({"sigma_w": float("nan")}, "sigma_w must be positive"),
    ],
)
def test_bad_input(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        network(**options)


def test_a_snapshot_refuses_what_its_forecasts_do_not_know() -> None:
    problem = Problem(jnp.asarray(INPUTS[:3]), jnp.eye(3), 3.0)
    with pytest.raises(ValueError, match="the readout is in the NTK parametrisation"):
        measure_snapshot(Checkpoint(0.0, 0, ntk_network()), problem, jnp.zeros((0, 4)), jnp.zeros(0, jnp.int64))


def test_checkpoints_know_the_parametrisation(tmp_path: Any) -> None:
    save_checkpoint(tmp_path / "ntk.ckpt", ntk_network(), step=0, seed=0)
    again, _ = load_checkpoint(tmp_path / "ntk.ckpt", eqx.filter_eval_shape(ntk_network))
    assert eqx.tree_equal(again, ntk_network())
    with pytest.raises(Exception, match=r"holds another network: at \.readout it has NTKDense, and Readout is needed"):
        load_checkpoint(tmp_path / "ntk.ckpt", network())


def test_lowering_for_cuda() -> None:
    lower_for_cuda(lambda net, x: net.logit_matrix(x), ntk_network(), jnp.asarray(INPUTS))
