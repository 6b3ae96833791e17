"""The limit of the class flow by integration: state, verdicts, slowest rate, error, and what is borderline."""

from __future__ import annotations

from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow.collapse.approach import EXPLICIT, STABILISED, Approach, approach
from ntkflow.collapse.distances import collapse_distances
from ntkflow.collapse.frames import ClassFrame
from ntkflow.collapse.rates import slowest_rate
from ntkflow.collapse.settled import NULL, null_part
from ntkflow.collapse.verdicts import Answer, Verdict
from ntkflow.flows import ClassFlow, ClassState, Integration, InvariantSides, SampleState
from ntkflow.kernels import BlockKernel

_NUMBERS = {
    "residual": "‖R₁‖/‖T(I − 11ᵀ/C)‖",
    "NC1": "Tr S/‖M̄‖²",
    "NC2": "‖M̄ᵀM̄/‖M̄ᵀM̄‖ − Φ/‖Φ‖‖",
    "NC3": "‖Wᵀ/‖W‖ − M̄/‖M̄‖‖",
    "NC4": "‖WᵀΦ/‖WᵀΦ‖ − M̄/‖M̄‖‖",
}


@dataclass(frozen=True)
class FlowLimit:
    """Where the flow ends, found by :func:`limit_of_flow`.

    Args:
        state: W, H₁, H₂ (a factor of S, not of single samples if there were fewer directions than samples) and b.
        verdicts: one for each of :data:`ntkflow.collapse.STATEMENTS`.
        distances: the number behind each verdict, 0 where the statement holds exactly.
        error: estimate of the relative error of the limit (:class:`ntkflow.collapse.Approach`), the integration's own
            aside.
        drift: ‖E(t) − E(0)‖ over the norms of both sides of (26) at the start: what the integration lost.
        slowest_rate: of the linearised flow at the limit, per unit of time of Z.
        time: how far the flow was followed.
        loss_scale: Z.
        borderline: why another tolerance, or a longer run, may say something else; empty in a clear case.
    """

    state: ClassState
    verdicts: tuple[Verdict, ...]
    distances: dict[str, float]
    error: float
    drift: float
    slowest_rate: float
    time: float
    loss_scale: float
    borderline: tuple[str, ...]

    def __getitem__(self, statement: str) -> Verdict:
        return next(verdict for verdict in self.verdicts if verdict.statement == statement)

    @property
    def frame(self) -> ClassFrame:
        """All inner products of W and H₁."""
        weight, means = self.state.weight, self.state.class_means
        return ClassFrame(weight @ weight.T, means.T @ means, weight @ means, self.state.bias)

    def __str__(self) -> str:
        bias = np.array2string(np.asarray(self.state.bias), precision=6)
        lines = [f"FlowLimit, Z = {self.loss_scale:g}, followed to t = {self.time:.4g}"]
        lines += [f"  {verdict}" for verdict in self.verdicts]
        lines.append(f"  b = {bias}; slowest rate {self.slowest_rate:.4g}")
        lines.append(f"  relative error about {self.error:.1e}, drift of E {self.drift:.1e}")
        return "\n".join(lines + [f"  borderline: {reason}" for reason in self.borderline])


def limit_of_flow(
    state: ClassState | SampleState,
    kernel: BlockKernel,
    *,
    loss_scale: float | Float[Array, ""],
    targets: Float[Array, "outputs classes"] | None = None,
    tolerance: float = 1e-8,
    verdict_tolerance: float = 1e-6,
    horizon: float = 1e7,
    transient: Integration = EXPLICIT,
    tail: Integration | None = STABILISED,
) -> FlowLimit:
    """Integrate the class flow until it is as good as stationary, and say what it became.

    A statement holds if its number is at most ``verdict_tolerance`` by more than the error, fails if it is more by more
    than the error, and is undetermined in between; within a factor 30 of the tolerance it is named as borderline.

    Args:
        state: where to start.
        kernel: Θʰ.
        loss_scale: Z.
        targets: T; one-hot where none are given.
        tolerance: relative, of the limit and of the class residual.
        verdict_tolerance: a number up to this counts as 0.
        horizon: longest time, in units of the inverse of the fastest rate at the start.
        transient: method at first, see :func:`ntkflow.collapse.approach`.
        tail: method later.

    Raises:
        ValueError: fewer than two classes, or another number of outputs than classes.
    """
    split = ClassState.from_sample(state, kernel.classes) if isinstance(state, SampleState) else state
    classes = kernel.classes
    if classes < 2 or split.weight.shape[0] != classes:
        raise ValueError(
            f"NC1–NC4 compare the rows of W with the class means of at least two classes; "
            f"got {split.weight.shape[0]} outputs and {classes} classes"
        )
    start = _fewer_columns(split)
    flow = ClassFlow(kernel, loss_scale=loss_scale, targets=targets)
    found = approach(flow, start, tolerance=tolerance, horizon=horizon, transient=transient, tail=tail)
    return conclude(flow, start, found, tolerance=tolerance, verdict_tolerance=verdict_tolerance)


def conclude(
    flow: ClassFlow, start: ClassState, found: Approach, *, tolerance: float = 1e-8, verdict_tolerance: float = 1e-6
) -> FlowLimit:
    """A :class:`FlowLimit` from what :func:`ntkflow.collapse.approach` found, for batches run under ``vmap``."""
    numbers, values = _numbers(flow, start, found)
    distances = {name: float(value) for name, value in zip(_NUMBERS, numbers, strict=True)}
    left, nearest, rate, drift = (float(value) for value in values)
    error = float(found.error)
    verdicts = tuple(_verdict(name, distances[name], error + drift, verdict_tolerance) for name in _NUMBERS)
    borderline: list[str] = []
    if bool(found.gave_up):
        borderline.append(f"the solver gave up at t = {float(found.time):.4g}")
    if not error <= tolerance:
        borderline.append(f"still moving at the end of the run: relative change {float(found.change):.1e}")
    if not distances["residual"] <= tolerance:
        borderline.append("R₁ has not vanished: at a saddle, or still on the way")
    if left > tolerance:
        borderline.append(f"S and WᵀW decay only as 1/t where Ẽ = 0 ({left:.1e} was left); their limit there is 0")
    if nearest < 1e3 * NULL:
        borderline.append(f"an eigenvalue of Ẽ is {nearest:.1e} of the largest: its sign decides whether S or W stays")
    borderline += [
        f"{name} is near its threshold: {_NUMBERS[name]} = {value:.1e}"
        for name, value in distances.items()
        if verdict_tolerance / 30 < value < 30 * verdict_tolerance
    ]
    return FlowLimit(
        state=found.settled,
        verdicts=verdicts,
        distances=distances,
        error=error,
        drift=drift,
        slowest_rate=rate,
        time=float(found.time),
        loss_scale=float(flow.loss_scale),
        borderline=tuple(borderline),
    )


@eqx.filter_jit
def _numbers(flow: ClassFlow, start: ClassState, found: Approach) -> tuple[Float[Array, "5"], Float[Array, "4"]]:
    settled = found.settled
    distances = jnp.concatenate([found.residual[None], collapse_distances(settled)])
    before, after = InvariantSides.of(start, flow.kernel), InvariantSides.of(found.state, flow.kernel)
    drift = jnp.linalg.norm(after.invariant - before.invariant) / before.scale
    near = null_part(flow, found.state)
    return distances, jnp.concatenate([near, jnp.stack([slowest_rate(flow, settled), drift])])


def _verdict(name: str, value: float, error: float, tolerance: float) -> Verdict:
    answer: Answer = "undetermined"
    if value + error <= tolerance:
        answer = "holds"
    elif value - error > tolerance:
        answer = "fails"
    return Verdict(name, answer, f"{_NUMBERS[name]} = {value:.2e}, counts as 0 up to {tolerance:.0e}")


def _fewer_columns(state: ClassState) -> ClassState:
    """The same state with a factor of S of as many columns as S has rank: the flow sees no more of H₂ than S."""
    if not state.within.size:
        return state
    left, singular, _ = np.linalg.svd(np.asarray(state.within), full_matrices=False)
    kept = singular > 1e-14 * max(singular[0], float(jnp.linalg.norm(state.class_means)))
    return eqx.tree_at(lambda tree: tree.within, state, jnp.asarray((left * singular)[:, kept]))
