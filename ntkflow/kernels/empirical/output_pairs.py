"""What pairs of outputs share: matrix blocks of the features, and the norms ‖Θ_{k,s}‖_F."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow.kernels.empirical.budget import MemoryBudgetError, amount, checked_budget
from ntkflow.kernels.empirical.empirical_ntk import DEFAULT_MEMORY, computed_kernel
from ntkflow.kernels.empirical.finite import refuse_not_finite_samples
from ntkflow.kernels.empirical.network_program import NetworkProgram, Of, ParameterFilter
from ntkflow.kernels.matrix_block import MatrixBlockKernel
from ntkflow.kernels.requirements import several_of_a_class
from ntkflow.progress import Progress, silent


@dataclasses.dataclass(frozen=True)
class OutputPairs:
    """The whole kernel, over pairs of outputs as well, averaged over samples in two ways; exact on these samples.

    Attributes:
        blocks: A_d, A_c and A_n (paper 3, Assumption D.1): the mean of Θ(x, x) is A_d + A_c + A_n, that over pairs of
            distinct samples of one class A_c + A_n, that over pairs of two classes A_n.
        norms: ‖Θ_{k,s}‖_F over all N² pairs of samples (paper 3, Fig. 1 c–d).
    """

    blocks: MatrixBlockKernel
    norms: Float[Array, "outputs outputs"]

    def __str__(self) -> str:
        outputs, own = self.norms.shape[0], jnp.diagonal(self.norms)
        text = f"OutputPairs of {outputs} outputs, {self.blocks.classes} classes of {self.blocks.per_class} samples\n"
        text += f"  ‖Θ_kk‖_F {float(jnp.mean(own)):.4g} on the mean over k"
        if outputs == 1:
            return text
        others = (jnp.sum(self.norms) - jnp.sum(own)) / (outputs * (outputs - 1))
        return text + f", ‖Θ_ks‖_F {float(others):.4g} over pairs k ≠ s"


def network_output_pairs(
    network: Any,
    inputs: Float[Array, "samples ..."],
    classes: int,
    *,
    of: Of = "features",
    parameters: ParameterFilter = eqx.is_inexact_array,
    memory: int = DEFAULT_MEMORY,
    devices: Sequence[jax.Device] | None = None,
    progress: Progress = silent,
) -> OutputPairs:
    """Matrix blocks and norms of all pairs of outputs, from the whole kernel tile by tile: it costs what that costs.

    Held at once are a tile and n × n numbers, not (nN)².

    Args:
        network: as in :func:`ntkflow.kernels.empirical_ntk`.
        inputs: samples sorted by class, the same number m ≥ 2 of each.
        classes: C ≥ 2.
        of: "features" (Θʰ) or "logits" (Θ).
        parameters: which leaves count; all floating-point arrays unless told.
        memory: bytes that may be taken beside samples and network.
        devices: the rows of a tile are dealt out to these; the default device unless told.
        progress: told from tile to tile.

    Raises:
        ValueError: as :func:`ntkflow.kernels.network_block_values` and :func:`ntkflow.kernels.empirical_ntk`.
    """
    samples, m = inputs.shape[0], several_of_a_class(inputs.shape[0], classes, "A_c, the mean over pairs of one class,")
    if classes < 2:
        raise ValueError("A_n, the mean over pairs of two classes, is undefined with one class; take at least 2")
    program = NetworkProgram(network, eqx.filter_eval_shape(lambda x: x[0], inputs), of, parameters)
    n, itemsize, budget = program.outputs, program.leaves[0].dtype.itemsize, checked_budget(memory)
    # A third of the budget for the finished tile and what is made of it, the rest for its making.
    side = min(samples, max(1, int((budget / (6 * itemsize)) ** 0.5 / n)))
    making = max(budget - budget // 3, 1)
    starts = range(0, samples, side)
    own = same = everything = squares = jnp.zeros((n, n))
    places = [(i, j) for i in starts for j in starts if j <= i]
    for done, (i, j) in enumerate(places):
        rows, columns = inputs[i : i + side], None if i == j else inputs[j : j + side]
        try:
            tile = computed_kernel(network, rows, columns, of, None, parameters, "auto", making, devices, silent).values
        except MemoryBudgetError as error:
            raise MemoryBudgetError(f"of {amount(budget)} two thirds are for the making of a tile: {error}") from None
        refuse_not_finite_samples(tile, None, same=i == j, first_row=i, first_column=j)
        first, second = (np.arange(start, min(start + side, samples)) for start in (i, j))
        sums = _reduced(tile, first[:, None] == second, first[:, None] // m == second // m)
        # Θ_{s,k}(x', x) = Θ_{k,s}(x, x'): a tile above the diagonal is one below it, transposed.
        sums = sums if i == j else sums + jnp.swapaxes(sums, 1, 2)
        own, same, everything, squares = (
            total + part for total, part in zip((own, same, everything, squares), sums, strict=True)
        )
        progress("pairs of outputs", done + 1, len(places))
    different = (everything - same) / (samples * (samples - m))
    within = (same - own) / (samples * (m - 1))
    parts = (own / samples - within, within - different, different)
    symmetric = [0.5 * (part + part.T) for part in parts]
    return OutputPairs(MatrixBlockKernel(*symmetric, classes=classes, per_class=m), jnp.sqrt(squares))


@eqx.filter_jit
def _reduced(
    tile: Float[Array, "outputs rows outputs columns"],
    same_sample: Array | np.ndarray,
    same_class: Array | np.ndarray,
) -> Float[Array, "4 outputs outputs"]:
    """Sums over the pairs of a sample and itself, of one class, of all samples, and the sum of squares."""
    masks = jnp.stack([jnp.asarray(mask, tile.dtype) for mask in (same_sample, same_class, jnp.ones_like(same_class))])
    return jnp.concatenate([jnp.einsum("piqj,tij->tpq", tile, masks), jnp.sum(tile**2, axis=(1, 3))[None]])
