"""The coordinates of a state: nothing is lost, nothing superfluous is kept, and nothing small is dropped."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flows.paper_equations import flattened
from kernels.dense import relative_difference

from ntkflow.flows import ClassFlow, ClassState, Frame, SampleState, compress, zero_invariant_state
from ntkflow.kernels import BlockKernel


def state(seed: int, *, classes: int, per_class: int, features: int, outputs: int, rank: int | None = None):
    """Random; with ``rank``, features and rows of W in a random subspace of that dimension."""
    generator = np.random.default_rng(seed)
    h = 0.3 + generator.standard_normal((features, classes * per_class))
    w = generator.standard_normal((outputs, features))
    if rank is not None:
        basis = np.linalg.qr(generator.standard_normal((features, rank)))[0]
        h, w = basis @ (basis.T @ h), (w @ basis) @ basis.T
    return SampleState(jnp.asarray(h), jnp.asarray(w), jnp.asarray(generator.standard_normal(outputs)))


def scatter(state: SampleState, classes: int) -> np.ndarray:
    """S by its definition, a sum over samples."""
    h = np.asarray(state.features)
    m = h.shape[1] // classes
    away = [h[:, i] - h[:, i // m * m : i // m * m + m].mean(axis=1) for i in range(h.shape[1])]
    return sum(np.outer(a, a) for a in away) / m


def check(given: SampleState, classes: int, frame: Frame, inside: ClassState) -> None:
    """Back to every sample, to class means and scatter; orthonormal; rows of P without a part along the means."""
    assert relative_difference(flattened(frame.sample_state(inside)), flattened(given)) <= 1e-13
    v = np.asarray(frame.directions)
    assert np.abs(v.T @ v - np.eye(v.shape[1])).max() <= 1e-13
    back = frame.class_state(inside)
    size = max(float(jnp.linalg.norm(given.features)), 1e-300)
    m = given.features.shape[1] // classes
    expected = np.asarray(given.features).reshape(len(given.features), classes, m).mean(axis=2)
    assert np.abs(np.asarray(back.class_means) - expected).max() <= 1e-14 * size
    assert np.abs(np.asarray(back.within @ back.within.T) - scatter(given, classes)).max() <= 1e-14 * size**2
    assert frame.samples is not None
    p = np.asarray(frame.samples)
    assert np.abs(p @ p.T - np.eye(len(p))).max(initial=0) <= 1e-13
    # F times the sums of P over each class: what would leak into the class means later.
    sums = p.reshape(len(p), classes, m).sum(axis=2)
    assert np.abs(np.asarray(inside.within) @ sums).max(initial=0) <= 1e-13 * size


@pytest.mark.parametrize(
    ("sizes", "dims", "columns"),
    [
        ({"classes": 3, "per_class": 4, "features": 5, "outputs": 3}, 5, 5),  # n < N − C
        ({"classes": 3, "per_class": 4, "features": 9, "outputs": 3}, 9, 9),  # n = N − C
        ({"classes": 3, "per_class": 4, "features": 10, "outputs": 3}, 10, 9),
        ({"classes": 3, "per_class": 4, "features": 40, "outputs": 2}, 14, 9),  # N + outputs
        ({"classes": 3, "per_class": 1, "features": 7, "outputs": 3}, 6, 0),
        ({"classes": 1, "per_class": 5, "features": 3, "outputs": 1}, 3, 3),
        ({"classes": 3, "per_class": 400, "features": 2, "outputs": 2}, 2, 2),
        ({"classes": 2, "per_class": 2, "features": 300, "outputs": 2}, 6, 2),
        ({"classes": 3, "per_class": 20, "features": 30, "outputs": 3, "rank": 4}, 4, 4),
    ],
)
def test_exact_and_no_larger_than_it_has_to_be(sizes: dict[str, int], dims: int, columns: int) -> None:
    given = state(0, **sizes)
    frame, inside = compress(given, sizes["classes"])
    assert frame.directions.shape == (sizes["features"], dims)
    assert inside.within.shape == (dims, columns)
    check(given, sizes["classes"], frame, inside)
    without, same = compress(given, sizes["classes"], samples=False)
    assert without.samples is None
    assert np.array_equal(same.within, inside.within)
    with pytest.raises(ValueError, match="single samples were not kept; ask for them with samples=True"):
        without.sample_state(same)


def test_a_state_with_zero_invariant_has_a_dimension_less_than_classes() -> None:
    kernel = BlockKernel(1.9, 1.2, 0.4, classes=4, per_class=10)
    given = zero_invariant_state(jax.random.key(0), kernel, features=40)
    frame, inside = compress(given, 4)
    assert frame.directions.shape == (40, 3)
    check(given, 4, frame, inside)


@pytest.mark.parametrize("part", ["features", "weight"])
@pytest.mark.parametrize("size", [1e-3, 1e-9, 1e-11])
def test_a_small_part_in_a_direction_of_its_own_is_kept(part: str, size: float) -> None:
    """Its square is below rounding in a Gram matrix, so that a rank from eigenvalues alone would lose it."""
    given = state(1, classes=3, per_class=4, features=12, outputs=3, rank=3)
    direction = np.linalg.svd(np.asarray(given.features))[0][:, -1]
    h, w = np.asarray(given.features), np.asarray(given.weight)
    if part == "features":
        h = h + size * np.outer(direction, np.random.default_rng(2).standard_normal(12))
    else:
        w = w + size * np.outer([1.0, 2.0, -1.0], direction)
    given = SampleState(jnp.asarray(h), jnp.asarray(w), given.bias)
    frame, inside = compress(given, 3)
    back = frame.sample_state(inside)
    for one, other in [
        (direction @ np.asarray(back.features), direction @ h),
        (back.weight @ direction, w @ direction),
    ]:
        assert np.abs(np.asarray(one) - other).max() <= 1e-4 * size
    check(given, 3, frame, inside)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_the_unit_of_the_weights_is_not_looked_at(scale: float) -> None:
    """Weights are kept or dropped by their own size, not by that of the features."""
    given = state(3, classes=3, per_class=4, features=30, outputs=3)
    given = SampleState(given.features, scale * given.weight, given.bias)
    frame, inside = compress(given, 3)
    assert relative_difference(frame.sample_state(inside).weight, given.weight) <= 1e-13
    assert relative_difference(frame.sample_state(inside).features, given.features) <= 1e-13
    assert frame.directions.shape[1] == 15


def test_zeros() -> None:
    """No features; no weights; neither."""
    given = state(0, classes=3, per_class=4, features=20, outputs=2)
    h, w = jnp.zeros_like(given.features), jnp.zeros_like(given.weight)
    for features, weight, dims in [(h, given.weight, 2), (given.features, w, 12), (h, w, 20)]:
        zeros = SampleState(features, weight, given.bias)
        frame, inside = compress(zeros, 3)
        assert frame.directions.shape[1] == dims
        check(zeros, 3, frame, inside)


def test_all_directions_under_jit_and_vmap() -> None:
    states = [state(seed, classes=3, per_class=4, features=14, outputs=2, rank=4) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    frames, inside = jax.jit(jax.vmap(lambda s: compress(s, 3, all_directions=True)))(stacked)
    for index, given in enumerate(states):
        frame, one = jax.tree.map(lambda leaf, i=index: leaf[i], (frames, inside))
        assert frame.directions.shape == (14, 14)
        check(given, 3, frame, one)


def test_samples_that_do_not_sort_into_classes() -> None:
    with pytest.raises(ValueError, match="12 samples cannot be sorted into 5 classes of equal size"):
        compress(state(0, classes=3, per_class=4, features=5, outputs=3), 5)


def test_the_flow_never_leaves_the_coordinates() -> None:
    """The slope in feature space is the slope in coordinates, mapped back; with the wrong span it would not be."""
    given = state(4, classes=3, per_class=4, features=30, outputs=3)
    kernel = BlockKernel(1.9, 1.2, 0.4, classes=3, per_class=4)
    small, inside = ClassFlow.starting_at(given, kernel, loss_scale=2.0)
    whole = ClassFlow(kernel, loss_scale=2.0)
    zero = jnp.asarray(0.0)
    mapped = small.class_state(small.vector_field(zero, inside, None))
    slope = whole.vector_field(zero, ClassState.from_sample(given, 3), None)
    for name in ("class_means", "weight", "bias"):
        assert relative_difference(getattr(mapped, name), getattr(slope, name)) <= 1e-13
    assert inside.weight.shape == (3, 15)
    # Single samples: Ḣ of the flow in coordinates is that of the whole flow.
    both = [small.sample_state(small.vector_field(zero, inside, None)).features, slope.to_sample().features]
    assert relative_difference(*both) <= 1e-13
