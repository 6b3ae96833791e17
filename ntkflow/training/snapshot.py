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
    BlockEstimate,
    TangentKernel,
    apply_compiled,
    block_share,
    block_values,
    empirical_ntk,
    estimate_block_values,
    label_alignment,
    rates,
    split_eigenspaces,
    top_eigenvalue,
)
from ntkflow.kernels.empirical import Of
from ntkflow.networks import (
    AbstractBatchClassifier,
    AbstractClassifier,
    NTKDense,
    as_trained,
    in_precision,
    with_statistics_of,
)
from ntkflow.training.history import Checkpoint
from ntkflow.training.loop_form import inside_loops
from ntkflow.training.problem import Problem, accuracy, residual_matrix


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
        network: the network as a function of one sample, whose kernels over pairs of samples are measured: with batch
            normalisation that of the training samples' statistics, held fixed.
        trained: the network as training sees it, with the statistics of the batch of all training samples, through
            which derivatives go; the same one without batch normalisation. R, the whole Θ and Θʰ are its.
        kernel_precision: that kernels over pairs of samples are measured in.
        state: H, W, b on the training samples.
        residual: R there.
        logit_kernel: structure of Θ, all parameters.
        feature_kernel: structure of Θʰ, the parameters below the readout.
        rates_block: λ/Z of the nearest block kernel of Θ, for the three parts of R.
        rates_whole: −d log‖R_e‖/dt at this moment under the whole Θ: ⟨R_e, (ΘR)_e⟩/(Z‖R_e‖²).
        step_limit: 2Z/λ_max(Θ), over all outputs and samples.
        invariant: E of (26) with the measured block values of Θʰ; conserved only as far as those are constant and
            right.
        metrics: neural-collapse metrics by name.
        train_accuracy: share of training samples classified right.
        test_accuracy: share of test samples; NaN without any.
    """

    time: float
    step: int | None
    network: AbstractClassifier
    trained: AbstractClassifier
    kernel_precision: Precision
    state: SampleState
    residual: Float[Array, "classes samples"]
    logit_kernel: KernelMeasurement
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
        return (
            f"Snapshot at {self.label} (t = {self.time:g})\n"
            f"  logits:   {self.logit_kernel.block}, alignment {self.logit_kernel.alignment:.3f}\n"
            f"  features: {self.feature_kernel.block}, alignment {self.feature_kernel.alignment:.3f}\n"
            f"  residual norms {np.array2string(self.residual_norms, precision=4)}, "
            f"rates from block values {np.array2string(self.rates_block, precision=4)}, "
            f"from the whole kernel {np.array2string(self.rates_whole, precision=4)}"
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
    logits = TangentKernel(inside_loops(trained), problem.inputs, "logits")
    residual = residual_matrix(problem, trained)
    logit_kernel, feature_kernel = (
        _measured(own_kernels(network, problem, of, kernel_precision), problem.classes) for of in ("logits", "features")
    )
    features = network.feature_matrix(problem.inputs)
    state = SampleState(features, network.readout.weight, network.readout.bias)
    metrics = jax.jit(collapse_metrics)(features, network.readout.weight, network.readout.bias)
    labels = jnp.repeat(jnp.arange(problem.classes), problem.inputs.shape[0] // problem.classes)
    return Snapshot(
        time=checkpoint.time,
        step=checkpoint.step,
        network=network,
        trained=trained,
        kernel_precision=kernel_precision,
        state=state,
        residual=residual,
        logit_kernel=logit_kernel,
        feature_kernel=feature_kernel,
        rates_block=np.asarray(rates(logit_kernel.block.kernel, problem.loss_scale)),
        rates_whole=np.asarray(instantaneous_rates(logits, residual, problem.classes, problem.loss_scale)),
        step_limit=2 * problem.loss_scale / top_eigenvalue(logits),
        invariant=InvariantSides.of(state, feature_kernel.block.kernel),
        metrics={name: float(value) for name, value in metrics.items()},
        train_accuracy=float(accuracy(network, problem.inputs, labels)),
        test_accuracy=float(accuracy(network, test_inputs, test_labels)) if len(test_labels) else float("nan"),
    )


def own_kernels(
    network: AbstractClassifier, problem: Problem, of: Of, precision: Precision
) -> Float[Array, "outputs samples samples"]:
    """Θ_{k,k} of every output, or Θʰ_{p,p} of every feature, over all training samples, measured in this precision."""
    network, inputs = in_precision(network, precision), problem.inputs.astype(precision)
    return empirical_ntk(network, inputs, of=of, trace="outputs").values


def instantaneous_rates(
    kernel: TangentKernel, residual: Float[Array, "classes samples"], classes: int, loss_scale: float
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


def _measured(single: Float[Array, "outputs samples samples"], classes: int) -> KernelMeasurement:
    structure = _structure(single, classes)
    return KernelMeasurement(
        traced=np.asarray(structure.traced),
        block=estimate_block_values(structure.traced, classes),
        spread=np.asarray(structure.spread),
        alignment=float(structure.alignment),
        block_share=float(structure.block_share),
    )
