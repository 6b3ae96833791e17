"""What the class flow converges to, as far as it can be said from one state without integrating."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow.collapse import decisions
from ntkflow.collapse.conditions import StateConditions, examine
from ntkflow.collapse.frames import ClassFrame
from ntkflow.collapse.mean_mode import MeanMode, mean_mode_limit
from ntkflow.collapse.verdicts import Condition, Verdict
from ntkflow.flows import ClassState, SampleState
from ntkflow.kernels import BlockKernel


@dataclass(frozen=True)
class CollapsePrediction:
    """The limit of the class flow from one state, with its reasons (docs/theory.md, "Predicted limits").

    Args:
        verdicts: one for each of :data:`ntkflow.collapse.STATEMENTS`.
        conditions: the numbers they rest on.
        frame: all inner products of W and of the class means in the limit, and b; None where they depend on more than
            the conserved quantities, so that only :func:`ntkflow.collapse.limit_of_flow` can tell.
        scatter_floor: Tr S(t) is at least this at all times, hence in the limit.
        scatter_ceiling: Tr S is at most this in the limit.
    """

    verdicts: tuple[Verdict, ...]
    conditions: tuple[Condition, ...]
    frame: ClassFrame | None
    scatter_floor: float
    scatter_ceiling: float

    def __getitem__(self, statement: str) -> Verdict:
        return next(verdict for verdict in self.verdicts if verdict.statement == statement)

    @property
    def borderline(self) -> tuple[Condition, ...]:
        """The conditions whose number is within a factor 100 of its threshold, so that another may change a verdict."""
        return tuple(condition for condition in self.conditions if condition.borderline)

    def __str__(self) -> str:
        lines = ["CollapsePrediction", *(f"  {verdict}" for verdict in self.verdicts)]
        lines.append(f"  Tr S in the limit: at least {self.scatter_floor:.4g}, at most {self.scatter_ceiling:.4g}")
        if self.frame is not None:
            weights, means = float(self.frame.weight_cosines[0, 1]), float(self.frame.means_cosines[0, 1])
            lines.append(
                f"  b = {np.array2string(np.asarray(self.frame.bias), precision=6)}; cosines: rows of W {weights:.6f}, "
                f"class means {means:.6f}, centred {float(self.frame.centred_cosines[0, 1]):.6f}"
            )
        lines += [f"  borderline: {condition}" for condition in self.borderline]
        return "\n".join(lines)


def predict(
    state: ClassState | SampleState,
    kernel: BlockKernel,
    *,
    targets: Float[Array, "outputs classes"] | None = None,
    tolerance: float = 1e-9,
) -> CollapsePrediction:
    """What the flow (19), (25) converges to from a state at any time, without integrating it.

    The loss scale Z is only a clock and does not enter. A verdict with ``assuming`` empty is proved; "R₁ → 0" there
    means: for almost every state, since all other fixed points are strict saddles.

    Args:
        state: W, H₁, H₂, b, or samples.
        kernel: Θʰ, constant; μ_single, μ_class and μ_global positive.
        targets: T with equal columns beside the identity's, T = I + t1ᵀ: one-hot (the default), zero-centred.
        tolerance: a relative number counts as 0 up to this; each condition names what its own is relative to.

    Raises:
        ValueError: other targets, as many outputs as classes are not there, one class only, an eigenvalue of the kernel
            that is not positive, or numbers that are not finite.
    """
    found = examine(state, kernel, targets, tolerance)
    residual = decisions.class_residual(found)
    mean_mode = _mean_mode(found, kernel)
    return CollapsePrediction(
        verdicts=(
            residual,
            decisions.variability_collapse(found),
            decisions.simplex_means(found, residual),
            decisions.self_duality(found, residual, mean_mode),
            decisions.nearest_mean_rule(found, residual),
        ),
        conditions=found.conditions,
        frame=None if mean_mode is None or residual.answer == "fails" else _frame(found, mean_mode),
        scatter_floor=found.scatter_floor,
        scatter_ceiling=float(found.ceiling.sum()),
    )


def _mean_mode(found: StateConditions, kernel: BlockKernel) -> MeanMode | None:
    if found.balanced_without_mean:
        return MeanMode(bias_sum=1.0, weight=0.0, mean=0.0)
    if not found.symmetric:
        return None
    return mean_mode_limit(
        found.weight_mean,
        found.means_mean,
        float(found.one_hot_bias.sum()),
        per_class=kernel.per_class,
        classes=kernel.classes,
        mu_global=float(kernel.lambda_global),
    )


def _frame(found: StateConditions, mean_mode: MeanMode) -> ClassFrame:
    classes = len(found.one_hot_bias)
    ones = np.full((classes, classes), 1 / classes)
    off = np.eye(classes) - ones
    bias = np.full(classes, mean_mode.bias_sum / classes) + found.bias_shift
    return ClassFrame(
        weight_gram=jnp.asarray(off / found.class_part.means_scale + mean_mode.weight**2 * ones),
        means_gram=jnp.asarray(off * found.class_part.means_scale + mean_mode.mean**2 * ones),
        logits=jnp.asarray(np.eye(classes) - mean_mode.bias_sum * ones),
        bias=jnp.asarray(bias),
    )
