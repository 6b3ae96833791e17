"""One moment of a training run, measured: the state, the kernels' structure, the invariant, the collapse metrics."""

from __future__ import annotations

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow.collapse import collapse_metrics
from ntkflow.data import Precision
from ntkflow.flows import InvariantSides, SampleState
from ntkflow.kernels import (
    AbstractKernelOperator,
    BlockEstimate,
    apply_compiled,
    block_share,
    block_values,
    estimate_block_values,
    label_alignment,
    rates,
    split_eigenspaces,
    top_eigenvalue,
)
from ntkflow.networks import (
    AbstractBatchClassifier,
    NTKDense,
    as_trained,
    with_statistics_of,
)
from ntkflow.training.history import Checkpoint
from ntkflow.training.problem import Problem, accuracy, residual_matrix
from ntkflow.training.snapshot_kernels import AbstractSnapshotKernels, NetworkKernels


@dataclasses.dataclass(frozen=True)
class KernelMeasurement:
    """The structure of one traced kernel (Θ or Θʰ) on the training samples.

    Attributes:
        traced: mean over the outputs (or features) p of the kernel of p with itself, N×N: the trace over p divided by
            how many there are.
        block: its block values, standard errors by a jackknife over samples.
        spread: standard deviation over p of the block values of p's own kernel; 0 if all outputs had one kernel.
        alignment: of ``traced`` with the labels, (2.63).
        block_share: share of ‖traced‖²_F that its nearest block kernel has.
    """

    traced: Float[np.ndarray, "samples samples"]
    block: BlockEstimate
    spread: Float[np.ndarray, "3"]
    alignment: float
    block_share: float


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A trained network at one time, with everything a forecast starts from and is judged by.

    Attributes:
        time: gradient-flow time.
        step: step of gradient descent, or None.
        kernels: Θʰ in the forms that models ask for.
        state: H, W, b on the training samples.
        residual: R there.
        logit_kernel: structure of Θ, all parameters; None where it is not known.
        feature_kernel: structure of Θʰ, the parameters below the readout.
        rates_block: λ/Z of the nearest block kernel of Θ, for the three parts of R; NaN without Θ.
        rates_whole: −d log‖R_e‖/dt at this moment under the whole Θ: ⟨R_e, (ΘR)_e⟩/(Z‖R_e‖²); NaN without it.
        step_limit: 2Z/λ_max(Θ), over all outputs and samples; NaN without the whole Θ.
        invariant: E of (26) with the measured block values of Θʰ; conserved only as far as those are constant and
            right.
        metrics: neural-collapse metrics by name.
        train_accuracy: share of training samples whose largest logit is that of their class.
        test_accuracy: share of test samples; NaN without any.
    """

    time: float
    step: int | None
    kernels: AbstractSnapshotKernels
    state: SampleState
    residual: Float[Array, "classes samples"]
    logit_kernel: KernelMeasurement | None
    feature_kernel: KernelMeasurement
    rates_block: Float[np.ndarray, "3"]
    rates_whole: Float[np.ndarray, "3"]
    step_limit: float
    invariant: InvariantSides
    metrics: dict[str, float]
    train_accuracy: float
    test_accuracy: float

    @property
    def residual_norms(self) -> Float[np.ndarray, "3"]:
        """Norms of the three parts of R."""
        return np.asarray(split_eigenspaces(self.residual, self.feature_kernel.block.kernel.classes).norms())

    @property
    def label(self) -> str:
        """How tables and figures name this moment."""
        return f"t = {self.time:g}" if self.step is None else f"step {self.step}"

    def __str__(self) -> str:
        logits = self.logit_kernel
        return (
            f"Snapshot at {self.label} (t = {self.time:g})\n"
            + ("" if logits is None else f"  logits:   {logits.block}, alignment {logits.alignment:.3f}\n")
            + f"  features: {self.feature_kernel.block}, alignment {self.feature_kernel.alignment:.3f}\n"
            f"  residual norms {np.array2string(self.residual_norms, precision=4)}, "
            f"rates from block values {np.array2string(self.rates_block, precision=4)}, "
            f"from the whole kernel {np.array2string(self.rates_whole, precision=4)}"
        )


def snapshot_of(
    problem: Problem,
    *,
    time: float,
    step: int | None,
    kernels: AbstractSnapshotKernels,
    state: SampleState,
    residual: Float[Array, "classes samples"],
    logit_kernel: KernelMeasurement | None,
    feature_kernel: KernelMeasurement,
    theta: AbstractKernelOperator | None,
    train_accuracy: float,
    test_accuracy: float,
) -> Snapshot:
    """What follows from the measured kernels and the state; arguments as the fields of :class:`Snapshot`.

    Args:
        problem: data and Z.
        theta: the whole Θ; None where it is not known.
    """
    metrics = jax.jit(collapse_metrics)(state.features, state.weight, state.bias)
    rates_block = rates_whole = np.full(3, np.nan)
    step_limit = float("nan")
    if logit_kernel is not None:
        rates_block = np.asarray(rates(logit_kernel.block.kernel, problem.loss_scale))
    if theta is not None:
        rates_whole = np.asarray(instantaneous_rates(theta, residual, problem.classes, problem.loss_scale))
        step_limit = 2 * problem.loss_scale / top_eigenvalue(theta, (residual.shape[0], residual.shape[1]))
    return Snapshot(
        time=time,
        step=step,
        kernels=kernels,
        state=state,
        residual=residual,
        logit_kernel=logit_kernel,
        feature_kernel=feature_kernel,
        rates_block=rates_block,
        rates_whole=rates_whole,
        step_limit=step_limit,
        invariant=InvariantSides.of(state, feature_kernel.block.kernel),
        metrics={name: float(value) for name, value in metrics.items()},
        train_accuracy=train_accuracy,
        test_accuracy=test_accuracy,
    )


def measure_snapshot(
    checkpoint: Checkpoint,
    problem: Problem,
    test_inputs: Float[Array, "samples ..."],
    test_labels: Array,
    *,
    kernel_precision: Precision = "float64",
) -> Snapshot:
    """Measure a network's kernels at one moment of its training: exactly, by :func:`ntkflow.kernels.empirical_ntk`.

    Args:
        checkpoint: the network and when.
        problem: data and Z.
        test_inputs: samples that are not trained on; may be none.
        test_labels: their classes.
        kernel_precision: for kernels over pairs of samples. In float32 they cost half as much, and their block values
            are off by about 1e-7 of them; what is made of them, and R, H, the whole Θ and Θʰ stay in float64.

    Raises:
        ValueError: a readout in the NTK parametrisation, whose W and b do not follow their own gradients, as the
            invariant and every forecast from a snapshot assume.
    """
    network = checkpoint.network
    trained = as_trained(network)
    if isinstance(network, AbstractBatchClassifier):
        network = with_statistics_of(network, problem.inputs)
    if isinstance(network.readout, NTKDense):
        raise ValueError(
            "measure_snapshot: the readout is in the NTK parametrisation, in which W and b do not move by their own"
            " gradients; take the standard one, or measure its kernels with empirical_ntk"
        )
    kernels = NetworkKernels(network, trained, problem, kernel_precision)
    labels = jnp.repeat(jnp.arange(problem.classes), problem.inputs.shape[0] // problem.classes)
    return snapshot_of(
        problem,
        time=checkpoint.time,
        step=checkpoint.step,
        kernels=kernels,
        state=SampleState(network.feature_matrix(problem.inputs), network.readout.weight, network.readout.bias),
        residual=residual_matrix(problem, trained),
        logit_kernel=measured_kernel(kernels.single("logits"), problem.classes),
        feature_kernel=measured_kernel(kernels.single("features"), problem.classes),
        theta=kernels.linearized(),
        train_accuracy=float(accuracy(network, problem.inputs, labels)),
        test_accuracy=float(accuracy(network, test_inputs, test_labels)) if len(test_labels) else float("nan"),
    )


def instantaneous_rates(
    kernel: AbstractKernelOperator, residual: Float[Array, "classes samples"], classes: int, loss_scale: float
) -> Float[Array, "3"]:
    """−d log‖R_e‖/dt of the three parts under Ṙ = −ΘR/Z: ⟨R_e, (ΘR)_e⟩/(Z‖R_e‖²), exact for gradient flow."""
    return _rates_along(apply_compiled(kernel, residual), residual, classes, loss_scale)


@eqx.filter_jit
def _rates_along(
    moved: Float[Array, "classes samples"], residual: Float[Array, "classes samples"], classes: int, loss_scale: float
) -> Float[Array, "3"]:
    parts, along = (split_eigenspaces(array, classes).parts() for array in (residual, moved))
    return jnp.sum(parts * along, axis=(1, 2)) / (loss_scale * jnp.sum(parts**2, axis=(1, 2)))


class _Structure(eqx.Module):
    traced: Float[Array, "samples samples"]
    spread: Float[Array, "3"]
    alignment: Float[Array, ""]
    block_share: Float[Array, ""]


@eqx.filter_jit
def _structure(single: Float[Array, "outputs samples samples"], classes: int) -> _Structure:
    """What is measured of a kernel, compiled as one: dozens of small programs would take longer to compile."""
    single = single.astype(float)
    traced = single.mean(axis=0)
    return _Structure(
        traced=traced,
        spread=jnp.std(block_values(single, classes), axis=1),
        alignment=label_alignment(traced, classes),
        block_share=block_share(traced, classes),
    )


def measured_kernel(single: Float[Array, "outputs samples samples"], classes: int) -> KernelMeasurement:
    """The structure of a kernel of which each output's own is given, exact on these samples."""
    structure = _structure(single, classes)
    return KernelMeasurement(
        traced=np.asarray(structure.traced),
        block=estimate_block_values(structure.traced, classes),
        spread=np.asarray(structure.spread),
        alignment=float(structure.alignment),
        block_share=float(structure.block_share),
    )
