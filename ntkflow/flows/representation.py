"""In which coordinates a block flow is integrated: as given, split by class, or reduced by its invariant."""

from __future__ import annotations

from typing import Any, Literal

from jaxtyping import Array, Float

from ntkflow.flows.abstract import AbstractBlockFlow
from ntkflow.flows.class_means import ClassFlow
from ntkflow.flows.reduced import InvariantFlow, refuse_without_invariant
from ntkflow.flows.sample import SampleFlow
from ntkflow.flows.states import SampleState
from ntkflow.kernels import BlockKernel

Representation = Literal["sample", "class", "invariant"]


def represent(
    representation: Representation,
    state: SampleState,
    kernel: BlockKernel,
    *,
    loss_scale: float | Float[Array, ""],
    targets: Float[Array, "outputs classes"] | None = None,
    samples: bool = True,
) -> tuple[AbstractBlockFlow[Any], Any]:
    """One flow, (19), in the coordinates asked for, and the initial state in them.

    Args:
        representation: ``sample``: every sample, as (19) is printed, O(nCN) a right-hand side. ``class``: class means
            and a factor of the within-class scatter, (25), O(nC(C + rank)). ``invariant``: the scatter from the
            invariant, O(nC²), or as ``class`` if single samples are carried along.
        state: H, W, b.
        kernel: Θʰ.
        loss_scale: Z.
        targets: T; the identity unless told.
        samples: whether single samples can be had at every time.

    Raises:
        ValueError: ``invariant`` for a kernel that leaves the invariant undefined.
    """
    match representation:
        case "sample":
            return SampleFlow(kernel, loss_scale=loss_scale, targets=targets), state
        case "class":
            return ClassFlow.starting_at(state, kernel, loss_scale=loss_scale, targets=targets, samples=samples)
        case "invariant":
            return InvariantFlow.starting_at(state, kernel, loss_scale=loss_scale, targets=targets, samples=samples)


def choose_representation(state: SampleState, kernel: BlockKernel, *, samples: bool) -> tuple[Representation, str]:
    """The cheapest exact representation, and why, as a sentence.

    The cost is counted in multiplications a right-hand side. Single samples exclude ``invariant``: carrying them costs
    what the class form costs anyway, and that one has no difference of large numbers in it.
    """
    n, total = state.features.shape
    classes = kernel.classes
    rank = min(n, total - classes)
    costs: dict[Representation, int] = {
        "sample": 3 * n * classes * total,
        "class": 3 * n * classes * (classes + rank),
    }
    why_not = ""
    if samples:
        why_not = "; single samples are wanted, which the invariant alone does not give"
    else:
        try:
            refuse_without_invariant(kernel)
            costs["invariant"] = 5 * n * classes**2
        except ValueError as error:
            why_not = f"; not invariant: {error}"
    chosen = min(costs, key=lambda name: costs[name])
    others = ", ".join(f"{name} {cost:.3g}" for name, cost in costs.items() if name != chosen)
    return chosen, (
        f"representation {chosen}: {costs[chosen]:.3g} multiplications a right-hand side against {others}{why_not}"
    )
