"""Networks with Equinox's own batch normalisation, made functions of one sample: exact near initialisation too."""

from __future__ import annotations

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from kernels.dense import relative_difference
from networks.plain_resnet import batch_moments, convolve, shaken

from ntkflow.kernels import empirical_ntk
from ntkflow.networks import FrozenNetwork, freeze
from ntkflow.networks.equinox_statistics import measure, measuring_network

Mode = Literal["ema", "batch"]
MODES: list[Mode] = ["ema", "batch"]
IMAGES = 0.5 + np.random.default_rng(0).standard_normal((6, 2, 4, 4))
ELSEWHERE = np.random.default_rng(1).standard_normal((6, 2, 4, 4))


class Images(eqx.Module):
    """A user's network: two convolutions, each normalised, the second without affine part; dropout; readout."""

    first: eqx.nn.Conv2d
    first_norm: eqx.nn.BatchNorm
    dropout: eqx.nn.Dropout
    second: eqx.nn.Conv2d
    second_norm: eqx.nn.BatchNorm
    readout: eqx.nn.Linear

    def __init__(self, mode: Mode, momentum: float = 0.99) -> None:
        keys = jax.random.split(jax.random.key(0), 3)
        self.first = eqx.nn.Conv2d(2, 3, 3, padding=1, key=keys[0])
        self.first_norm = eqx.nn.BatchNorm(3, "batch", mode=mode, momentum=momentum)
        self.dropout = eqx.nn.Dropout(0.5)
        self.second = eqx.nn.Conv2d(3, 4, 3, stride=2, padding=1, key=keys[1])
        self.second_norm = eqx.nn.BatchNorm(
            4, "batch", mode=mode, momentum=momentum, eps=1e-3, channelwise_affine=False
        )
        self.readout = eqx.nn.Linear(4, 2, key=keys[2])

    def features(self, x: jax.Array, state: eqx.nn.State) -> tuple[jax.Array, eqx.nn.State]:
        a, state = self.first_norm(self.first(x), state)
        a, state = self.second_norm(self.second(self.dropout(jax.nn.relu(a))), state)
        return jnp.mean(jax.nn.relu(a), (1, 2)), state

    def __call__(self, x: jax.Array, state: eqx.nn.State) -> tuple[jax.Array, eqx.nn.State]:
        h, state = self.features(x, state)
        return self.readout(h), state


def made(mode: Mode, momentum: float = 0.99) -> tuple[Images, eqx.nn.State]:
    model, state = eqx.nn.make_with_state(Images)(mode, momentum)
    return shaken(model), state


@eqx.filter_jit
def trained(model: Images, state: eqx.nn.State, images: np.ndarray) -> tuple[jax.Array, eqx.nn.State]:
    """A pass in Equinox's own training mode, dropout off."""
    model = eqx.tree_at(lambda m: m.dropout.inference, model, True)
    return jax.vmap(model, in_axes=(0, None), out_axes=(1, None), axis_name="batch")(jnp.asarray(images), state)


@eqx.filter_jit
def inferred(model: Images, state: eqx.nn.State, images: np.ndarray) -> jax.Array:
    """Equinox's own inference mode."""
    model = eqx.nn.inference_mode(model)
    return jax.vmap(model, in_axes=(0, None), out_axes=(1, None), axis_name="batch")(jnp.asarray(images), state)[0]


@eqx.filter_jit
def one_by_one(network: FrozenNetwork, images: np.ndarray) -> tuple[jax.Array, jax.Array]:
    return network.feature_matrix(jnp.asarray(images)), network.logit_matrix(jnp.asarray(images))


def plain(model: Images, images: np.ndarray, statistics: list | None) -> tuple[np.ndarray, np.ndarray, list]:
    """Features and logits in NumPy by the given statistics or by the batch's, and the statistics used."""
    used, a = [], images
    for layer, norm, stride in [(model.first, model.first_norm, 1), (model.second, model.second_norm, 2)]:
        z = convolve(a, np.asarray(layer.weight), stride, 1) + np.asarray(layer.bias)
        used.append(batch_moments(z) if statistics is None else statistics[len(used)])
        mean, variance = (np.asarray(array)[:, None, None] for array in used[-1])
        z = (z - mean) / np.sqrt(variance + norm.eps)
        if norm.channelwise_affine:
            z = np.asarray(norm.weight)[:, None, None] * z + np.asarray(norm.bias)[:, None, None]
        a = np.maximum(z, 0)
    h = a.mean((2, 3)).T
    return h, np.asarray(model.readout.weight) @ h + np.asarray(model.readout.bias)[:, None], used


@pytest.mark.parametrize("updates", [0, 1])
@pytest.mark.parametrize("mode", MODES)
def test_statistics_of_a_reference(mode: Mode, updates: int) -> None:
    """Exact where Equinox's inference is not: before any training step in both modes, and after one in "batch"."""
    model, state = made(mode)
    h, logits, used = plain(model, IMAGES, None)
    for _ in range(updates):
        _, state = trained(model, state, IMAGES)
    frozen = freeze(model, state, statistics="reference", reference=jnp.asarray(IMAGES))
    for actual, expected in zip(one_by_one(frozen, IMAGES), (h, logits), strict=True):
        assert relative_difference(actual, expected) <= 1e-12
    for actual, expected in zip(one_by_one(frozen, ELSEWHERE), plain(model, ELSEWHERE, used)[:2], strict=True):
        assert relative_difference(actual, expected) <= 1e-12
    # The state that was given is still good, and its first training step agrees too.
    assert relative_difference(trained(model, state, IMAGES)[0], logits) <= 1e-12
    error = relative_difference(inferred(model, state, IMAGES), logits)
    if (mode, updates) == ("ema", 1):
        assert error <= 1e-12  # Its average is the one batch by now.
    else:
        assert error > {("ema", 0): 5, ("batch", 0): 0.3, ("batch", 1): 0.3}[mode, updates]


def test_size_of_equinoxs_error() -> None:
    """Standard deviation after normalisation, 1 where it is right: what users of its inference mode get."""
    rows = 3 + 2 * np.random.default_rng(3).standard_normal((5000, 1))

    def spread(mode: Mode, updates: int) -> float:
        norm, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(1, "batch", mode=mode)
        for _ in range(updates):
            state = jax.vmap(norm, in_axes=(0, None), out_axes=(0, None), axis_name="batch")(jnp.asarray(rows), state)[
                1
            ]
        y = jax.vmap(eqx.nn.inference_mode(norm), (0, None), (0, None), axis_name="batch")(jnp.asarray(rows), state)[0]
        frozen = freeze(norm, state, statistics="reference", reference=jnp.asarray(rows))
        assert abs(float(jax.vmap(frozen)(jnp.asarray(rows)).std()) - 1) < 1e-5
        return float(y.std())

    assert spread("ema", 0) > 100  # Divided by √ε.
    assert spread("batch", 0) == pytest.approx(2, rel=0.05)  # Not normalised.
    # Variance 4 + 99 where it should be 4.
    assert spread("batch", 1) == pytest.approx(2 / np.sqrt(4 + 99), rel=0.05)


@pytest.mark.parametrize("mode", MODES)
def test_running_averages(mode: Mode) -> None:
    """ρ old + (1 − ρ) new over two batches, from the first in "ema", freed from 0 and 1 in "batch"."""
    momentum = 0.9
    model, state = made(mode, momentum)
    batches = [plain(model, IMAGES, None)[2], plain(model, ELSEWHERE, None)[2]]
    weights = {"ema": (momentum, 1 - momentum), "batch": (momentum / (1 + momentum), 1 / (1 + momentum))}[mode]
    # In "ema" the second layer sees what the first normalised by its average: one update is compared there.
    steps = 1 if mode == "ema" else 2
    for images in (IMAGES, ELSEWHERE)[:steps]:
        _, state = trained(model, state, images)
    if steps == 1:
        expected = batches[0]
    else:
        expected = [
            tuple(weights[0] * old + weights[1] * new for old, new in zip(*layer, strict=True))
            for layer in zip(*batches, strict=True)
        ]
    frozen = freeze(model, state, statistics="running")
    for actual, plainly in zip(one_by_one(frozen, ELSEWHERE), plain(model, ELSEWHERE, expected)[:2], strict=True):
        assert relative_difference(actual, plainly) <= 1e-12
    off = relative_difference(inferred(model, state, ELSEWHERE), plain(model, ELSEWHERE, expected)[1])
    assert off > 0.1 if mode == "batch" else off <= 1e-12


@pytest.mark.parametrize("mode", MODES)
def test_running_averages_that_were_never_filled(mode: Mode) -> None:
    model, state = made(mode)
    with pytest.raises(ValueError, match=r"^first_norm: no batch went into its running averages yet"):
        freeze(model, state, statistics="running")


def test_parameters_and_kernel() -> None:
    """Its parameters are the network's own, and it is a network whose kernel can be measured."""
    model, state = made("batch")
    frozen = freeze(model, state, statistics="reference", reference=jnp.asarray(IMAGES))
    count = {leaf.shape for leaf in jax.tree.leaves(eqx.filter(frozen, eqx.is_inexact_array))}
    assert count == {leaf.shape for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))}
    assert np.array_equal(frozen.readout.weight, model.readout.weight)
    kernel = empirical_ntk(frozen, jnp.asarray(IMAGES[:2]), jnp.asarray(IMAGES[:3])).values
    # Against the Jacobian by central differences in NumPy, statistics held.
    _, _, used = plain(model, IMAGES, None)
    parameters, rest = eqx.partition(model, eqx.is_inexact_array)
    leaves, structure = jax.tree.flatten(jax.tree.map(np.array, parameters))
    columns = []
    for leaf in leaves:
        for index in np.ndindex(leaf.shape):
            ends, value = [], leaf[index]
            for sign in (1, -1):
                leaf[index] = value + sign * 1e-6
                ends.append(plain(eqx.combine(jax.tree.unflatten(structure, leaves), rest), IMAGES[:3], used)[1])
            leaf[index] = value
            columns.append((ends[0] - ends[1]) / 2e-6)
    jacobian = np.stack(columns, -1)
    assert relative_difference(kernel, np.einsum("kiz,sjz->kisj", jacobian[:, :2], jacobian)) <= 1e-7


class Rows(eqx.Module):
    """Layers in a Sequential, one of them with a state of its own that is not batch normalisation's."""

    layers: eqx.nn.Sequential

    def __init__(self) -> None:
        keys = jax.random.split(jax.random.key(0), 3)
        self.layers = eqx.nn.Sequential(
            [
                eqx.nn.SpectralNorm(eqx.nn.Linear(4, 3, key=keys[0]), "weight", key=keys[1]),
                eqx.nn.BatchNorm(3, "batch", mode="batch"),
                eqx.nn.Lambda(jnp.tanh),
            ]
        )

    def __call__(self, x: jax.Array, state: eqx.nn.State) -> tuple[jax.Array, eqx.nn.State]:
        return self.layers(x, state)


def test_other_state_is_kept_and_no_parameter() -> None:
    model, state = eqx.nn.make_with_state(Rows)()
    rows = jnp.asarray(np.random.default_rng(4).standard_normal((6, 4)))
    frozen = freeze(model, state, statistics="reference", reference=rows)
    still = eqx.tree_at(lambda m: m.layers.layers[0].inference, model, True)
    expected, _ = jax.vmap(still, (0, None), (0, None), axis_name="batch")(rows, state)
    assert relative_difference(jax.vmap(frozen)(rows), expected) <= 1e-12
    counts = [
        sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(net, eqx.is_inexact_array))) for net in (frozen, model)
    ]
    assert counts[0] == counts[1]
    with pytest.raises(ValueError, match="Rows has no split into features and readout"):
        frozen.features(rows[0])


class Twice(eqx.Module):
    """One normalisation in two places, another in none."""

    norm: eqx.nn.BatchNorm
    spare: eqx.nn.BatchNorm | None

    def __init__(self, spare: bool) -> None:
        self.norm = eqx.nn.BatchNorm(4, "batch", mode="ema")
        self.spare = eqx.nn.BatchNorm(4, "batch", mode="ema") if spare else None

    def __call__(self, x: jax.Array, state: eqx.nn.State) -> tuple[jax.Array, eqx.nn.State]:
        y, state = self.norm(x, state)
        return self.norm(y**2, state) if self.spare is None else (y, state)


def test_refusals() -> None:
    rows = jnp.asarray(np.random.default_rng(4).standard_normal((6, 4)))
    model, state = eqx.nn.make_with_state(Twice)(spare=False)
    with pytest.raises(ValueError, match=r"^norm: a pass applies this BatchNorm 2 times"):
        freeze(model, state, statistics="reference", reference=rows)
    spare, its_state = eqx.nn.make_with_state(Twice)(spare=True)
    with pytest.raises(ValueError, match=r"^spare: a pass applies this BatchNorm 0 times"):
        freeze(spare, its_state, statistics="reference", reference=rows)
    with pytest.raises(ValueError, match="statistics='reference' needs the reference batch"):
        freeze(model, state, statistics="reference")
    with pytest.raises(ValueError, match="statistics='running' uses no reference batch"):
        freeze(model, state, statistics="running", reference=rows)
    norm, its_state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(4, "batch", mode="ema")
    with pytest.raises(ValueError, match="one sample with one position"):
        freeze(norm, its_state, statistics="reference", reference=rows[:1])
    with pytest.raises(ValueError, match=r"^the network: statistics are not finite"):
        freeze(norm, its_state, statistics="reference", reference=rows.at[2, 1].set(jnp.nan))


def test_lowering_for_cuda() -> None:
    model, state = made("ema")
    frozen = freeze(model, state, statistics="reference", reference=jnp.asarray(IMAGES))
    module = lower_for_cuda(lambda net, images: net.logit_matrix(images), frozen, jnp.asarray(IMAGES))
    assert "stablehlo.convolution" in module
    assert "custom_call" not in module
    measuring = measuring_network(eqx.nn.inference_mode(model), state)
    assert "custom_call" not in lower_for_cuda(measure, *measuring, jnp.asarray(IMAGES))
