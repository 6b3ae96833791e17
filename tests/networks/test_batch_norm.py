"""Batch normalisation against NumPy; its statistics are measured, averaged, and never parameters."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kernels.dense import relative_difference
from networks.plain_resnet import batch_moments, shaken, standardize

from ntkflow.networks import BatchNorm, Statistics, Stored

GENERATOR = np.random.default_rng(0)
IMAGES = 3 + 2 * GENERATOR.standard_normal((6, 4, 3, 2))
ROWS = 3 + 2 * GENERATOR.standard_normal((6, 4))


def in_batch(norm: BatchNorm, batch: np.ndarray) -> tuple[jax.Array, BatchNorm]:
    return jax.vmap(lambda x: norm.apply(x, "batch"), out_axes=(0, None), axis_name="batch")(jnp.asarray(batch))


@pytest.mark.parametrize("batch", [IMAGES, ROWS], ids=["images", "rows"])
def test_batch_mode(batch: np.ndarray) -> None:
    norm = shaken(BatchNorm(4))
    y, measured = in_batch(norm, batch)
    moments = batch_moments(batch)
    assert relative_difference(y, standardize(batch, moments, norm)) <= 1e-14
    assert relative_difference(measured.statistics.mean, moments[0]) <= 1e-14
    assert relative_difference(measured.statistics.variance, moments[1]) <= 1e-14
    assert int(measured.statistics.values) == batch.size // 4
    # The layer that comes back does the same to single samples.
    assert relative_difference(jax.vmap(measured)(jnp.asarray(batch)), y) <= 1e-14


def test_epsilon() -> None:
    norm = BatchNorm(4, eps=0.7)
    assert relative_difference(in_batch(norm, ROWS)[0], standardize(ROWS, batch_moments(ROWS), norm)) <= 1e-14
    assert BatchNorm(4).eps == 1e-5


def test_stored_statistics() -> None:
    norm = shaken(BatchNorm(4))
    unset = jax.vmap(norm)(jnp.asarray(ROWS))
    assert int(norm.statistics.values) == 0
    assert relative_difference(unset, standardize(ROWS, (np.zeros(4), np.ones(4)), norm)) <= 1e-14
    chosen = eqx.tree_at(lambda n: n.statistics, norm, Statistics(jnp.arange(4.0), jnp.arange(1.0, 5.0), 9))
    expected = standardize(ROWS, (np.arange(4.0), np.arange(1.0, 5.0)), norm)
    assert relative_difference(jax.vmap(chosen)(jnp.asarray(ROWS)), expected) <= 1e-14


def test_two_axes_are_one_batch() -> None:
    norm = shaken(BatchNorm(4))
    inner = jax.vmap(lambda x: norm.apply(x, ("outer", "inner")), out_axes=(0, None), axis_name="inner")
    y, measured = jax.vmap(inner, out_axes=(0, None), axis_name="outer")(jnp.asarray(IMAGES).reshape(2, 3, 4, 3, 2))
    expected, whole = in_batch(norm, IMAGES)
    assert relative_difference(y.reshape(expected.shape), expected) <= 1e-14
    assert relative_difference(measured.statistics.variance, whole.statistics.variance) <= 1e-14
    assert int(measured.statistics.values) == int(whole.statistics.values) == 36


def test_running_averages_are_pytorchs_from_the_second_batch_on() -> None:
    """running ← (1 − ρ) running + ρ batch with the unbiased variance; the first batch sets it."""
    batches = GENERATOR.standard_normal((5, 6, 4, 3, 2)) * np.arange(1, 6)[:, None, None, None, None]
    running = BatchNorm(4).statistics
    mean = variance = None
    for batch in batches:
        running = running.averaged(in_batch(BatchNorm(4), batch)[1].statistics, 0.1)
        channels = np.moveaxis(batch, 1, 0).reshape(4, -1)
        m, v = channels.mean(1), channels.var(1, ddof=1)
        mean = m if mean is None else 0.9 * mean + 0.1 * m
        variance = v if variance is None else 0.9 * variance + 0.1 * v
        assert relative_difference(running.mean, mean) <= 1e-14
        assert relative_difference(running.variance, variance) <= 1e-14
    # What was not measured leaves the average alone.
    same = running.averaged(BatchNorm(4).statistics, 0.1)
    assert np.array_equal(same.mean, running.mean)
    assert np.array_equal(same.variance, running.variance)
    assert int(same.values) == 36


def test_statistics_are_no_parameters() -> None:
    _, norm = in_batch(shaken(BatchNorm(4)), IMAGES)
    parameters, rest = eqx.partition(norm, eqx.is_inexact_array)
    assert sum(leaf.size for leaf in jax.tree.leaves(parameters)) == 8
    # Weight decay over everything that looks like a parameter.
    decayed = eqx.combine(jax.tree.map(lambda leaf: 0.5 * leaf, parameters), rest)
    assert np.array_equal(decayed.statistics.variance, norm.statistics.variance)
    assert np.array_equal(decayed.gain, 0.5 * norm.gain)
    gradient = eqx.filter_grad(lambda norm: jnp.sum(norm(jnp.asarray(IMAGES[0])) ** 3))(norm)
    assert jax.tree.leaves(gradient.statistics) == []
    assert len(jax.tree.leaves(gradient)) == 2


def test_no_derivative_passes_through_what_is_stored() -> None:
    value, tangent = jax.jvp(lambda a: a * Stored(a).value, (jnp.asarray(3.0),), (jnp.asarray(1.0),))
    assert float(value) == 9.0
    assert float(tangent) == 3.0
    assert float(jax.grad(lambda a: Stored(a * a).value)(2.0)) == 0.0


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32, jnp.bfloat16])
def test_stored_values(dtype: jnp.dtype) -> None:
    numbers = jnp.asarray([0.1, -jnp.inf, -0.0, 3e-38, jnp.nan], dtype)
    stored = Stored(numbers)
    assert not eqx.is_inexact_array(stored.bits)
    assert eqx.is_array(stored.bits)
    assert stored.value.dtype == (jnp.float64 if dtype == jnp.float64 else jnp.float32)
    assert np.array_equal(stored.value, numbers.astype(stored.value.dtype), equal_nan=True)
    assert np.array_equal(np.signbit(stored.value), np.signbit(numbers.astype(stored.value.dtype)))


@pytest.mark.parametrize("mode", ["batch", "stored"])
def test_derivatives(mode: str) -> None:
    """Derivative of a batch's outputs along a change of its inputs, against central differences in NumPy."""
    norm = shaken(BatchNorm(4))
    _, norm = in_batch(norm, ROWS[:3])
    stored = (np.asarray(norm.statistics.mean), np.asarray(norm.statistics.variance))
    direction, step = np.random.default_rng(5).standard_normal(ROWS.shape), 1e-6

    def plain(batch: np.ndarray) -> np.ndarray:
        return standardize(batch, batch_moments(batch) if mode == "batch" else stored, norm)

    def outputs(batch: jax.Array) -> jax.Array:
        if mode == "stored":
            return jax.vmap(norm)(batch)
        return jax.vmap(lambda x: norm.apply(x, "batch")[0], axis_name="batch")(batch)

    cotangent = np.random.default_rng(6).standard_normal(ROWS.shape)

    @jax.jit
    def both(batch: jax.Array, along: jax.Array, back: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.jvp(outputs, (batch,), (along,))[1], jax.vjp(outputs, batch)[1](back)[0]

    tangent, back = both(jnp.asarray(ROWS), jnp.asarray(direction), jnp.asarray(cotangent))
    expected = (plain(ROWS + step * direction) - plain(ROWS - step * direction)) / (2 * step)
    assert relative_difference(tangent, expected) <= 1e-8
    # Reverse mode, as training uses it.
    assert abs(float(jnp.vdot(back, direction)) - float(np.vdot(cotangent, expected))) <= 1e-7


def test_one_value_has_no_variance() -> None:
    with pytest.raises(ValueError, match="a batch of one sample with one position"):
        in_batch(BatchNorm(4), ROWS[:1])
    # One image has positions to average over.
    assert in_batch(BatchNorm(4), IMAGES[:1])[0].shape == (1, 4, 3, 2)


def test_a_batch_mode_outside_a_batch() -> None:
    with pytest.raises(NameError, match="batch"):
        BatchNorm(4).apply(jnp.asarray(ROWS[0]), "batch")


def test_an_ensemble_of_layers() -> None:
    batches = jnp.asarray(np.stack([ROWS, 2 * ROWS + 1]))
    norms = eqx.filter_vmap(lambda scale: eqx.tree_at(lambda n: n.gain, BatchNorm(4), scale * jnp.ones(4)))(
        jnp.asarray([1.0, 2.0])
    )

    def member(norm: BatchNorm, batch: jax.Array) -> tuple[jax.Array, BatchNorm]:
        return jax.vmap(lambda x: norm.apply(x, "batch"), out_axes=(0, None), axis_name="batch")(batch)

    y, measured = eqx.filter_vmap(member)(norms, batches)
    assert relative_difference(y[1], 2 * standardize(2 * ROWS + 1, batch_moments(2 * ROWS + 1), BatchNorm(4))) <= 1e-13
    assert relative_difference(measured.statistics.mean[1], batch_moments(2 * ROWS + 1)[0]) <= 1e-14
