"""How far the traced kernels are the labels' own, how much of a block structure they have, how far they have moved."""

from __future__ import annotations

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ntkflow.kernels import (
    EIGENSPACES,
    block_share,
    centred_label_alignment,
    class_block_share,
    class_space_overlap,
    estimate_label_alignment,
    kernel_alignment,
    kernel_distance,
    relative_change,
    subspace_spectrum,
)
from ntkflow.training.observations.abstract import AbstractObservation, Arrays
from ntkflow.training.observations.kernel_method import KERNELS, KernelMethod
from ntkflow.training.observations.moment import Moment
from ntkflow.training.observations.observed import Observed
from ntkflow.training.observations.variable import Variable, scalar


class AlignmentObservation(AbstractObservation):
    """Of the traced kernels Θ and Θʰ on the kernels' samples: alignment, structure, and change since the first moment.

    The kernels of the first moment are arrays of their own, :meth:`reference`. A kernel that is 0 has no alignment and
    no structure: NaN; its norm and its change are told.

    With random combinations of outputs, what is quadratic in the kernel is biased by their noise: norms are too large,
    alignments and shares too small, by a share of order 1/r.
    """

    name: str = "alignments"
    kernels: KernelMethod = eqx.field(static=True, default_factory=KernelMethod)

    def variables(self, observed: Observed) -> tuple[Variable, ...]:
        """Twelve for each kernel, and the alignment of the two with each other."""
        classes = observed.classes
        found: list[Variable] = []
        for of, prefix, symbol in KERNELS:
            kernel = f"{symbol}: {self.kernels.words(of, observed)}, diagonal included"
            labels = f"YᵀY with one-hot labels Y of C = {classes} classes"
            own = {
                "alignment": f"⟨K, YᵀY⟩_F/(‖K‖_F ‖YᵀY‖_F), {labels} (thesis (2.63); paper 3, Fig. 1 e and pane j)",
                "alignment_standard_error": "Jackknife standard error of the alignment, one sample left out at a time",
                "centred_alignment": f"The same of PKP and P YᵀY P with P = I − 11ᵀ/N, {labels} (Cortes et al. 2012)",
                "block_share": "Share of ‖K‖²_F that the nearest block kernel, three values, keeps (Definition 3.1)",
                "class_block_share": "Share of ‖K‖²_F that values for every class and pair of classes keep",
                "class_overlap": "‖UᵀV‖²_F/C of the C leading eigenvectors U with the span V of the class indicators",
                "coupled_share": "Share of ‖K‖²_F between different eigenspaces of block kernels; 0 for a block kernel",
                "kernel_norm": "‖K‖_F",
                "relative_change": "‖Kᵗ − K⁰‖_F/‖K⁰‖_F with K⁰ of the first moment (paper 1, Fig. 4)",
                "kernel_distance": "1 − ⟨Kᵗ, K⁰⟩_F/(‖Kᵗ‖_F ‖K⁰‖_F) with K⁰ of the first moment (Fort et al. 2020)",
            }
            found += [scalar(f"{prefix}_{name}", "", f"{text}. K is {kernel}.") for name, text in own.items()]
            found += [
                Variable(
                    f"{prefix}_trace_share",
                    ("eigenspace",),
                    (3,),
                    "",
                    "tr(P_e K)/tr K of the three eigenspaces of block kernels: constant vectors, vectors constant on "
                    f"each class with mean 0, vectors with mean 0 on each class. K is {kernel}.",
                ),
                Variable(
                    f"{prefix}_effective_rank",
                    ("eigenspace",),
                    (3,),
                    "",
                    "exp(entropy of |λ|/Σ|λ|) of P_e K P_e in the three eigenspaces (Roy, Vetterli 2007). "
                    f"K is {kernel}.",
                ),
            ]
        both = "⟨Θ, Θʰ⟩_F/(‖Θ‖_F ‖Θʰ‖_F) of the two traced kernels as above, diagonal included"
        return (*found, scalar("mutual_alignment", "", f"{both}, on {observed.of_kernels}."))

    def coordinates(self, observed: Observed) -> dict[str, tuple[str, ...]]:
        """The eigenspaces."""
        return {"eigenspace": EIGENSPACES}

    def reference_variables(self, observed: Observed) -> tuple[Variable, ...]:
        """The two kernels."""
        size = observed.kernel_inputs.shape[0]
        return tuple(
            Variable(
                f"{prefix}_kernel",
                ("kernel_sample", "other_kernel_sample"),
                (size, size),
                "",
                f"{symbol} at the first recorded moment: {self.kernels.words(of, observed)}, sorted by class.",
            )
            for of, prefix, symbol in KERNELS
        )

    def reference(self, moment: Moment) -> Arrays:
        """The two kernels. Raises as :meth:`KernelMethod.values`."""
        return {f"{prefix}_kernel": self.kernels.matrix(moment, of) for of, prefix, _ in KERNELS}

    def measure(self, moment: Moment, reference: Mapping[str, Float[np.ndarray, "..."]]) -> Arrays:
        """Raises ``ValueError`` without the first moment's kernels, else as :meth:`KernelMethod.values`."""
        missing = [f"{prefix}_kernel" for _, prefix, _ in KERNELS if f"{prefix}_kernel" not in reference]
        if missing:
            raise ValueError(
                f"alignments need {' and '.join(missing)} of the first moment: "
                "hand back what reference(moment) gave then"
            )
        classes = moment.observed.classes
        matrices = {prefix: self.kernels.matrix(moment, of) for of, prefix, _ in KERNELS}
        found: Arrays = {}
        for prefix, matrix in matrices.items():
            own = _of_kernel(matrix, np.asarray(reference[f"{prefix}_kernel"]), classes)
            found |= {f"{prefix}_{name}": np.asarray(value, dtype=float) for name, value in own.items()}
        logit, feature = (jnp.asarray(matrix) for matrix in matrices.values())
        found["mutual_alignment"] = np.asarray(_mutual(logit, feature), dtype=float)
        return found


def _of_kernel(
    matrix: Float[np.ndarray, "samples samples"], first: Float[np.ndarray, "samples samples"], classes: int
) -> dict[str, ArrayLike]:
    """In the order of the variables; NaN for what a kernel that is 0 does not have."""
    kernel, initial = jnp.asarray(matrix), jnp.asarray(first)
    change = _change(kernel, initial)
    structure = _structure(kernel, classes)
    shares = {"trace_share", "effective_rank"}
    if not matrix.any():
        structure = {name: jnp.full_like(value, jnp.nan) for name, value in structure.items()}
        aligned = (np.nan, np.nan)
    else:
        estimate = estimate_label_alignment(kernel, classes)
        aligned = (estimate.value, estimate.standard_error)
    return {
        "alignment": aligned[0],
        "alignment_standard_error": aligned[1],
        **{name: value for name, value in structure.items() if name not in shares},
        **change,
        **{name: structure[name] for name in ("trace_share", "effective_rank")},
    }


@eqx.filter_jit
def _structure(kernel: Float[Array, "samples samples"], classes: int) -> dict[str, Array]:
    """Compiled as one: dozens of small programs would take longer to compile."""
    spectrum = subspace_spectrum(kernel, classes)
    return {
        "centred_alignment": centred_label_alignment(kernel, classes) if classes > 1 else jnp.asarray(jnp.nan),
        "block_share": block_share(kernel, classes),
        "class_block_share": class_block_share(kernel, [kernel.shape[0] // classes] * classes),
        "class_overlap": class_space_overlap(kernel, classes),
        "coupled_share": spectrum.coupled_share,
        "trace_share": spectrum.trace_shares,
        "effective_rank": spectrum.effective_ranks,
    }


@jax.jit
def _change(kernel: Float[Array, "samples samples"], initial: Float[Array, "samples samples"]) -> dict[str, Array]:
    return {
        "kernel_norm": jnp.linalg.norm(kernel),
        "relative_change": relative_change(kernel, initial),
        "kernel_distance": kernel_distance(kernel, initial),
    }


@jax.jit
def _mutual(first: Float[Array, "samples samples"], second: Float[Array, "samples samples"]) -> Float[Array, ""]:
    return kernel_alignment(first, second)
