"""Block values of networks without a Gram matrix, against Gram matrices of brute-force Jacobians."""

from __future__ import annotations

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from kernels.dense import relative_difference
from kernels.small_networks import SmallConvolution, jacobian, small_mlp

from ntkflow.kernels import (
    MatrixBlockKernel,
    NetworkBlockValues,
    SampleSums,
    estimate_block_values,
    estimate_class_values,
    network_block_values,
    network_output_pairs,
    network_output_values,
)
from ntkflow.kernels.empirical import gradient_sums as engine
from ntkflow.kernels.empirical.chunks import Chunks
from ntkflow.kernels.empirical.class_sums import merged, sample_sums
from ntkflow.kernels.empirical.factors import Factors
from ntkflow.kernels.empirical.network_sums import NetworkSums
from ntkflow.networks import MLP

CLASSES, M = 3, 5
NETWORKS = {"dense": (small_mlp(), (4,)), "convolutional": (SmallConvolution(jax.random.key(1)), (2, 6, 6))}


def case(name: str) -> tuple[Any, jax.Array]:
    network, shape = NETWORKS[name]
    return network, jax.random.normal(jax.random.key(5), (CLASSES * M, *shape))


@functools.cache
def jacobian_of(name: str, of: str) -> np.ndarray:
    return jacobian(*case(name), of)


def output_grams(name: str, of: str) -> np.ndarray:
    """Θ_{k,k}: (outputs, samples, samples)."""
    found = jacobian_of(name, of)
    return np.einsum("ikz,jkz->kij", found, found)


@pytest.mark.parametrize(("name", "of"), [("dense", "logits"), ("convolutional", "features")])
def test_values_and_errors_are_those_of_the_gram_matrix(name: str, of: str) -> None:
    gram = output_grams(name, of)
    exact = estimate_block_values(jnp.asarray(gram.mean(0)), CLASSES)
    found = network_block_values(*case(name), CLASSES, of=of)
    assert relative_difference(found.values, exact.values) <= 1e-12
    assert relative_difference(found.sample_covariance, exact.covariance) <= 1e-10
    assert relative_difference(found.population_interval(), exact.interval()) <= 1e-10
    by_class = estimate_class_values(SampleSums.from_matrix(jnp.asarray(gram.mean(0)), CLASSES))
    assert relative_difference(found.by_class().kernel.pairs, by_class.kernel.pairs) <= 1e-12
    assert relative_difference(found.by_class().pair_errors, by_class.pair_errors) <= 1e-10
    # All outputs were taken: nothing is open on these samples.
    assert np.array_equal(found.interval(), np.stack([found.values, found.values], axis=-1))
    assert not found.output_covariance.any()


def test_the_sum_over_outputs_is_their_number_times_the_mean() -> None:
    mean, total = (network_block_values(*case("dense"), CLASSES, trace=trace) for trace in ("mean", "sum"))
    assert relative_difference(total.values, 3 * mean.values) <= 1e-14
    assert relative_difference(total.covariance, 9 * mean.covariance) <= 1e-13


def test_values_of_every_output() -> None:
    found = network_output_values(*case("dense"), CLASSES, of="features")
    for k, gram in enumerate(output_grams("dense", "features")):
        exact = estimate_block_values(jnp.asarray(gram), CLASSES)
        assert relative_difference(found.values[k], exact.values) <= 1e-12
        assert relative_difference(found.standard_errors[k], exact.standard_errors) <= 1e-10
    assert str(found).startswith("OutputBlockValues of 5 features: d in [")


@pytest.mark.parametrize(
    ("name", "chunks", "each"),
    [
        ("dense", Chunks(M, 2), False),
        ("dense", Chunks(2, 2), True),
        ("convolutional", Chunks(1, 5), False),
    ],
)
def test_chunks_change_nothing(name: str, chunks: Chunks, each: bool) -> None:
    """One pass, two passes with a smaller last part, one sample a class; chunks of outputs that do not divide 5."""
    grams = output_grams(name, "features")
    exact = SampleSums.from_matrix(jnp.asarray(grams if each else grams.sum(0)), CLASSES)
    sums = NetworkSums(*case(name), np.eye(5), CLASSES, "features", eqx.is_inexact_array, each=each)
    found = sums.run(chunks)
    assert found.by_class.shape == exact.by_class.shape
    assert relative_difference(found.diagonal, exact.diagonal) <= 1e-12
    assert relative_difference(found.by_class, exact.by_class) <= 1e-12
    assert bool(sums.finite(chunks).all())


@pytest.mark.parametrize(("sizes", "together"), [((1, 3, 4), True), ((3, 4, 2), False)])
def test_both_orders_of_the_contraction(sizes: tuple[int, int, int], together: bool, monkeypatch: Any) -> None:
    """Of positions, inputs and neurons; each of them by pairs of samples and by sums of gradients."""
    positions, inputs, neurons = sizes
    left = jax.random.normal(jax.random.key(0), (6, positions, inputs))
    right = jax.random.normal(jax.random.key(1), (6, 2, neurons, positions))
    factors = merged(Factors(left, right)) if together else Factors(left, right)
    gradients = np.einsum("itk,irmt->irmk", np.asarray(left), np.asarray(right))
    kernels = np.einsum("irmk,jrmk->rij", gradients, gradients)
    exact = SampleSums.from_matrix(jnp.asarray(kernels.sum(0)[None] if together else kernels), 3)
    for by_pairs in (True, False):
        monkeypatch.setattr("ntkflow.kernels.empirical.class_sums._by_pairs", lambda *_, by_pairs=by_pairs: by_pairs)
        found = sample_sums(factors, 3)
        assert relative_difference(found.diagonal, exact.diagonal) <= 1e-12
        assert relative_difference(found.by_class, exact.by_class) <= 1e-12


def test_only_the_chosen_parameters_count() -> None:
    network, inputs = case("dense")
    chosen = eqx.tree_at(lambda tree: tree.layers[0].weight, jax.tree.map(lambda _: False, network), True)
    parameters, rest = eqx.partition(network, chosen)
    rows = jax.vmap(jax.jacrev(lambda p, x: eqx.combine(p, rest)(x)), (None, 0))(parameters, inputs)
    flat = np.asarray(rows.layers[0].weight).reshape(15, 3, -1)
    exact = estimate_block_values(jnp.asarray(np.einsum("ikz,jkz->ij", flat, flat) / 3), CLASSES)
    found = network_block_values(network, inputs, CLASSES, parameters=chosen)
    assert relative_difference(found.values, exact.values) <= 1e-12


def test_pairs_of_outputs() -> None:
    found = jacobian_of("convolutional", "features")
    whole = np.einsum("ipz,jqz->piqj", found, found)
    exact = MatrixBlockKernel.nearest(jnp.asarray(whole), CLASSES)
    pairs = network_output_pairs(*case("convolutional"), CLASSES)
    # Tiles of 10 samples a side: one below the diagonal, and a smaller last one.
    tiled = network_output_pairs(*case("convolutional"), CLASSES, memory=120_000)
    for measured in (pairs, tiled):
        for part in ("own", "same_class", "everywhere"):
            assert relative_difference(getattr(measured.blocks, part), getattr(exact, part)) <= 1e-10
        assert relative_difference(measured.norms, np.sqrt((whole**2).sum((1, 3)))) <= 1e-12
    assert "over pairs k ≠ s" in str(pairs)


def wide_case() -> tuple[MLP, jax.Array]:
    network = MLP(jax.random.key(0), inputs=5, outputs=2, width=24, hidden_layers=1, features=24)
    return network, jax.random.normal(jax.random.key(1), (2 * 1000, 5))


def test_neither_a_gram_matrix_nor_a_jacobian_is_held() -> None:
    """2 000 samples, 24 features, 744 parameters before the readout: what the compiled programs take, in float64."""
    network, inputs = wide_case()
    gram, whole = 8 * 2000**2, 8 * 2000 * 24 * 744
    sums = NetworkSums(network, inputs, np.eye(24), 2, "features", eqx.is_inexact_array, each=False)
    one_pass, two_passes = sums.needs(Chunks(1000, 4)), sums.needs(Chunks(50, 4))
    assert one_pass < gram < whole
    assert two_passes < gram / 10
    # The counter-check: the matrix itself is seen by the same measure.
    compiled = jax.jit(lambda x: jnp.sum(jnp.sin(x @ x.T) @ x)).lower(inputs).compile()
    assert compiled.memory_analysis().temp_size_in_bytes >= gram


def test_the_budget_is_kept_and_compilation_is_not_repeated() -> None:
    network, inputs = case("convolutional")
    whole = network_block_values(network, inputs, CLASSES, of="features")
    assert "one pass over all samples" in whole.how
    smaller = network_block_values(network, inputs, CLASSES, of="features", memory=100_000)
    assert "two passes" in smaller.how
    number, unit = smaller.how.split()[-2:]
    assert unit == "kB"
    assert float(number) <= 100
    assert relative_difference(smaller.values, whole.values) <= 1e-13
    before = engine.kernel_sums._cache_size()
    again = network_block_values(jax.tree.map(lambda leaf: 2 * leaf, network), inputs, CLASSES, of="features")
    assert engine.kernel_sums._cache_size() == before
    assert again.values[0] != whole.values[0]


def test_float32() -> None:
    network, inputs = case("dense")
    exact = network_block_values(network, inputs, CLASSES)
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), network)
    found = network_block_values(single, inputs.astype(jnp.float32), CLASSES)
    assert relative_difference(found.values, exact.values) <= 1e-5
    assert relative_difference(found.estimate.standard_errors, exact.estimate.standard_errors) <= 1e-4


def refused(message: str, *, classes: int = CLASSES, **settings: Any) -> None:
    with pytest.raises(ValueError, match=message):
        network_block_values(*case("dense"), classes, **settings)


def test_what_is_refused_and_how_it_is_said() -> None:
    refused("c, the mean over pairs of one class, is undefined with one sample a class", classes=15)
    refused("n, the mean over pairs of two classes, is undefined with one class", classes=1)
    refused("15 samples cannot be sorted into 4 classes", classes=4)
    refused("sample 1 is of class 1, the one before it of class 0", labels=np.arange(15) % 3)
    unbalanced = np.repeat([0, 1, 2], [4, 6, 5])
    refused("5 samples of each of 3 classes, not 4 of class 0, 6 of class 1, 5 of class 2", labels=unbalanced)
    refused("labels are one class a sample, 15 of them, not of shape \\(3,\\)", labels=np.arange(3))
    refused("a memory budget of 1 kB is too small: the gradients of one output", memory=1000)
    for memory in (0, -5):
        refused("memory is a number of bytes, as 2 \\* 1024\\*\\*3, not ", memory=memory)
    refused("devices is empty: give at least one", devices=[])
    refused("random_outputs needs a key", random_outputs=4)
    refused("at least 3 for an error to be told, not 2", random_outputs=2, key=jax.random.key(0))


def test_what_pairs_of_outputs_refuse() -> None:
    network, inputs = case("dense")
    with pytest.raises(ValueError, match="of 100 B two thirds are for the making of a tile: a memory budget of 67 B"):
        network_output_pairs(network, inputs, CLASSES, memory=100)
    with pytest.raises(ValueError, match="memory is a number of bytes"):
        network_output_pairs(network, inputs, CLASSES, memory=-5)
    # In a tile of its own, and named by its number among all samples.
    with pytest.raises(ValueError, match="not finite at 1 of 1 samples, the first is sample 7"):
        network_output_pairs(network, inputs.at[7].set(jnp.nan), CLASSES, memory=4000)


def test_classes_in_any_order_of_their_labels_are_accepted() -> None:
    labels = np.repeat([7, 2, 4], M)
    assert isinstance(network_block_values(*case("dense"), CLASSES, labels=labels), NetworkBlockValues)


def test_the_first_sample_that_is_not_finite_is_named() -> None:
    network, inputs = case("dense")
    broken = inputs.at[7, 1].set(jnp.inf).at[12, 0].set(jnp.nan)
    with pytest.raises(
        ValueError, match=r"features are not finite at 2 of 15 samples, the first is sample 7 \(class 1\)"
    ):
        network_block_values(network, broken.at[7].set(jnp.nan), CLASSES, of="features")


def test_gradients_that_are_not_finite_are_named_though_outputs_are() -> None:
    class Root(eqx.Module):
        weight: jax.Array

        def __call__(self, x: jax.Array) -> jax.Array:
            return jnp.sqrt(self.weight * x)

    inputs = jnp.arange(6.0)[:, None] + 1.0
    with pytest.raises(
        ValueError, match=r"gradients .* not finite at 1 of 6 samples, the first is sample 3 \(class 1\)"
    ):
        network_block_values(Root(jnp.array([1.0])), inputs.at[3].set(0.0), 2)


def test_two_samples_a_class_print_that_there_is_no_error() -> None:
    network, inputs = case("dense")
    text = str(network_block_values(network, inputs[:6], CLASSES))
    assert text.count("no error over samples for m < 3") == 3
    assert text.startswith("NetworkBlockValues of logits, mean over all 3 outputs, on 3 classes of 2 samples\n  d = ")


@pytest.mark.parametrize("name", NETWORKS)
def test_lowering_for_cuda(name: str) -> None:
    network, inputs = case(name)

    def at_once(network: Any, x: jax.Array) -> Any:
        return NetworkSums(network, x, np.eye(5), CLASSES, "features", eqx.is_inexact_array, each=False).run(
            Chunks(M, 5)
        )

    def in_parts(network: Any, x: jax.Array) -> Any:
        return NetworkSums(network, x, np.eye(5), CLASSES, "features", eqx.is_inexact_array, each=True).run(
            Chunks(2, 5)
        )

    for function in (at_once, in_parts):
        module = lower_for_cuda(function, network, inputs)
        assert "stablehlo.dot_general" in module
        assert "callback" not in module
