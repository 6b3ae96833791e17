"""The empirical NTK of networks of every kind against the Gram matrix of their whole Jacobians."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from kernels.dense import relative_difference
from kernels.small_networks import jacobian, small_mlp
from kernels.varied_network import Unrolled, Varied

from ntkflow.kernels import empirical_ntk
from ntkflow.kernels.empirical import assembly
from ntkflow.kernels.empirical.budget import checked_budget
from ntkflow.kernels.empirical.finite import refuse_not_finite_samples
from ntkflow.kernels.empirical.network_program import NetworkProgram
from ntkflow.kernels.empirical.sites import ConvolutionSite, DenseSite, FoldedSite, GainSite, ShiftSite
from ntkflow.networks import ResNet, with_statistics_of

GENERATOR = np.random.default_rng(0)
METHODS = ("structured", "jacobian", "jvp-vjp")
TRACES = ("sum", "mean", "outputs", None)


def images(count: int, channels: int = 2, size: int = 6, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal((count, channels, size, size)))


@functools.cache
def varied() -> Varied:
    return Varied(jax.random.key(0))


@functools.cache
def expected(of: str) -> np.ndarray:
    """(outputs, samples, outputs, samples) of five images."""
    gradients = jacobian(varied(), images(5), of)
    return np.einsum("ikp,jsp->kisj", gradients, gradients)


def of_trace(kernel: np.ndarray, trace: str | None) -> np.ndarray:
    own = np.einsum("kikj->kij", kernel)
    return {"sum": own.sum(0), "mean": own.mean(0), "outputs": own, None: kernel}[trace]


@pytest.mark.parametrize(
    ("method", "trace"), [*(("structured", trace) for trace in TRACES), ("jacobian", None), ("jvp-vjp", None)]
)
def test_against_the_whole_jacobian(method: str, trace: str | None) -> None:
    found = empirical_ntk(varied(), images(5), trace=trace, method=method)
    assert found.method == method
    assert relative_difference(found.values, of_trace(expected("logits"), trace)) <= 1e-13


def test_features() -> None:
    found = empirical_ntk(varied(), images(5), of="features")
    assert relative_difference(found.values, expected("features")) <= 1e-13


@pytest.mark.parametrize("method", METHODS)
def test_rows_and_columns(method: str) -> None:
    net, x = Reduced(jax.random.key(3)), images(5, size=4)
    whole = empirical_ntk(net, x).values
    assert relative_difference(empirical_ntk(net, x[:2], x[1:], method=method).values, whole[:, :2, :, 1:]) <= 1e-13


def test_the_link_between_the_two_kernels() -> None:
    """Θ_{k,s} = w_kᵀ Θʰ w_s + δ_{ks}(⟨h, h'⟩ + 1), each side measured."""
    net, x = small_mlp(), jnp.asarray(GENERATOR.standard_normal((4, 4)))
    h, weight = np.asarray(jax.vmap(net.features)(x)), np.asarray(net.readout.weight)
    features, logits = (np.asarray(empirical_ntk(net, x, of=of).values) for of in ("features", "logits"))
    own = np.einsum("ks,ij->kisj", np.eye(3), h @ h.T + 1)
    assert relative_difference(np.einsum("kp,piqj,sq->kisj", weight, features, weight) + own, logits) <= 1e-13


def test_a_batch_normalised_residual_network() -> None:
    x = images(6, channels=1, size=8)
    net = ResNet(jax.random.key(1), input_channels=1, outputs=3, depth=8, channels=(2, 3, 4))
    net = with_statistics_of(net, x)
    gradients = jacobian(net, x, "logits")
    kernel = np.einsum("ikp,jsp->kisj", gradients, gradients)
    assert relative_difference(empirical_ntk(net, x, method="structured").values, kernel) <= 1e-13


@pytest.mark.parametrize("method", METHODS)
def test_scans_and_rematerialised_layers(method: str) -> None:
    net, x = Unrolled(jax.random.key(2)), jnp.asarray(GENERATOR.standard_normal((3, 4)))
    gradients = jacobian(net, x, "logits")
    kernel = np.einsum("ikp,jsp->kisj", gradients, gradients)
    assert relative_difference(empirical_ntk(net, x, method=method).values, kernel) <= 1e-13


def test_where_parameters_are_found() -> None:
    """What factorises does, by its own kind, and what does not is taken whole."""
    net = varied()
    program = NetworkProgram(net, images(1)[0], "logits")
    names = [
        jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(eqx.filter(net, eqx.is_array))
    ]
    sites = program.reading.places.sites
    folded = {
        names[site.leaf]: (type(site.layer), {names[leaf] for leaf in site.others}, site.with_one)
        for site in sites
        if isinstance(site, FoldedSite)
    }
    assert folded == {
        ".first.weight": (ConvolutionSite, {".first.bias"}, True),
        # With so few positions the sums of shifts and gains cost less than a longer matrix product.
        ".strided.weight": (ConvolutionSite, {".strided.bias", ".gain"}, False),
        ".token.weight": (DenseSite, {".token.bias"}, True),
    }
    kinds = {names[site.leaf]: type(site) for site in sites if not isinstance(site, FoldedSite)}
    assert kinds == {
        ".dilated.weight": ConvolutionSite,
        ".grouped.bias": ShiftSite,
        ".norm.weight": GainSite,
        ".norm.bias": ShiftSite,
        ".scaled": DenseSite,
        ".masked": GainSite,
        ".subtracted": ShiftSite,
        ".readout.weight": DenseSite,
        ".readout.bias": ShiftSite,
    }
    whole = {names[leaf] for leaf in program.reading.places.opaque}
    assert whole == {".grouped.weight", ".normalised", ".shared.weight", ".shared.bias"}


def test_the_parameters_that_count() -> None:
    """A filter: the readout's gradients alone are h and 1."""
    net, x = small_mlp(), jnp.asarray(GENERATOR.standard_normal((3, 4)))
    only = eqx.tree_at(
        lambda tree: tree.readout, jax.tree.map(lambda _: False, net), jax.tree.map(lambda _: True, net.readout)
    )
    h = np.asarray(jax.vmap(net.features)(x))
    found = empirical_ntk(net, x, trace="mean", parameters=only)
    assert relative_difference(found.values, h @ h.T + 1) <= 1e-14


@pytest.mark.parametrize(
    ("method", "trace"),
    [*(("structured", trace) for trace in TRACES), ("jacobian", "sum"), ("jvp-vjp", "outputs"), ("jvp-vjp", None)],
)
def test_tiles_are_the_whole(method: str, trace: str | None) -> None:
    """A budget of a third of what the whole takes: other tiles, the same numbers."""
    x = images(7, size=5)[:, :, :4, :4]
    net = Reduced(jax.random.key(3))
    whole = empirical_ntk(net, x, trace=trace, method=method)
    parts = empirical_ntk(net, x, trace=trace, method=method, memory=_least(net, x, trace, method) * 5 // 4)
    assert (parts.samples, parts.outputs) != (whole.samples, whole.outputs)
    assert relative_difference(parts.values, whole.values) <= 1e-12
    assert "tiles of" in str(parts) if parts.tiles > 1 else "1 tile of" in str(parts)


class Reduced(eqx.Module):
    """One convolution, one dense layer: little to compile."""

    convolution: eqx.nn.Conv2d
    dense: eqx.nn.Linear

    def __init__(self, key: jax.Array) -> None:
        first, second = jax.random.split(key)
        self.convolution = eqx.nn.Conv2d(2, 3, 3, key=first)
        self.dense = eqx.nn.Linear(12, 4, key=second)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.dense(jnp.tanh(self.convolution(x)).reshape(-1))


def _least(net: Any, x: jax.Array, trace: str | None, method: str) -> int:
    """Bytes that the smallest parts take, from the message that refuses one byte."""
    with pytest.raises(ValueError, match=r"^a memory budget of 1 B is too small: .* take ([\d.]+) (k?B)") as refused:
        empirical_ntk(net, x, trace=trace, method=method, memory=1)
    number, unit = str(refused.value).split(" take ")[1].split(" (")[0].split()
    return round(float(number) * {"B": 1, "kB": 1000}[unit])


def test_auto_takes_the_cheapest_that_fits_and_says_so() -> None:
    x = images(4, size=4)
    net = Reduced(jax.random.key(3))
    free = empirical_ntk(net, x, trace="sum")
    assert free.method == "structured"
    assert free.why.startswith("structured, ")
    assert "jacobian" in free.why
    assert "jvp-vjp" in free.why


@pytest.mark.slow
def test_progress_and_devices() -> None:
    """Two devices share the work; forced, for there is one here."""
    program = """
import os
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
import jax, numpy as np, jax.numpy as jnp
jax.config.update("jax_enable_x64", True)
from ntkflow.kernels import empirical_ntk, network_block_values, network_output_pairs, network_output_values
from ntkflow.networks import MLP
net = MLP(jax.random.key(0), inputs=4, outputs=3, width=7, hidden_layers=1, features=5, activation="tanh")
x = jax.random.normal(jax.random.key(1), (6, 4))
told = []
for trace in ("mean",):
    alone = empirical_ntk(net, x, trace=trace)
    both = empirical_ntk(net, x, trace=trace, devices=jax.devices(), progress=lambda *told_: told.append(told_))
    assert len(jax.devices()) == 2
    assert (both.outputs < alone.outputs) if trace is not None else (both.samples == 3), both
    assert np.abs(both.values - alone.values).max() <= 1e-12 * np.abs(alone.values).max()
assert told[-1][1] == told[-1][2] > 1 and told[-1][0] == "kernel"
tell = lambda *now: told.append(now)
for memory in (2**30, 6_500):  # one pass over all samples, and two passes over parts of them
    told.clear()
    alone = network_block_values(net, x, 2, memory=memory)
    both = network_block_values(net, x, 2, memory=memory, devices=jax.devices(), progress=tell)
    assert ("two passes" in both.how) == (memory < 2**30), both.how
    assert np.abs(both.values - alone.values).max() <= 1e-12 * np.abs(alone.values).max()
    assert [now[1] for now in told] == sorted(now[1] for now in told)
    assert told[0][1] == 0 and told[-1][1] == told[-1][2] > 1 and told[-1][0] == "block values"
draws = [network_block_values(net, x, 2, random_outputs=5, key=jax.random.key(0), devices=d).draws
         for d in (None, jax.devices())]
assert np.abs(draws[0] - draws[1]).max() <= 1e-12 * np.abs(draws[0]).max()
each = [network_output_values(net, x, 2, of="features", devices=d).values for d in (None, jax.devices())]
assert np.abs(each[0] - each[1]).max() <= 1e-12 * np.abs(each[0]).max()
pairs = [network_output_pairs(net, x, 2, devices=d).norms for d in (None, jax.devices())]
assert np.abs(pairs[0] - pairs[1]).max() <= 1e-12 * np.abs(pairs[0]).max()
print("fine")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env={**os.environ}
    )
    assert done.stdout == "fine\n", done.stderr


def test_the_memory_budget_is_kept() -> None:
    """What the compiled programs hold, as the compiler counts it, and never an array as large as the Jacobian."""
    net = small_mlp()
    x = jnp.asarray(GENERATOR.standard_normal((64, 4)))
    whole = 64 * 3 * sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(net, eqx.is_inexact_array))) * 8
    budget = 100_000
    found = empirical_ntk(net, x, trace="mean", memory=budget)
    assert found.method == "structured"
    program = NetworkProgram(net, x[0], "logits")
    task = assembly.Task(64, None, "mean", program.outputs, 8)
    plan = assembly.Plan("structured", found.samples, found.outputs, kept=True)
    held = assembly.Assembly(net, "logits", eqx.is_inexact_array, x, None, task).needs(plan)
    assert held <= budget < whole


def test_what_is_refused() -> None:
    net, x = small_mlp(), jnp.ones((3, 4))
    with pytest.raises(ValueError, match="samples x and x2 differ"):
        empirical_ntk(net, x, jnp.ones((3, 5)))
    with pytest.raises(ValueError, match="needs samples along the first axis"):
        empirical_ntk(net, x[:0])
    with pytest.raises(ValueError, match=r"^Reduced has no method features\(x\)"):
        empirical_ntk(Reduced(jax.random.key(0)), images(2, size=4), of="features")
    with pytest.raises(ValueError, match="devices is empty: give at least one"):
        empirical_ntk(net, x, devices=[])
    for memory in (0, -5, float("nan"), float("inf"), "2 GB", None, True):
        with pytest.raises(ValueError, match=rf"memory is a number of bytes, as 2 \* 1024\*\*3, not {memory!r}"):
            checked_budget(memory)
    with pytest.raises(ValueError, match="memory is a number of bytes"):
        empirical_ntk(net, x, memory=0)
    with pytest.raises(ValueError, match="no floating-point arrays among the chosen parameters"):
        empirical_ntk(net, x, parameters=lambda leaf: False)
    bad = x.at[1, 2].set(jnp.nan)
    # Its pairs with the others are not finite either, but it is the sample that is named.
    for trace in TRACES:
        with pytest.raises(ValueError, match="not finite at 1 of 3 samples, the first is sample 1:"):
            empirical_ntk(net, bad, trace=trace)
    with pytest.raises(ValueError, match="not finite at 1 of 2 samples, the first is sample 1:"):
        empirical_ntk(net, bad[:2], x, trace="mean")
    with pytest.raises(ValueError, match="not finite at 1 of 3 samples, the first is sample x' 1:"):
        empirical_ntk(net, x[:2], bad, trace="mean")


def test_products_that_overflow_are_of_two_samples() -> None:
    """Neither sample is to blame alone; and the check looks at arrays of NumPy, which tiles come in, row by row."""
    values = np.ones((3, 3))
    values[0, 2] = values[2, 0] = np.inf
    for array in (values, jnp.asarray(values)):
        with pytest.raises(ValueError, match="not finite at 2 of 3 samples, the first is sample 0:"):
            refuse_not_finite_samples(array, "mean", same=True)
    whole = np.ones((2, 3, 2, 3))
    whole[1, 2, 0, 2] = np.nan
    for array in (whole, jnp.asarray(whole)):
        with pytest.raises(ValueError, match="not finite at 1 of 3 samples, the first is sample 12:"):
            refuse_not_finite_samples(array, None, same=True, first_row=10, first_column=10)


@pytest.mark.parametrize("method", ["structured", "jacobian"])
def test_factors_lower_for_cuda(method: str) -> None:
    x = images(2)

    def kernel(net: Varied, x: jax.Array, v: jax.Array) -> jax.Array:
        program = NetworkProgram(net, jax.ShapeDtypeStruct(x.shape[1:], x.dtype), "logits")
        factors = program.factors(x, v) if method == "structured" else program.jacobian(x, v)
        return sum((item.pairs(item) for item in factors), jnp.zeros(()))

    assert "stablehlo" in lower_for_cuda(kernel, varied(), x, jnp.eye(3))


def test_products_lower_for_cuda() -> None:
    def kernel(net: Varied, x: jax.Array, v: jax.Array) -> jax.Array:
        program = NetworkProgram(net, jax.ShapeDtypeStruct(x.shape[1:], x.dtype), "logits")
        return assembly.products_tile(program, x, x, v, trace="sum")

    assert "stablehlo" in lower_for_cuda(kernel, varied(), images(2), jnp.eye(3))
