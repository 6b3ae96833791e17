"""The numbers of one state that decide where the class flow ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Array, Float

from ntkflow.collapse.admitted import bias_shift
from ntkflow.collapse.class_part import ClassPart, class_part
from ntkflow.collapse.coupled import coupled_space
from ntkflow.collapse.scatter_bounds import scatter_ceiling, scatter_floor
from ntkflow.collapse.verdicts import Condition
from ntkflow.flows import ClassState, InvariantSides, SampleState
from ntkflow.kernels import BlockKernel


@dataclass(frozen=True)
class StateConditions:
    """What :func:`examine` found. u = 1/√C; "coupled" is :func:`ntkflow.collapse.coupled.coupled_space` of Wᵀ and H₁.

    Args:
        coupled_dimension: dimension of the coupled space.
        invariant_eigenvalues: of E on all of ℝⁿ, falling, over the sum of the norms of both sides of (26).
        floor: lower bounds on the eigenvalues of S on the coupled space.
        ceiling: upper bounds on the eigenvalues of S in the limit.
        spectator_trace: trace of S outside the coupled space, constant in time.
        no_invariant: E = 0 on the coupled space.
        semi_definite: E ⪰ 0 on the coupled space.
        no_scatter: S = 0 on the coupled space.
        no_spectators: S = 0 outside.
        floor_is_zero: the floor is 0.
        mean_free: ⟨h⟩ = 0 and b = 1/C (one-hot), which stays.
        decoupled: the mean mode (along u) sees nothing of the rest, and has no scatter.
        multiple: beside it, E is e·I, in C − 1 dimensions.
        class_part: the numbers of that part.
        weight_mean: Wᵀu.
        means_mean: H₁u.
        one_hot_bias: b less ``bias_shift``, that of the same flow with T = I.
        bias_shift: :func:`ntkflow.collapse.admitted.bias_shift`.
        scatter_on_weight_mean: |H₂ᵀWᵀu| over ‖H₂‖‖W‖.
        tolerance: what counts as 0.
    """

    coupled_dimension: int
    invariant_eigenvalues: Float[np.ndarray, " features"]
    floor: Float[np.ndarray, " coupled"]
    ceiling: Float[np.ndarray, " features"]
    spectator_trace: float
    no_invariant: Condition
    semi_definite: Condition
    no_scatter: Condition
    no_spectators: Condition
    floor_is_zero: Condition
    mean_free: Condition
    decoupled: Condition
    multiple: Condition
    class_part: ClassPart
    weight_mean: Float[np.ndarray, " features"]
    means_mean: Float[np.ndarray, " features"]
    one_hot_bias: Float[np.ndarray, " classes"]
    bias_shift: Float[np.ndarray, " classes"]
    scatter_on_weight_mean: float
    tolerance: float

    @property
    def classes(self) -> int:
        """C."""
        return len(self.one_hot_bias)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All of them, for printing."""
        invariant = (self.no_invariant, self.semi_definite, self.floor_is_zero)
        return (*invariant, self.no_scatter, self.no_spectators, self.mean_free, self.decoupled, self.multiple)

    @property
    def balanced_without_mean(self) -> bool:
        """Theorem 5.2: E = 0 and ⟨h⟩ = 0, b = 1/C."""
        return self.no_invariant.met and self.mean_free.met

    @property
    def symmetric(self) -> bool:
        """The mean mode decouples, and E is a multiple of the identity on what is left."""
        return self.decoupled.met and self.multiple.met

    @property
    def scatter_floor(self) -> float:
        """Lower bound on Tr S at all times: uncoupled scatter, and what the invariant holds up; 0 where these are."""
        uncoupled = 0.0 if self.no_spectators.met else self.spectator_trace
        return uncoupled + (0.0 if self.floor_is_zero.met else float(self.floor.sum()))


def examine(
    state: ClassState | SampleState,
    kernel: BlockKernel,
    targets: Float[Array, "outputs classes"] | None,
    tolerance: float,
) -> StateConditions:
    """All numbers that the verdicts rest on. Raises ``ValueError`` as :func:`ntkflow.collapse.predict` says."""
    split = ClassState.from_sample(state, kernel.classes) if isinstance(state, SampleState) else state
    means, within, weight, bias = (
        np.asarray(part) for part in (split.class_means, split.within, split.weight, split.bias)
    )
    shift = bias_shift(kernel, None if targets is None else np.asarray(targets), weight.shape[0])
    if not all(np.isfinite(part).all() for part in (means, within, weight, bias)):
        raise ValueError("a prediction needs a state whose numbers are all finite")
    classes, one_hot_bias = kernel.classes, bias - shift
    mu_single, mu_class = float(kernel.lambda_single), float(kernel.lambda_class)
    mean_vector = np.full(classes, 1 / np.sqrt(classes))
    weight_mean, means_mean = weight.T @ mean_vector, means @ mean_vector

    # Units: W over its norm, H₁ and H₂ over their common one, E over both sides of (26). 1 where there is nothing.
    sides = InvariantSides.of(split, kernel)
    invariant, scale = np.asarray(sides.invariant), float(sides.scale) or 1.0
    size_w, size_s = _size(weight), _size(within)
    size_f = _size(np.hstack([means, within]))
    scatter = within @ within.T / size_f**2
    unit_w, unit_h, modes = weight.T / size_w, means / _size(means), [weight_mean / size_w, means_mean / _size(means)]
    modes = np.stack(modes, axis=1)

    coupled = coupled_space(np.hstack([unit_w, unit_h]), scatter, tolerance)
    inside, outside = coupled.T @ within, within - coupled @ (coupled.T @ within)
    on_coupled = coupled.T @ invariant @ coupled
    least = float(np.linalg.eigvalsh(on_coupled)[0]) if coupled.shape[1] else 0.0
    mean_free = max(float(np.linalg.norm(modes[:, 1])), float(np.abs(one_hot_bias - 1 / classes).max()))
    floor = scatter_floor(on_coupled, mu_single, classes - 1 if mean_free <= tolerance else classes)

    off_mean = np.eye(classes) - 1 / classes
    apart = coupled_space(np.hstack([unit_w @ off_mean, unit_h @ off_mean]), scatter, tolerance)
    part = class_part(
        weight, means, invariant, apart, per_class=kernel.per_class, mu_class=mu_class, zero=tolerance * scale
    )
    mixed = [apart.T @ modes, within.T @ modes / size_s, off_mean @ one_hot_bias]

    def condition(name: str, value: float) -> Condition:
        return Condition(name, float(value), tolerance)

    return StateConditions(
        coupled_dimension=coupled.shape[1],
        invariant_eigenvalues=np.linalg.eigvalsh(invariant)[::-1] / scale,
        floor=floor,
        ceiling=scatter_ceiling(invariant, mu_single),
        spectator_trace=float(np.sum(outside**2)),
        no_invariant=condition(
            "E = 0 (norm on the coupled space over those of both sides)", float(np.linalg.norm(on_coupled)) / scale
        ),
        semi_definite=condition("E ⪰ 0 (minus its least eigenvalue over both sides)", max(0.0, -least) / scale),
        floor_is_zero=condition(
            "no floor under S (its trace over μ_single · both sides)", floor.sum() / scale / mu_single
        ),
        no_scatter=condition("no coupled scatter (over ‖[H₁, H₂]‖)", float(np.linalg.norm(inside)) / size_f),
        no_spectators=condition("no uncoupled scatter (over ‖[H₁, H₂]‖)", float(np.linalg.norm(outside)) / size_f),
        mean_free=condition("⟨h⟩ = 0 and b = 1/C (over ‖H₁‖; absolute)", mean_free),
        decoupled=condition(
            "the mean mode decouples (over ‖W‖, ‖H₁‖, ‖H₂‖; unequal biases absolute)",
            max(float(np.linalg.norm(block)) for block in mixed),
        ),
        multiple=condition(
            "E = e·I off the mean mode, in C − 1 dimensions (norm of the rest over both sides)",
            part.distance / scale if part.dimension == classes - 1 else np.inf,
        ),
        class_part=part,
        weight_mean=weight_mean,
        means_mean=means_mean,
        one_hot_bias=one_hot_bias,
        bias_shift=shift,
        scatter_on_weight_mean=float(np.linalg.norm(within.T @ weight_mean)) / (size_s * size_w),
        tolerance=tolerance,
    )


def _size(matrix: Float[np.ndarray, "rows columns"]) -> float:
    return float(np.linalg.norm(matrix)) or 1.0
