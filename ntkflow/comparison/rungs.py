"""The assumption ladder: what each model of the kernel assumes, and the flow that follows from it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.comparison.rates import Descent
from ntkflow.flows import (
    AbstractFlow,
    ClassFlow,
    ClassState,
    FrozenKernelFlow,
    LinearizedFlow,
    MatrixBlockFlow,
    SampleState,
    VaryingKernelFlow,
)
from ntkflow.kernels import (
    AbstractKernelOperator,
    IsotropicKernel,
    MatrixBlockKernel,
    NeuronDiagonalKernel,
    block_values,
    with_block_means,
)
from ntkflow.training import FORMS, Form, Problem, Snapshot

Model = Literal[
    "linearized",
    "mean_jacobian_linear",
    "mean_jacobian",
    "updated_linear",
    "updated",
    "full_frozen",
    "neuron_diagonal",
    "isotropic",
    "within_spectrum",
    "matrix_blocks",
    "neuron_values",
    "three_values",
]

LADDER: tuple[Model, ...] = (
    "full_frozen",
    "neuron_diagonal",
    "isotropic",
    "within_spectrum",
    "matrix_blocks",
    "neuron_values",
    "three_values",
)
"""The models that use one measured Θʰ, from the weakest assumption to the strongest.

Each but ``matrix_blocks`` assumes more than the one before it. That one keeps what couples two features, which the
three before it leave out, and leaves out the within-class spectrum, which they keep.
"""


MEAN_STEPS = 10
"""Steps of descent over which a mean Jacobian is taken."""


@dataclasses.dataclass(frozen=True)
class KernelsOfSnapshot:
    """What forecasts from a snapshot are made of. Kernels are measured when a model asks for them, once.

    Attributes:
        snapshot: where the forecasts start.
        moments: all snapshots of the run, in order, this one among them. Only the models that update the kernel look at
            the later ones; the earlier ones have no effect, and keep the shapes alike from start to start, so that one
            compilation serves all.
        problem: data and Z.
        descent: how the run moves at this snapshot; None: the run is a flow. See :meth:`mean_jacobian`.
    """

    snapshot: Snapshot
    moments: tuple[Snapshot, ...]
    problem: Problem
    descent: Descent | None = None

    @property
    def following(self) -> tuple[Snapshot, ...]:
        """The snapshots after this one."""
        return tuple(item for item in self.moments if item.time > self.snapshot.time)

    @functools.cached_property
    def own(self) -> NeuronDiagonalKernel:
        """Θʰ_{p,p} of every feature p."""
        values = self.snapshot.kernels.own().astype(float)
        return NeuronDiagonalKernel(0.5 * (values + jnp.swapaxes(values, 1, 2)))

    @property
    def mean(self) -> Float[Array, "samples samples"]:
        """(1/n) Σ_p Θʰ_{p,p}."""
        traced = jnp.asarray(self.snapshot.feature_kernel.traced)
        return 0.5 * (traced + traced.T)

    @functools.cached_property
    def matrix_blocks(self) -> MatrixBlockKernel:
        """A_d, A_c, A_n of the whole Θʰ."""
        return self.snapshot.kernels.matrix_blocks()

    @property
    def neuron_values(self) -> MatrixBlockKernel:
        """The diagonals of A_d, A_c, A_n: three values for every feature."""
        d, c, n = block_values(self.own.matrices, self.problem.classes)
        own, same, everywhere = map(jnp.diag, (d - c, c - n, n))
        block = self.snapshot.feature_kernel.block.kernel
        return MatrixBlockKernel(own, same, everywhere, classes=block.classes, per_class=block.per_class)

    def whole(self, snapshot: Snapshot) -> AbstractKernelOperator:
        """The whole Θʰ of a snapshot."""
        return snapshot.kernels.whole()

    def mean_jacobian(self, snapshot: Snapshot) -> AbstractKernelOperator:
        """J̄J̄ᵀ over the steps of full-batch descent, without momentum, that follow a snapshot.

        By the run's η where this forecast starts. With momentum η may be beyond what is stable without: at most half of
        the largest stable step then. A tenth of that step where the run is a flow.
        """
        if self.descent is None:
            step_size = 0.1 * snapshot.step_limit
        elif self.descent.momentum == 0:
            step_size = self.descent.step_size
        else:
            step_size = min(self.descent.step_size, 0.5 * snapshot.step_limit)
        return snapshot.kernels.mean_jacobian(step_size, MEAN_STEPS)


Start = tuple[AbstractFlow[Any], Any]
"""A flow and the state that it starts from."""


@dataclasses.dataclass(frozen=True)
class Rung:
    """One model of the kernel.

    Attributes:
        title: how figures and tables name it.
        assumption: what Θʰ is taken for.
        needs: what must be known of Θʰ.
        start: the flow from a snapshot, with time counted from there, and its state there.
    """

    title: str
    assumption: str
    needs: Form
    start: Callable[[KernelsOfSnapshot], Start]


def _linearized(kernels: KernelsOfSnapshot) -> Start:
    problem, snapshot = kernels.problem, kernels.snapshot
    return LinearizedFlow(
        snapshot.kernels.linearized(), classes=problem.classes, loss_scale=problem.loss_scale
    ), snapshot.residual


def _updated(
    kernel: Callable[[KernelsOfSnapshot, Snapshot], AbstractKernelOperator],
    interpolation: Literal["linear", "constant"],
) -> Callable[[KernelsOfSnapshot], Start]:
    def start(kernels: KernelsOfSnapshot) -> Start:
        problem = kernels.problem
        flow = VaryingKernelFlow(
            jnp.asarray([item.time - kernels.snapshot.time for item in kernels.moments]),
            [kernel(kernels, item) for item in kernels.moments],
            targets=problem.targets,
            loss_scale=problem.loss_scale,
            interpolation=interpolation,
        )
        return flow, kernels.snapshot.state

    return start


def _frozen(kernel: Callable[[KernelsOfSnapshot], Any]) -> Callable[[KernelsOfSnapshot], Start]:
    def start(kernels: KernelsOfSnapshot) -> Start:
        problem = kernels.problem
        flow = FrozenKernelFlow(kernel(kernels), targets=problem.targets, loss_scale=problem.loss_scale)
        return flow, kernels.snapshot.state

    return start


def _matrices(kernel: Callable[[KernelsOfSnapshot], MatrixBlockKernel]) -> Callable[[KernelsOfSnapshot], Start]:
    def start(kernels: KernelsOfSnapshot) -> Start:
        problem = kernels.problem
        flow = MatrixBlockFlow(kernel(kernels), targets=problem.targets, loss_scale=problem.loss_scale)
        return flow, ClassState.from_sample(kernels.snapshot.state, problem.classes)

    return start


def _three_values(kernels: KernelsOfSnapshot) -> Start:
    problem, block = kernels.problem, kernels.snapshot.feature_kernel.block.kernel
    flow = ClassFlow(block, targets=problem.targets, loss_scale=problem.loss_scale)
    return flow, ClassState.from_sample(kernels.snapshot.state, problem.classes)


RUNGS: dict[Model, Rung] = {
    "linearized": Rung(
        "linearised network",
        "The network replaced by its first-order expansion in the parameters at the snapshot, so that the whole Θ of "
        "the logits is constant.",
        "whole",
        _linearized,
    ),
    "mean_jacobian_linear": Rung(
        "mean J between snapshots",
        f"J̄J̄ᵀ with the mean J̄ of the features' Jacobian over {MEAN_STEPS} steps of descent after each snapshot, "
        "linear in time between this snapshot and the later ones, which it is told. Unlike Θʰ of one moment it knows "
        "of samples that slide along a kink of ReLU.",
        "network",
        _updated(KernelsOfSnapshot.mean_jacobian, "linear"),
    ),
    "mean_jacobian": Rung(
        "mean J of the last snapshot",
        "The same J̄J̄ᵀ, replaced at every later snapshot by that of there.",
        "network",
        _updated(KernelsOfSnapshot.mean_jacobian, "constant"),
    ),
    "updated_linear": Rung(
        "Θʰ between snapshots",
        "The whole measured Θʰ, linear in time between this snapshot and the later ones: it is told the kernels of "
        "snapshots to come, so it is no forecast, and shows what the change of Θʰ accounts for.",
        "whole",
        _updated(KernelsOfSnapshot.whole, "linear"),
    ),
    "updated": Rung(
        "Θʰ of the last snapshot",
        "The whole measured Θʰ, replaced at every later snapshot by the one measured there; H, W and b go on from "
        "where they are.",
        "whole",
        _updated(KernelsOfSnapshot.whole, "constant"),
    ),
    "full_frozen": Rung(
        "full frozen",
        "The whole measured Θʰ, all features and sample pairs, held constant from the snapshot on.",
        "whole",
        _frozen(lambda kernels: kernels.whole(kernels.snapshot)),
    ),
    "neuron_diagonal": Rung(
        "neuron-diagonal",
        "Θʰ_{p,q} = 0 between two features; every feature keeps its own kernel over all sample pairs.",
        "own",
        _frozen(lambda kernels: kernels.own),
    ),
    "isotropic": Rung(
        "isotropic",
        "One kernel over all sample pairs for all features: the mean (1/n) Σ_p Θʰ_{p,p}.",
        "mean",
        _frozen(lambda kernels: IsotropicKernel(kernels.mean)),
    ),
    "within_spectrum": Rung(
        "within-class spectrum",
        "That mean with one value for the global mean and one for the class means of the samples; only its spectrum "
        "within classes is kept.",
        "mean",
        _frozen(lambda kernels: IsotropicKernel(with_block_means(kernels.mean, kernels.problem.classes))),
    ),
    "matrix_blocks": Rung(
        "matrix blocks",
        "Three matrices over pairs of features, A_d, A_c, A_n (paper 3, Assumption D.1): means of the whole Θʰ over "
        "samples.",
        "whole",
        _matrices(lambda kernels: kernels.matrix_blocks),
    ),
    "neuron_values": Rung(
        "values of each feature",
        "Three block values for each feature: the diagonals of A_d, A_c, A_n.",
        "own",
        _matrices(lambda kernels: kernels.neuron_values),
    ),
    "three_values": Rung(
        "three values",
        "Θʰ replaced by its three block values (paper 3, Assumption 3.2), held constant: the flow (25).",
        "mean",
        _three_values,
    ),
}
"""All models, what each assumes, and how its forecast is made."""


def models_of(form: Form) -> tuple[Model, ...]:
    """The models whose forecasts can be made where only that form of Θʰ is known."""
    return tuple(name for name, rung in RUNGS.items() if FORMS.index(rung.needs) <= FORMS.index(form))


def sample_state_of(flow: AbstractFlow[Any], state: Any) -> SampleState | None:
    """H, W, b of every sample at a state of a rung's flow; None where the flow has none of them."""
    if isinstance(state, SampleState):
        return state
    if isinstance(flow, ClassFlow | MatrixBlockFlow):
        return flow.sample_state(state)
    return None
