"""Sums of gradients over classes, and their products with single gradients, from factors.

With gᵢ = Σ_t δ_{it} ⊗ a_{it} and G_b = Σ_{i in b} gᵢ the sums of the kernel over a class are ⟨gᵢ, G_b⟩. For one array
of K × M parameters and N samples in C classes that costs, beside forming gradients where there are T > 1 positions,
N (C + 1) K M multiplications for each combination of outputs. The other order, one class b at a time,

    Σ_{j in b} Σ_{t,u} ⟨a_{it}, a_{ju}⟩ ⟨δ_{it}, δ_{ju}⟩,

costs N² T² (K + M) and is the cheaper one for wide dense layers and few samples.

Samples are sorted by class, the same number of each. Combinations of outputs are the second axis of ``Factors.right``;
:func:`merged` makes them one, whose kernel is the sum over them.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.kernels.empirical.factors import Factors
from ntkflow.kernels.sample_sums import SampleSums

ClassSum = Float[Array, "classes combinations ..."]
"""G_b for one parameter array: (classes, combinations, M, K) of factors, (classes, combinations, KM) of gradients."""


def merged(factors: Factors) -> Factors:
    """The same gradients with all combinations as one: the kernel of the result is the sum over combinations."""
    samples, combinations, neurons, positions = factors.right.shape
    return Factors(factors.left, factors.right.reshape(samples, 1, combinations * neurons, positions), factors.neurons)


def sample_sums(factors: Factors, classes: int) -> SampleSums:
    """The kernel's sums, a stack over combinations, in the cheaper order."""
    samples, combinations = factors.right.shape[:2]
    by_pairs = factors.left is not None and _by_pairs(factors.sizes, samples, classes, combinations)
    found = [
        _from_pairs(part, classes) if by_pairs and part.left is not None else products(part, class_sums(part, classes))
        for part in (factors.apart() if by_pairs else summable(factors))
    ]
    return jax.tree.map(lambda *items: sum(items[1:], items[0]), *found)


def summable(factors: Factors) -> list[Factors]:
    """Factors of one position as they are, gradients otherwise; several of a folded layer."""
    return factors.gradients() if factors.sizes[0] > 1 else [factors]


def class_sums(factors: Factors, classes: int) -> ClassSum:
    """G_b = Σ_{i in b} gᵢ, of :func:`summable` factors."""
    samples, combinations = factors.right.shape[:2]
    right = factors.right.reshape(classes, samples // classes, combinations, -1)
    if factors.left is None:
        return jnp.sum(right, axis=1)
    return jnp.einsum("birm,bik->brmk", right, factors.left.reshape(classes, samples // classes, -1))


def products(factors: Factors, sums: ClassSum) -> SampleSums:
    """‖gᵢ‖² and ⟨gᵢ, G_b⟩ of :func:`summable` factors, for sums over these or over more samples."""
    right = factors.right.reshape(*factors.right.shape[:2], -1)
    squares = jnp.einsum("irm,irm->ri", right, right)
    if factors.left is None:
        return SampleSums(squares, jnp.einsum("irp,brp->rib", right, sums))
    left = factors.left[:, 0]

    def of_class(total: Float[Array, "combinations neurons inputs"]) -> Float[Array, "combinations samples"]:
        # First G aᵢ, one matrix product for all samples and combinations.
        return jnp.einsum("irm,irm->ri", right, jnp.einsum("ik,rmk->irm", left, total))

    by_class = jnp.moveaxis(jax.lax.map(of_class, sums), 0, -1)
    return SampleSums(squares * jnp.sum(left**2, axis=-1), by_class)


def _from_pairs(factors: Factors, classes: int) -> SampleSums:
    """Through the kernel between all samples and one class at a time, N²/C numbers, which is summed at once."""
    samples = factors.right.shape[0]
    of_classes = jax.tree.map(lambda item: item.reshape(classes, samples // classes, *item.shape[1:]), factors)

    def of_class(columns: Factors) -> Float[Array, "combinations samples"]:
        return jnp.sum(factors.by_output(columns), axis=-1)

    by_class = jnp.moveaxis(jax.lax.map(of_class, of_classes), 0, -1)
    inputs = jnp.einsum("itk,iuk->itu", factors.left, factors.left)
    derivatives = jnp.einsum("irmt,irmu->ritu", factors.right, factors.right)
    return SampleSums(jnp.einsum("itu,ritu->ri", inputs, derivatives), by_class)


def _by_pairs(sizes: tuple[int, int, int], samples: int, classes: int, combinations: int) -> bool:
    """Whether pairs of samples cost less than sums of gradients; of ``sizes`` as of one combination's factors."""
    positions, inputs, neurons = sizes
    forming = positions if positions > 1 else 0
    through_sums = combinations * inputs * neurons * (classes + 1 + forming)
    return samples * positions**2 * (inputs + combinations * neurons) < through_sums
