"""Samplers of Θ: conditioned weights and the chain of norms have the distribution of real networks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from initialization.real_networks import agrees, relu_networks
from scipy.stats import ks_2samp

from ntkflow.errors import UserError
from ntkflow.initialization import (
    Ensemble,
    LayeredNetwork,
    draw_ntk,
    drawn_network,
    expected_first_step,
    first_step_change,
    ntk_moments,
    real_ntk,
    sample_relu_ntk,
)
from ntkflow.initialization.conditioned import normals

WIDTHS, SIGMA = (3, 4, 3, 5), 1.5
X = jnp.array([0.6, 0.8, 0.0])
COSINE = 0.3
Y = COSINE * X + (1 - COSINE**2) ** 0.5 * jnp.array([0.8, -0.6, 0.0])


def _ensemble(activation: str = "relu", sigma_b: float = 0.0) -> Ensemble:
    # Two entries more than layers: what is beyond the depth must not matter.
    return Ensemble(jnp.array([*WIDTHS, 1, 1]), jnp.asarray(4), jnp.asarray(SIGMA), jnp.asarray(sigma_b), activation, 5)


def _networks(activation: str, sigma_b: float, draws: int) -> np.ndarray:
    """Θ(x, x), Θ(x, x̃), Θ(x̃, x̃) of real networks by Jacobians."""
    sizes = [*WIDTHS, 1]

    def one(key: jax.Array) -> jax.Array:
        layers = [normals(key, jnp.asarray(index), 6, 5) for index in range(1, 5)]
        network = LayeredNetwork(
            tuple(
                SIGMA / sizes[index] ** 0.5 * item[: sizes[index + 1], : sizes[index]]
                for index, item in enumerate(layers)
            ),
            tuple(sigma_b * item[-1, : sizes[index + 1]] for index, item in enumerate(layers)),
            activation,
        )
        gradients = [jax.tree.leaves(jax.grad(lambda net, z=z: net(z))(network)) for z in (X, Y)]
        return jnp.stack(
            [
                sum((jnp.vdot(p, q) for p, q in zip(gradients[i], gradients[j], strict=True)), jnp.asarray(0.0))
                for i, j in ((0, 0), (0, 1), (1, 1))
            ]
        )

    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(5), draws)))


@pytest.mark.parametrize(("activation", "sigma_b"), [("relu", 0.0), ("tanh", 0.4)])
def test_conditioned_weights_have_the_distribution_of_real_ones(activation: str, sigma_b: float) -> None:
    draws = 20_000
    real = _networks(activation, sigma_b, draws)
    pair = draw_ntk(WIDTHS, [SIGMA], sigma_b=sigma_b, activation=activation, cosine=COSINE, draws=draws, seed=3)
    values = pair.signs[:, 0] * np.exp(pair.logs[:, 0])
    for element in range(3):
        assert ks_2samp(real[:, element], values[:, element]).pvalue > 1e-3
        for power in (1, 2):
            one, other = real[:, element] ** power, values[:, element] ** power
            assert abs(one.mean() - other.mean()) < 4 * np.sqrt((one.var() + other.var()) / draws)
    # The three are of one network: their products, too.
    one, other = real[:, 0] * real[:, 1], values[:, 0] * values[:, 1]
    assert abs(one.mean() - other.mean()) < 4 * np.sqrt((one.var() + other.var()) / draws)
    if sigma_b:
        alone = np.exp(draw_ntk(WIDTHS, [SIGMA], sigma_b=sigma_b, activation=activation, draws=draws, seed=4).logs)
        assert ks_2samp(real[:, 0], alone[:, 0, 0]).pvalue > 1e-3


def test_the_chain_of_norms_has_the_distribution_of_real_networks() -> None:
    drawn = relu_networks(WIDTHS, SIGMA, 1.0, draws=60_000, seed=9)
    chain = np.exp(sample_relu_ntk(WIDTHS, SIGMA, draws=60_000, seed=2))
    assert ks_2samp(drawn.weights + drawn.biases, chain).pvalue > 1e-3
    moments = ntk_moments(WIDTHS, SIGMA)
    assert agrees(chain, float(np.exp(moments.log_mean)))
    assert agrees(chain**2, float(np.exp(moments.log_second)))


def test_the_chain_is_the_same_wherever_it_is_taken_up() -> None:
    whole = sample_relu_ntk(WIDTHS, np.array([1.0, SIGMA]), draws=9000, seed=2)
    rest = sample_relu_ntk(WIDTHS, np.array([1.0, SIGMA]), draws=9000 - 4096, seed=2, first=4096)
    assert np.array_equal(whole[4096:], rest)
    assert np.array_equal(whole[:, 1], sample_relu_ntk(WIDTHS, SIGMA, draws=9000, seed=2))
    with pytest.raises(ValueError, match="multiple"):
        sample_relu_ntk(WIDTHS, 1.0, draws=2, seed=0, first=5)


def test_real_weights_by_norms_of_layers_are_jacobians() -> None:
    for activation, sigma_b in (("relu", 0.0), ("erf", 0.5)):
        ensemble = _ensemble(activation, sigma_b)
        norms = jax.jit(jax.vmap(real_ntk, in_axes=(None, 0, None)))
        keys = jax.random.split(jax.random.key(5), 3)
        for key, found in zip(keys, norms(ensemble, keys, X), strict=True):
            network = drawn_network(ensemble, key)
            gradient = jax.tree.leaves(jax.grad(lambda net: net(X))(network))
            theta = sum(float(jnp.sum(leaf**2)) for leaf in gradient)
            assert float(jnp.exp(found)) == pytest.approx(theta, rel=1e-12)
            assert float(network.ntk(X, X)) == pytest.approx(theta, rel=1e-12)


def test_equal_inputs_and_opposite_ones() -> None:
    same = draw_ntk(WIDTHS, [SIGMA], cosine=1.0, draws=200, seed=3, longest=6, widest=5)
    assert np.allclose(same.logs[..., 0], same.logs[..., 1], rtol=1e-12)
    assert np.allclose(same.logs[..., 0], same.logs[..., 2], rtol=1e-12)
    # One hidden layer: x and −x have no active neuron in common, and what is left of Θ is the output bias's 1.
    opposite = draw_ntk(WIDTHS[:2], [SIGMA], cosine=-1.0, draws=200, seed=3, longest=6, widest=5)
    assert opposite.signs[:, 0, 1] == pytest.approx(1)
    assert opposite.logs[:, 0, 1] == pytest.approx(0, abs=1e-12)


def test_deep_chaotic_networks_stay_within_float64() -> None:
    logs = draw_ntk((8,) * 600, [3.0, 9.0], sigma_b=0.5, draws=3, seed=0).logs
    assert np.all(np.isfinite(logs))
    assert logs.max() > 710
    with pytest.raises(UserError, match="left float64"):
        draw_ntk((8,) * 600, [40.0], activation="gelu", draws=3, seed=0)
    with pytest.raises(UserError, match="cosine"):
        draw_ntk((8, 8), [1.0], cosine=1.5, draws=3, seed=0)


def test_first_step_of_a_network_against_differences() -> None:
    network = drawn_network(_ensemble("tanh", 0.4), jax.random.key(1))
    change, theta = first_step_change(network, X, 0.7, step_size=1e-5, at=Y)
    gradient = jax.grad(lambda net: (net(X) - 0.7) ** 2 / 2)(network)
    ends = [float(jax.tree.map(lambda p, g, s=sign: p - s * 1e-5 * g, network, gradient).ntk(Y, Y)) for sign in (1, -1)]
    assert float(change) == pytest.approx((ends[0] - ends[1]) / 2, rel=1e-6)
    assert float(theta) == pytest.approx(sum(ends) / 2, rel=1e-6)


def test_first_step_expected_of_random_networks() -> None:
    sizes = [*WIDTHS, 1]

    def one(key: jax.Array) -> jax.Array:
        keys = jax.random.split(key, 4)
        network = LayeredNetwork(
            tuple(
                SIGMA / sizes[index] ** 0.5 * jax.random.normal(keys[index], (sizes[index + 1], sizes[index]))
                for index in range(4)
            ),
            tuple(jnp.zeros(size) for size in sizes[1:]),
            "relu",
        )
        return first_step_change(network, X, 0.7, step_size=1.0)[0]

    changes = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 200_000)))
    expected = -float(np.exp(expected_first_step(WIDTHS, SIGMA).log_rate))
    assert agrees(changes, expected)
    assert expected < 0
