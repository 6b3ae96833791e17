"""Limits by integration against SciPy's on the samples, with their errors, rates and borderline cases."""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from collapse.families import FAMILIES, ClassArrays, Start, make
from flows.lowering import lower_for_cuda

from ntkflow.collapse import (
    FlowLimit,
    approach,
    collapse_distances,
    collapse_metrics,
    conclude,
    limit_of_flow,
    linear_rates,
    predict,
    settle,
)
from ntkflow.collapse.approach import EXPLICIT, STABILISED
from ntkflow.flows import ClassFlow, ClassState, Integration

ALGEBRAIC = "theorem_5.2_with_column_sums"
SEEDS = (0, 1)
# One method for all times: half of the time to compile. STABILISED has a test of its own.
ONE_METHOD = {"transient": EXPLICIT, "tail": None}


def stack(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def flow_of(start: Start) -> ClassFlow:
    return ClassFlow(start.kernel, loss_scale=1.0, targets=jnp.asarray(start.targets))


@pytest.fixture(scope="module")
def limits() -> dict[tuple[str, int], tuple[Start, FlowLimit]]:
    """All families in one compiled program; the saddle of the last one cannot be held in floating point."""
    chosen = [(family, seed) for family in FAMILIES if family != "wrong_orientation" for seed in SEEDS]
    starts = [make(*choice) for choice in chosen]
    flows, states = stack([flow_of(start) for start in starts]), stack([start.state for start in starts])
    found = eqx.filter_vmap(lambda flow, state: approach(flow, state, **ONE_METHOD))(flows, states)
    limit = {}
    for index, (choice, start) in enumerate(zip(chosen, starts, strict=True)):
        one = jax.tree.map(lambda leaf, i=index: leaf[i], (flows, states, found))
        limit[choice] = (start, conclude(*one))
    return limit


def grams(state: ClassState) -> dict[str, np.ndarray]:
    within = np.asarray(state.within)
    return ClassArrays(*map(np.asarray, (state.class_means, within @ within.T, state.weight, state.bias))).grams()


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in (ALGEBRAIC, "wrong_orientation")])
def test_against_scipy_on_the_samples(limits: dict[tuple[str, int], tuple[Start, FlowLimit]], family: str) -> None:
    for seed in SEEDS:
        start, limit = limits[family, seed]
        reference = start.integrate(2 * limit.time).grams()
        for name, found in grams(limit.state).items():
            error = np.linalg.norm(found - reference[name]) / max(1.0, np.linalg.norm(reference[name]))
            assert error <= 1e-6, (seed, name)
        assert limit["residual"].answer == "holds"
        assert limit.error <= 1e-8
        assert limit.drift <= 1e-8


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "wrong_orientation"])
def test_predictions_are_what_the_flow_does(
    limits: dict[tuple[str, int], tuple[Start, FlowLimit]], family: str
) -> None:
    for seed in SEEDS:
        start, limit = limits[family, seed]
        found = predict(start.state, start.kernel, targets=jnp.asarray(start.targets))
        for verdict in found.verdicts:
            assert verdict.answer in ("undetermined", limit[verdict.statement].answer), verdict
        scatter = float(np.trace(grams(limit.state)["S"]))
        assert found.scatter_floor - 1e-8 <= scatter <= found.scatter_ceiling + 1e-8
        if found.frame is not None:
            pairs = zip(jax.tree.leaves(found.frame), jax.tree.leaves(limit.frame), strict=True)
            assert max(float(jnp.abs(one - two).max()) for one, two in pairs) <= 1e-6


def test_decay_as_one_over_time_is_named_and_its_limit_known(
    limits: dict[tuple[str, int], tuple[Start, FlowLimit]],
) -> None:
    """SciPy's S is still there, at most 1/(2mt); what decays exponentially agrees."""
    for seed in SEEDS:
        start, limit = limits[ALGEBRAIC, seed]
        assert any("1/t" in reason for reason in limit.borderline)
        end, own = start.integrate(2 * limit.time), grams(limit.state)
        top = np.linalg.eigvalsh(end.scatter)[-1]
        assert 1e-5 < top <= 1 / (2 * start.per_class * 2 * limit.time)
        assert np.trace(own["S"]) == 0
        assert np.abs(end.grams()["H₁ᵀH₁"] - own["H₁ᵀH₁"]).max() <= 1e-6
        assert np.abs(end.grams()["WWᵀ"] - own["WWᵀ"]).max() > 1e-5


def test_scatter_in_as_many_dimensions_as_classes_stays_by_a_bias_of_sum_one(
    limits: dict[tuple[str, int], tuple[Start, FlowLimit]],
) -> None:
    """n = C: scatter can stay only where W has rank C − 1, and R₁ = 0 then forces det(I − b1ᵀ) = 0."""
    for seed in SEEDS:
        _, limit = limits["generic_in_C_dimensions", seed]
        assert limit["NC1"].answer == "fails"
        assert float(limit.state.bias.sum()) == pytest.approx(1.0, abs=1e-8)
        assert np.linalg.svd(limit.state.weight, compute_uv=False)[-1] <= 1e-6


def test_rates_are_those_of_the_linearised_flow(limits: dict[tuple[str, int], tuple[Start, FlowLimit]]) -> None:
    """Every rate is an eigenvalue of the Jacobian of the whole vector field, and these have no other."""
    for family in ("generic", "semi_definite", "symmetric"):
        start, limit = limits[family, 0]
        flow = flow_of(start)
        flat, unravel = jax.flatten_util.ravel_pytree(limit.state)
        field = jax.jit(
            jax.jacfwd(
                lambda x, flow=flow, unravel=unravel: jax.flatten_util.ravel_pytree(
                    flow.vector_field(jnp.zeros(()), unravel(x), None)
                )[0]
            )
        )
        jacobian = np.sort(-np.linalg.eigvals(np.asarray(field(flat))).real)
        rates = np.sort(np.asarray(linear_rates(flow, limit.state)).ravel())
        largest = rates[-1]
        # A rate at g = 0 may belong to aᵀWH₂ = 0, which no motion reaches: the other way round must hold exactly.
        for value in jacobian[jacobian > 1e-6 * largest]:
            assert np.abs(rates - value).min() <= 1e-7 * largest
        assert limit.slowest_rate <= jacobian[jacobian > 1e-6 * largest].min() * (1 + 1e-7)


@pytest.mark.slow
def test_single_state_another_loss_scale_and_the_stabilised_tail() -> None:
    """Z is a clock: the limit is the same, the time Z times as long."""
    start = make("generic_in_C-1_dimensions", 0)
    one = limit_of_flow(start.state, start.kernel, loss_scale=1.0)
    twelve = limit_of_flow(start.state.to_sample(), start.kernel, loss_scale=12.0)
    assert twelve.time == pytest.approx(12 * one.time)
    assert one.slowest_rate == pytest.approx(12 * twelve.slowest_rate)
    for name, value in grams(one.state).items():
        assert np.abs(grams(twelve.state)[name] - value).max() <= 1e-8, name
    assert one.state.within.shape == (7, 2)  # S has rank C − 1
    text = str(one)
    assert "FlowLimit, Z = 1" in text
    assert "NC1 holds" in text


def test_what_is_not_settled_is_said() -> None:
    start = make("generic", 0)
    few = Integration(method="tsit5", rtol=1e-10, atol=1e-12, max_steps=60)
    for horizon, reason in ((3.0, "still moving"), (1e7, "gave up")):
        limit = limit_of_flow(start.state, start.kernel, loss_scale=1.0, horizon=horizon, transient=few, tail=None)
        assert any(reason in line for line in limit.borderline)
        assert any("R₁ has not vanished" in line for line in limit.borderline)
        assert limit["residual"].answer != "holds"
    with pytest.raises(ValueError, match="got 2 outputs and 3 classes"):
        limit_of_flow(
            dataclasses.replace(start, weight=start.weight[:2], bias=start.bias[:2]).state, start.kernel, loss_scale=1.0
        )


def test_settled_state_of_a_fixed_point_and_of_a_known_invariant() -> None:
    start = make("generic", 3)
    rng = np.random.default_rng(0)
    space = np.linalg.qr(rng.normal(size=(7, 7)))[0]
    # μ_single WᵀW − mS with eigenvalues in one frame: the answer is read off.
    w, s = np.array([2.0, 1.0, 0.5, 0, 0, 0, 0]), np.array([0.5, 3.0, 0, 0.7, 0, 0, 0])
    weight = np.linalg.qr(rng.normal(size=(3, 3)))[0] @ (np.sqrt(w)[:, None] * space.T)[:3]
    within = space * np.sqrt(s) @ np.linalg.qr(rng.normal(size=(9, 7)))[0].T
    state = dataclasses.replace(start, weight=weight, within=within).state
    settled = settle(flow_of(start), state)
    difference = start.mu[0] * w - start.per_class * s
    found = settled.weight.T @ settled.weight, settled.within @ settled.within.T
    expected = (np.maximum(difference, 0) / start.mu[0], np.maximum(-difference, 0) / start.per_class)
    for gram, values in zip(found, expected, strict=True):
        assert np.abs(np.asarray(gram) - (space * values) @ space.T).max() <= 1e-13
    again = settle(flow_of(start), settled)
    assert max(jax.tree.leaves(jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), again, settled))) <= 1e-7


def test_distances_are_the_metrics_where_these_have_the_same_definition() -> None:
    start = make("generic", 4)
    sample = start.state.to_sample()
    metrics = collapse_metrics(sample.features, sample.weight, sample.bias)
    nc1, _, nc3, nc4 = collapse_distances(start.state)
    assert float(nc1) == pytest.approx(float(metrics["nc1_trace_ratio"]), rel=1e-12)
    assert float(nc3) == pytest.approx(float(metrics["nc3_means"]), rel=1e-12)
    # NC2 and NC4 by hand, at an ETF with a readout that has column sums.
    etf = np.linalg.qr(np.random.default_rng(0).normal(size=(7, 3)))[0] @ (np.eye(3) - 1 / 3)
    state = dataclasses.replace(start, means=2 * etf + 1.0, weight=3 * etf.T + 0.3, within=0 * start.within).state
    exact = np.asarray(collapse_distances(state))
    assert np.abs(exact[[0, 1, 3]]).max() <= 1e-15
    assert exact[2] > 0.1
    stretched = dataclasses.replace(start, means=etf * np.array([1.0, 1.0, 1.1])).state
    assert float(collapse_distances(stretched)[1]) > 1e-2
    assert float(nc4) != float(nc3)


def test_lowering() -> None:
    start = make("generic", 0)
    assert lower_for_cuda(settle, flow_of(start), start.state)
    assert lower_for_cuda(linear_rates, flow_of(start), start.state)
    assert lower_for_cuda(lambda flow, state: approach(flow, state, tail=STABILISED), flow_of(start), start.state)
