"""Verdicts and closed forms from a state alone, against SciPy's integration and against later states of one flow."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from collapse.families import FAMILIES, Start, make
from scipy.integrate import solve_ivp

from ntkflow.collapse import CollapsePrediction, Condition, mean_mode_limit, predict, scatter_ceiling, scatter_floor
from ntkflow.collapse.coupled import coupled_space
from ntkflow.flows import random_state, zero_invariant_state
from ntkflow.kernels import BlockKernel

ANSWERS = {
    # family: answers for R₁ → 0, NC1, NC2, NC3, NC4; h, f, u for holds, fails, undetermined
    "generic": "ufuuu",
    "generic_in_2C_dimensions": "ufuuu",
    "generic_in_C_dimensions": "uuuuu",
    "generic_in_C-1_dimensions": "uhuuu",
    "scatter_of_low_rank": "ufuuu",
    "theorem_5.2": "uhhhh",
    "theorem_5.2_with_column_sums": "uhhhh",
    "theorem_5.2_and_spectators": "ufhhh",
    "zero_invariant_any_bias": "uhuuu",
    "semi_definite": "uhufu",
    "symmetric": "uhhfh",
    "symmetric_and_spectators": "ufhfh",
    "wrong_orientation": "fhfuu",
}


def prediction(start: Start, tolerance: float = 1e-9) -> CollapsePrediction:
    return predict(start.state, start.kernel, targets=jnp.asarray(start.targets), tolerance=tolerance)


def initials(found: CollapsePrediction) -> str:
    return "".join(verdict.answer[0] for verdict in found.verdicts)


@pytest.mark.parametrize("family", list(ANSWERS))
@pytest.mark.parametrize("seed", [0, 2])
def test_answers_by_family(family: str, seed: int) -> None:
    found = prediction(make(family, seed))
    assert initials(found) == ANSWERS[family]
    assert not found.borderline
    assert (found.frame is not None) == family.startswith(("theorem", "symmetric"))


@pytest.mark.parametrize("family", [name for name in ANSWERS if name != "wrong_orientation"])
def test_the_same_from_a_later_state(family: str) -> None:
    """Everything rests on what the flow conserves: verdicts and frames do not move, whatever the time of the state."""
    start = make(family, 2)
    later = start.integrate(0.5)
    # SciPy keeps the invariant to 1e-10 or so; symmetric roots of S are as good as H₂.
    values, vectors = np.linalg.eigh(later.scatter)
    within = np.zeros_like(start.within)
    within[:, : len(values)] = vectors * np.sqrt(np.maximum(values, 0))
    moved = dataclasses.replace(start, means=later.means, within=within, weight=later.weight, bias=later.bias)
    assert np.linalg.norm(later.means - start.means) > 0.05
    first, second = prediction(start, 1e-7), prediction(moved, 1e-7)
    assert initials(first) == initials(second)
    assert second.scatter_floor == pytest.approx(first.scatter_floor, abs=1e-8)
    if first.frame is not None:
        assert second.frame is not None
        for one, two in zip(jax.tree.leaves(first.frame), jax.tree.leaves(second.frame), strict=True):
            assert np.abs(one - two).max() <= 1e-7


@pytest.mark.parametrize("family", FAMILIES)
def test_bounds_on_scatter_along_the_flow(family: str) -> None:
    """Each eigenvalue of S stays above its floor at all times, and ends below its ceiling."""
    start = make(family, 1)
    invariant, (single, _, _) = start.invariant(), start.mu
    floor, ceiling = scatter_floor(invariant, single, 3), scatter_ceiling(invariant, single)
    for time in (0.0, 0.3, 3.0, 30.0):
        scatter = start.within @ start.within.T if time == 0 else start.integrate(time).scatter
        assert (np.linalg.eigvalsh(scatter)[::-1] >= floor - 1e-9).all()
    # Theorem 5.2 with column sums is not at its limit yet: S ≤ 1/(2mt).
    assert (np.linalg.eigvalsh(scatter)[::-1] <= ceiling + 1 / (2 * 4 * 30.0)).all()
    if family in ("generic", "scatter_of_low_rank"):
        assert floor.sum() > 0.01


def test_floor_with_a_conserved_zero_mean_counts_one_dimension_less() -> None:
    """⟨h⟩ = 0 and b = 1/C stay, so that H₁ has rank C − 1: C negative eigenvalues of E forbid NC1."""
    rng = np.random.default_rng(0)
    start = make("generic", 0)
    off = np.eye(3) - 1 / 3
    means = start.means @ off
    weight = 0.1 * rng.standard_normal((3, 7))
    space = np.linalg.qr(rng.standard_normal((7, 4)))[0]
    start = dataclasses.replace(
        start,
        means=space @ space.T @ means,
        weight=weight @ space @ space.T,
        within=space @ space.T @ start.within,
        bias=np.full(3, 1 / 3),
    )
    assert (np.linalg.eigvalsh(start.invariant()) < -1e-9).sum() >= 3
    found = prediction(start)
    shifted = scatter_floor(start.invariant(), start.mu[0], 2).sum()
    assert found.scatter_floor == pytest.approx(shifted)
    assert shifted > scatter_floor(start.invariant(), start.mu[0], 3).sum() + 0.01
    later = start.integrate(30.0)
    assert np.abs(later.means.sum(axis=1)).max() <= 1e-8
    assert np.trace(later.scatter) >= shifted


@pytest.mark.parametrize("seed", range(4))
def test_mean_mode_against_its_own_equations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight, mean, bias_sum = rng.normal(size=2), rng.normal(size=2), float(rng.normal())
    m, classes, mu_global = 4, 3, float(rng.uniform(0.5, 9))

    def field(_: float, flat: np.ndarray) -> np.ndarray:
        w, h, c = flat[:2], flat[2:4], flat[4]
        r = w @ h + c - 1
        return -r * np.concatenate([m * h, mu_global * w, [m * classes]])

    run = solve_ivp(field, (0, 60), [*weight, *mean, bias_sum], method="DOP853", rtol=1e-12, atol=1e-14)
    end = run.y[:, -1]
    found = mean_mode_limit(weight, mean, bias_sum, per_class=m, classes=classes, mu_global=mu_global)
    assert found.bias_sum == pytest.approx(end[4], abs=1e-11)
    assert found.weight == pytest.approx(np.linalg.norm(end[:2]), abs=1e-11)
    assert found.mean == pytest.approx(np.linalg.norm(end[2:4]), abs=1e-11)


def test_mean_mode_far_away_and_at_rest() -> None:
    """No overflow where the bracket is long, with either exponential absent; nothing moves where r = 0."""
    for sign in (1.0, -1.0):
        weight = np.array([1.0])
        found = mean_mode_limit(weight, sign * weight / 2, 1e7, per_class=4, classes=3, mu_global=1.0)
        assert np.isfinite(found.bias_sum)
        # σ = 2: p or q vanishes, so |ω| = 2|η| for ever, and r = 0 reads ±ω²/2 + c = 1.
        assert found.mean == pytest.approx(found.weight / 2)
        assert sign * found.weight**2 / 2 + found.bias_sum == pytest.approx(1.0, abs=1e-6 * abs(found.bias_sum) + 1e-9)
    still = mean_mode_limit(np.zeros(2), np.zeros(2), 1.0, per_class=4, classes=3, mu_global=1.0)
    assert (still.bias_sum, still.weight, still.mean) == (1.0, 0.0, 0.0)


def test_coupled_space() -> None:
    """S carries the generators on: one vector with parts in k eigenspaces of S spans k dimensions."""
    scatter = np.diag([3.0, 2.0, 2.0, 1.0, 0.0])
    generator = np.array([[1.0, 1.0, 1.0, 0.0, 0.0]]).T
    space = coupled_space(generator, scatter, 1e-9)
    assert space.shape == (5, 2)
    expected = np.stack([np.eye(5)[0], np.array([0, 1, 1, 0, 0]) / np.sqrt(2)], axis=1)
    assert np.abs(space @ space.T - expected @ expected.T).max() <= 1e-14
    assert coupled_space(np.zeros((5, 1)), scatter, 1e-9).shape == (5, 0)


def test_zero_centred_targets_are_a_shift_of_the_bias() -> None:
    start = make("symmetric", 0)
    off = np.eye(3) - 1 / 3
    shifted = dataclasses.replace(start, targets=off, bias=start.bias - 1 / 3)
    first, second = prediction(start), prediction(shifted)
    assert initials(first) == initials(second)
    assert first.frame is not None
    assert second.frame is not None
    assert np.abs(first.frame.bias - 1 / 3 - second.frame.bias).max() <= 1e-14
    assert np.abs(first.frame.means_gram - second.frame.means_gram).max() <= 1e-14


def test_a_mean_mode_without_weight_gives_nc3() -> None:
    """Symmetric states can end with 1ᵀW = 0 only if nothing of the mean mode is left; then all four hold."""
    kernel = BlockKernel(1.9, 1.2, 0.4, classes=3, per_class=4)
    found = predict(zero_invariant_state(jax.random.key(0), kernel, features=6, within_scale=0.0), kernel)
    assert initials(found) == "hhhhh"
    assert all(not verdict.assuming for verdict in found.verdicts)
    text = str(found)
    assert "NC3 holds" in text
    assert "centred -0.500000" in text


def test_generic_wide_states_cannot_collapse() -> None:
    """n > 2C with scatter in every direction: E has at least n − C > C negative eigenvalues."""
    kernel = BlockKernel(1.9, 1.2, 0.4, classes=3, per_class=10)
    for seed in range(5):
        state = random_state(jax.random.key(seed), classes=3, per_class=10, features=12)
        found = predict(state, kernel)
        assert found["NC1"].answer == "fails"
        assert 0 < found.scatter_floor < found.scatter_ceiling


def test_equal_eigenvalues_that_nc3_and_nc4_need() -> None:
    """Five classes and a large random W: E's leading eigenvalues differ, which excludes NC3, and NC4."""
    start = make("generic", 0, classes=5, per_class=3, features=14)
    large = dataclasses.replace(start, weight=6 * start.weight, within=0.05 * start.within, means=0.05 * start.means)
    found = prediction(large)
    assert found["NC3"].answer == found["NC4"].answer == "fails"


def test_two_classes() -> None:
    start = make("generic", 0, classes=2, per_class=3, features=5)
    assert prediction(start)["NC2"].answer == "holds"
    assert prediction(start)["NC4"].answer == "undetermined"
    line = make("generic_in_C-1_dimensions", 0, classes=2, per_class=3, features=5)
    assert initials(prediction(line)) == "uhhuh"


def test_wrong_orientation_in_every_direction() -> None:
    """Two classes: the part that grows is nothing but rounding, whose singular values have the ratio 1."""
    start = make("wrong_orientation", 0, classes=2, per_class=3, features=5)
    assert initials(prediction(start))[:3] == "fhf"
    right = dataclasses.replace(
        start, means=-(start.means - start.means.mean(axis=1, keepdims=True)), bias=0 * start.bias
    )
    right = dataclasses.replace(right, weight=start.weight - start.weight.mean(axis=0), targets=np.eye(2) - 0.5)
    assert initials(prediction(right)) == "hhhhh"


def test_too_few_dimensions_never_fit() -> None:
    """One feature for three classes; the same in seven dimensions is recognised, but rounding grows out of the line."""
    start = make("generic", 0)
    line = np.ones((7, 1)) / np.sqrt(7)
    means, weight = np.array([[0.5, 1.0, -0.5]]), np.array([[1.0], [0.3], [0.2]])
    wide = dataclasses.replace(start, means=line @ means, weight=weight @ line.T, within=0 * start.within)
    narrow = dataclasses.replace(start, means=means, weight=weight, within=np.zeros((1, 9)))
    for thin in (wide, narrow):
        found = prediction(thin)
        assert initials(found)[:3] == "fhf"
        assert "1 dimensions" in found["residual"].reason
    end = narrow.integrate(50.0)
    assert np.linalg.norm(end.weight @ end.means + end.bias[:, None] - np.eye(3)) > 0.5


def test_borderline_conditions_are_named() -> None:
    start = make("theorem_5.2", 0)
    nudged = dataclasses.replace(start, bias=start.bias + 3e-9 * np.array([1.0, -1.0, 0.0]))
    found = prediction(nudged)
    assert [condition.name[:11] for condition in found.borderline] == ["⟨h⟩ = 0 and", "the mean mo"]
    assert "borderline" in str(found)
    assert not Condition("x", 0.0, 1e-9).borderline
    assert Condition("x", 2e-11, 1e-9).borderline


def test_refusals() -> None:
    start = make("generic", 0)
    with pytest.raises(ValueError, match="one-hot targets, or these with one vector"):
        predict(start.state, start.kernel, targets=2 * jnp.eye(3))
    with pytest.raises(ValueError, match=r"C = 3 classes; got 3 outputs and targets of shape \(2, 3\)"):
        predict(start.state, start.kernel, targets=jnp.eye(3)[:2])
    with pytest.raises(ValueError, match=r"mu_single > 0, not -0\.5"):
        predict(start.state, BlockKernel(1.0, 1.5, 0.2, classes=3, per_class=4))
    with pytest.raises(ValueError, match="all finite"):
        predict(dataclasses.replace(start, bias=np.full(3, np.nan)).state, start.kernel)
    with pytest.raises(ValueError, match="two classes"):
        predict(start.state, BlockKernel(1.0, 0.5, 0.2, classes=1, per_class=4))
