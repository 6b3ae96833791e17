"""One kernel at one moment: its values, structure, spectra and change."""

from __future__ import annotations

import dataclasses
import time

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow import scenario as schema
from ntkflow.errors import ScenarioError
from ntkflow.kernels import (
    AlignmentEstimate,
    BlockEstimate,
    BlockRatios,
    EigenspaceRotation,
    LocalElasticity,
    StructureShares,
    SubspaceSpectrum,
    block_share,
    block_values,
    centred_label_alignment,
    class_block_share,
    class_space_overlap,
    eigenspace_rotation,
    estimate_block_values,
    estimate_label_alignment,
    kernel_distance,
    label_alignment,
    local_elasticity,
    own_class_alignment,
    pair_norms,
    ratios_of,
    relative_change,
    structure_shares,
    subspace_spectrum,
    top_eigenspace,
)
from ntkflow.kernels.empirical import Of, Trace, empirical_ntk
from ntkflow.networks import AbstractClassifier
from ntkflow.progress import Progress

_TRACES: dict[str, Trace] = {"traced": "mean", "outputs": "outputs", "pairs": None}


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a kernel took: wall time with compilation, the method with its reasons, tiles, bytes of the result."""

    seconds: float
    method: str
    why: str
    tiles: int
    tile: int
    size: int


@dataclasses.dataclass(frozen=True)
class Neurons:
    """Of every output's own kernel Θ_kk: (d, c, n), label alignment, and for logits that with the output's own class.

    A kernel that is 0, as of a dead feature, has no alignment: NaN.
    """

    values: Float[np.ndarray, "neurons 3"]
    alignment: Float[np.ndarray, " neurons"]
    own_class: Float[np.ndarray, " neurons"] | None


@dataclasses.dataclass(frozen=True)
class Pairs:
    """‖Θ_ks‖_F of all pairs, and the shares of the whole kernel's squared norm that assumptions keep."""

    norms: Float[np.ndarray, "neurons neurons"]
    shares: StructureShares


@dataclasses.dataclass(frozen=True)
class Change:
    """Against the first moment: in norm, in direction, and of the span of the C leading eigenvectors."""

    relative: float
    distance: float
    rotation: EigenspaceRotation


@dataclasses.dataclass(frozen=True)
class Structure:
    """What is read off the traced kernel K, the mean over outputs k of Θ_kk.

    Attributes:
        matrix: K.
        spectrum: in the three eigenspaces.
        alignment: with the labels, thesis (2.63).
        centred_alignment: with the labels, both centred.
        block_share: of ‖K‖² that three values keep.
        class_block_share: of ‖K‖² that values for every class and pair of classes keep.
        class_overlap: of the C leading eigenvectors with the class indicators.
        gap: (λ_C − λ_{C+1})/λ_1.
        elasticity: local elasticity; None where a diagonal value is 0.
        change: against the first moment; None at it.
    """

    matrix: Float[np.ndarray, "samples samples"]
    spectrum: SubspaceSpectrum
    alignment: AlignmentEstimate
    centred_alignment: float
    block_share: float
    class_block_share: float
    class_overlap: float
    gap: float
    elasticity: LocalElasticity | None
    change: Change | None


@dataclasses.dataclass(frozen=True)
class KernelMoment:
    """One kernel at one moment; what was not asked for is None.

    Attributes:
        block: d, c, n and their covariance over draws of the samples, and of random outputs where there are some.
        ratios: of these.
        cost: of all this.
        output_errors: standard errors of d, c, n over draws of random outputs alone.
        structure: of the traced kernel.
        neurons: of each output's own kernel.
        pairs: of the kernels of all pairs of outputs.
    """

    block: BlockEstimate
    ratios: BlockRatios
    cost: Cost
    output_errors: Float[np.ndarray, "3"] | None = None
    structure: Structure | None = None
    neurons: Neurons | None = None
    pairs: Pairs | None = None


def measure_kernel(
    network: AbstractClassifier,
    inputs: Float[Array, "samples ..."],
    classes: int,
    first: KernelMoment | None,
    *,
    of: Of,
    measure: schema.Measurement,
    place: str,
    progress: Progress,
) -> KernelMoment:
    """Measure one kernel with its matrix.

    Args:
        network: a function of one sample.
        inputs: sorted by class.
        classes: C.
        first: the kernel at the first moment, to compare with.
        of: which kernel.
        measure: in how much detail.
        place: what messages call this kernel.
        progress: told from tile to tile.

    Raises:
        ScenarioError: too little memory, or a kernel that is not finite or 0.
    """
    started = time.perf_counter()
    trace = _TRACES[measure.which]
    _refuse_too_large(network, inputs, of, measure)
    try:
        kernel = empirical_ntk(
            network,
            inputs,
            of=of,
            trace=trace,
            method=measure.method,
            memory=measure.memory_bytes,
            progress=progress,
        )
    except ValueError as error:
        raise ScenarioError(str(error), place=place) from None
    values = kernel.values.block_until_ready()
    cost = Cost(time.perf_counter() - started, kernel.method, kernel.why, kernel.tiles, kernel.samples, values.nbytes)
    own = jnp.einsum("kikj->kij", values) if trace is None else values
    matrix = own if trace == "mean" else jnp.mean(own, axis=0)
    if not bool(jnp.any(matrix != 0)):
        raise ScenarioError(
            "the kernel is 0: no parameter moves an output on any of the samples",
            place=place,
            remedy="Look at the initialisation and at the scale of the inputs: the network is dead there.",
        )
    block = estimate_block_values(matrix, classes)
    return KernelMoment(
        block=block,
        ratios=ratios_of(block),
        cost=cost,
        structure=_structure(matrix, classes, None if first is None else first.structure),
        neurons=None if trace == "mean" else _neurons(own, classes, of),
        pairs=None if trace is not None else Pairs(np.asarray(pair_norms(values)), structure_shares(values, classes)),
    )


def _refuse_too_large(
    network: AbstractClassifier, inputs: Float[Array, "samples ..."], of: Of, measure: schema.Measurement
) -> None:
    outputs = network.readout.weight.shape[0 if of == "logits" else 1]
    copies = {"traced": 1, "outputs": outputs, "pairs": outputs**2}[measure.which]
    size = copies * inputs.shape[0] ** 2 * inputs.dtype.itemsize
    if size > measure.memory_bytes:
        raise ScenarioError(
            f"{measure.which} of {outputs} {of} on {inputs.shape[0]} samples take {size / 1e6:.3g} MB, more than the "
            f"{measure.memory_bytes / 1e6:.3g} MB of measure.memory",
            place="measure.which",
            remedy="Ask for less (values < traced < outputs < pairs), for fewer samples, or allow more memory.",
        )


def _structure(matrix: Float[Array, "samples samples"], classes: int, first: Structure | None) -> Structure:
    samples = matrix.shape[0]
    top = top_eigenspace(matrix, classes)
    moved = bool(jnp.all(jnp.diagonal(matrix) > 0))
    return Structure(
        matrix=np.asarray(matrix),
        spectrum=subspace_spectrum(matrix, classes),
        alignment=estimate_label_alignment(matrix, classes),
        centred_alignment=float(centred_label_alignment(matrix, classes)),
        block_share=float(block_share(matrix, classes)),
        class_block_share=float(class_block_share(matrix, [samples // classes] * classes)),
        class_overlap=float(class_space_overlap(matrix, classes)),
        gap=float(top.gap),
        elasticity=local_elasticity(matrix, classes) if moved else None,
        change=None if first is None else _change(matrix, jnp.asarray(first.matrix), classes),
    )


def _change(matrix: Float[Array, "samples samples"], first: Float[Array, "samples samples"], classes: int) -> Change:
    rotation = eigenspace_rotation(top_eigenspace(matrix, classes).basis, top_eigenspace(first, classes).basis)
    return Change(float(relative_change(matrix, first)), float(kernel_distance(matrix, first)), rotation)


def _neurons(own: Float[Array, "neurons samples samples"], classes: int, of: Of) -> Neurons:
    return Neurons(
        values=np.asarray(jnp.stack(tuple(block_values(own, classes)), axis=-1)),
        alignment=np.asarray(label_alignment(own, classes)),
        own_class=np.asarray(own_class_alignment(own)) if of == "logits" else None,
    )
