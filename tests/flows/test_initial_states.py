"""Initial states: what they promise, and where the flow takes them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.lowering import lower_for_cuda
from flows.paper_equations import Problem, invariant_sides

from ntkflow.collapse import collapse_metrics, equal_bias_constants
from ntkflow.flows import (
    InvariantSides,
    SampleFlow,
    SampleState,
    random_state,
    solve,
    unbalanced_state,
    within_basis,
    zero_invariant_state,
)
from ntkflow.kernels import BlockKernel

KAPPA = (1.9, 1.2, 0.4)
KERNEL = BlockKernel(*KAPPA, classes=3, per_class=4)
FLOW = SampleFlow(KERNEL, loss_scale=1.0)
TIMES = jnp.linspace(0.0, 40.0, 5)


def arrays(state: SampleState) -> tuple[np.ndarray, ...]:
    return np.asarray(state.features), np.asarray(state.weight), np.asarray(state.bias)


def end(state: SampleState) -> tuple[dict[str, float], float]:
    """Metrics and ‖R₁‖, the residual of the class means, at the end of the flow."""
    run = solve(FLOW, state, TIMES)
    last = run.state_at(-1)
    metrics = jax.jit(collapse_metrics)(last.features, last.weight, last.bias)
    norms = np.asarray(run.residual_norms)[-1]
    return {name: float(value) for name, value in metrics.items()}, float(np.hypot(norms[0], norms[1]))


@pytest.mark.parametrize(("classes", "per_class", "features"), [(3, 4, 5), (3, 4, 2), (2, 1, 3)])
def test_zero_invariant_zero_mean_and_equal_biases(classes: int, per_class: int, features: int) -> None:
    kernel = BlockKernel(*KAPPA, classes=classes, per_class=per_class)
    state = zero_invariant_state(jax.random.key(per_class), kernel, features=features)
    h, w, b = arrays(state)
    assert h.shape == (features, classes * per_class)
    problem = Problem(KAPPA, per_class, np.eye(classes), 1.0, (h, w, b))
    weight_side, feature_side = invariant_sides(problem, (h, w, b))
    scale = np.linalg.norm(weight_side) + np.linalg.norm(feature_side)
    assert scale > 1e-3
    assert np.linalg.norm(weight_side - feature_side) <= 1e-14 * scale
    assert abs(float(InvariantSides.of(state, kernel).alignment) - 1) <= 1e-14
    assert np.abs(h.mean(axis=1)).max() <= 1e-15 * np.sqrt(classes * per_class) * np.abs(h).max() * 10
    assert np.array_equal(b, np.full(classes, 1 / classes))
    assert np.abs(w.sum(axis=0)).max() <= 1e-14


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_collapse_from_a_zero_invariant(seed: int) -> None:
    state = zero_invariant_state(jax.random.key(seed), KERNEL, features=5)
    start = {
        name: float(value)
        for name, value in jax.jit(collapse_metrics)(*[jnp.asarray(a) for a in arrays(state)]).items()
    }
    metrics, residual = end(state)
    assert residual <= 1e-8
    for name, limit in [
        ("nc1_within_std", 1e-8),
        ("nc1_trace_ratio", 1e-15),
        ("nc1_pinv", 1e-15),
        ("nc1_cdnv", 1e-15),
        ("nc2_etf_distance", 1e-8),
        ("nc2_norm_variation", 1e-8),
        ("nc2_angle_deviation", 1e-8),
        ("nc3_unit_means", 1e-8),
        ("nc3_means", 1e-8),
    ]:
        assert metrics[name] <= limit < 1e-2 < start[name], name
    assert metrics["nc4_disagreement"] == 0


@pytest.mark.parametrize("seed", [0, 1])
def test_no_collapse_from_a_random_state(seed: int) -> None:
    state = random_state(jax.random.key(seed), classes=3, per_class=4, features=5)
    metrics, residual = end(state)
    assert residual <= 1e-2  # fitted all the same
    for name in ("nc1_trace_ratio", "nc2_etf_distance", "nc3_means"):
        assert metrics[name] > 1e-2, name


def orientation(state: SampleState) -> float:
    """Determinant of WH₁ on the vectors of zero sum, by making it the identity on 1."""
    h, w, _ = arrays(state)
    means = h.reshape(len(h), 3, 4).mean(axis=2)
    return np.linalg.det(w @ means + np.full((3, 3), 1 / 3))


@pytest.mark.parametrize("seed", range(6))
def test_orientation_is_that_of_the_class_means(seed: int) -> None:
    """Exactly, the flow keeps the sign of det(WH₁) where there is no scatter. Rounding lets it through after a while,
    here at t = 4.5 to 5, because the wrong end is a saddle.
    """
    state = zero_invariant_state(jax.random.key(seed), KERNEL, features=5, within_scale=0.0)
    assert orientation(state) > 0
    # W turned the other way: E is still 0, and one direction of the class means, √m of the residual, is never fitted.
    basis = np.asarray(within_basis(3))
    mirror = basis.T @ np.diag([-1.0, 1.0]) @ basis
    wrong = SampleState(state.features, jnp.asarray(mirror) @ state.weight, state.bias)
    assert float(InvariantSides.of(wrong, KERNEL).norm) <= 1e-14
    runs = [solve(FLOW, start, jnp.linspace(0.0, 4.0, 5)) for start in (state, wrong)]
    residuals = [float(jnp.linalg.norm(run.residual_norms[-1])) for run in runs]
    assert residuals[0] <= 1e-7
    assert abs(residuals[1] - 2.0) <= 1e-7
    for index in range(5):
        assert orientation(runs[0].state_at(index)) > 0 > orientation(runs[1].state_at(index))


def test_refusals() -> None:
    with pytest.raises(ValueError, match="at least C - 1 = 2 features, not 1"):
        zero_invariant_state(jax.random.key(0), KERNEL, features=1)
    with pytest.raises(ValueError, match=r"mu_single > 0, not -0\.5"):
        zero_invariant_state(jax.random.key(0), BlockKernel(1.0, 1.5, 0.2, classes=3, per_class=4), features=5)


def test_zero_invariant_state_of_a_kernel_whose_class_means_do_not_decay() -> None:
    """μ_class < 0 has no state with E = 0 either: it must be refused, not silently rounded to one with E ≠ 0."""
    kernel = BlockKernel(1.0, 0.5, 0.9, classes=3, per_class=4)
    assert float(kernel.lambda_single) > 0 > float(kernel.lambda_class)
    with pytest.raises(ValueError, match="mu_class > 0"):
        zero_invariant_state(jax.random.key(0), kernel, features=5)


def test_random_state() -> None:
    sizes = {"classes": 10, "per_class": 40, "features": 100}
    state = random_state(jax.random.key(0), **sizes, weight_scale=3.0, feature_scale=0.5, rectified=False)
    assert abs(float(state.weight.std()) / (3.0 / 10.0) - 1) < 0.1  # 1000 numbers: 2.2 % is one standard deviation
    assert abs(float(state.features.std()) / 0.5 - 1) < 0.02
    assert abs(float(state.features.mean())) < 0.01
    assert not state.bias.any()
    rectified = random_state(jax.random.key(0), **sizes, weight_scale=3.0)
    assert np.array_equal(rectified.features, np.maximum(0, state.features))
    assert np.array_equal(rectified.weight, state.weight)
    assert not np.array_equal(random_state(jax.random.key(1), **sizes).features, rectified.features)


def unbalanced(seed: int, **scales: float) -> SampleState:
    return unbalanced_state(jax.random.key(seed), KERNEL, features=6, **scales)


def invariant_of(state: SampleState) -> np.ndarray:
    """E by the equations of the paper, in NumPy."""
    weight_side, feature_side = invariant_sides(Problem(KAPPA, 4, np.eye(3), 1.0, arrays(state)), arrays(state))
    return weight_side - feature_side


def test_unbalanced_by_nothing_is_the_zero_invariant_state() -> None:
    state, plain = unbalanced(0), zero_invariant_state(jax.random.key(0), KERNEL, features=6)
    for ours, theirs in zip(arrays(state), arrays(plain), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-15)


def test_the_invariant_of_an_unbalanced_state() -> None:
    """E = (s² − 1)W₀ᵀW₀/m − S_out/μ_single, S_out outside of W₀ and the class means; ⟨h⟩ as long as told."""
    ratio, outside, mean = 1.7, 0.3, 0.4
    state = unbalanced(1, weight_ratio=ratio, outside_scale=outside, mean_scale=mean)
    h, w, _ = arrays(state)
    assert np.linalg.norm(h.mean(axis=1)) == pytest.approx(mean, rel=1e-12)
    inside = np.linalg.qr(np.linalg.svd(w)[2][:3].T)[0]  # the row space of W, of dimension C with the mean's direction
    away = h - np.repeat(h.reshape(6, 3, 4).mean(axis=2), 4, axis=1)
    scatter = away @ away.T / 4
    projector = np.eye(6) - inside @ inside.T
    outer = projector @ scatter @ projector
    # No correlation between inside and outside, or W would leave its space.
    assert np.linalg.norm(projector @ scatter @ (np.eye(6) - projector)) <= 1e-14
    # Of 9 directions over the samples, 2 are taken by what is inside: 3 · 7 squares of outside/√m are left.
    assert 0.3 < np.trace(outer) / (21 * outside**2 / 4) < 2.5
    expected = (ratio**2 - 1) * w.T @ w / ratio**2 / 4 - outer / (KAPPA[0] - KAPPA[1])
    np.testing.assert_allclose(invariant_of(state), expected, rtol=0, atol=1e-13)


def test_where_unbalanced_states_end() -> None:
    """Scatter outside stays and is all that stays; a weight ratio spoils NC2 and NC3 only; a mean NC3 only."""
    outside = unbalanced(2, outside_scale=0.3)
    metrics, residual = end(outside)
    assert residual <= 1e-8
    assert metrics["nc2_etf_distance"] <= 1e-8
    assert metrics["nc3_unit_means"] <= 1e-8
    floor = -np.trace(invariant_of(outside)) * (KAPPA[0] - KAPPA[1])
    # At the end M̄ᵀM̄ = √(μ_class/m) Φ, of the trace C − 1.
    between = 2 * np.sqrt(float(KERNEL.lambda_class) / 4)
    assert metrics["nc1_trace_ratio"] == pytest.approx(floor / between, rel=1e-7)

    metrics, residual = end(unbalanced(2, weight_ratio=1.5))
    assert residual <= 1e-8
    assert metrics["nc1_trace_ratio"] <= 1e-12
    assert metrics["nc2_etf_distance"] > 1e-2

    shifted = unbalanced(2, mean_scale=0.5)
    run = solve(FLOW, shifted, TIMES)
    h, w, b = arrays(run.state_at(-1))
    assert float(run.residual_norms[-1].max()) <= 1e-8
    assert abs(b - b.mean()).max() <= 1e-9
    assert abs(b.mean() - 1 / 3) > 0.02
    gamma, theta = equal_bias_constants(b.mean(), KERNEL)
    means = h.reshape(6, 3, 4).mean(axis=2)
    for gram, constant in ((w @ w.T, gamma), (means.T @ means, theta)):
        assert gram[0, 1] / gram[0, 0] == pytest.approx(float(-constant / (1 - constant)), abs=1e-7)


def test_states_are_made_inside_compiled_programs() -> None:
    def make(key: jax.Array, values: jax.Array, scale: jax.Array) -> SampleState:
        kernel = BlockKernel(values[0], values[1], values[2], classes=3, per_class=4)
        return unbalanced_state(key, kernel, features=6, weight_ratio=scale, outside_scale=scale, mean_scale=scale)

    scales = jnp.asarray([0.5, 1.2])
    keys = jax.random.split(jax.random.key(3), 2)
    made = jax.jit(jax.vmap(make))(keys, jnp.tile(jnp.asarray(KAPPA), (2, 1)), scales)
    for index, scale in enumerate([0.5, 1.2]):
        alone = unbalanced_state(
            keys[index], KERNEL, features=6, weight_ratio=scale, outside_scale=scale, mean_scale=scale
        )
        for ours, theirs in zip(jax.tree.leaves(made), arrays(alone), strict=True):
            np.testing.assert_allclose(ours[index], theirs, rtol=0, atol=1e-13)
    lowered = lower_for_cuda(make, keys[0], jnp.asarray(KAPPA), scales[0])
    assert "callback" not in lowered


def test_unbalanced_needs_room() -> None:
    with pytest.raises(ValueError, match="at least C \\+ 1 = 4 features, not 3"):
        unbalanced_state(jax.random.key(0), KERNEL, features=3)
