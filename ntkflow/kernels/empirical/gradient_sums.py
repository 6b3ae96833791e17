"""The compiled parts of block values without a kernel: a forward pass, sums of gradients over classes, products.

Each is one program. Which samples and combinations of outputs go through it, and on which device, is said by
:mod:`ntkflow.kernels.empirical.network_sums`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ntkflow.kernels.empirical.class_sums import ClassSum, class_sums, merged, products, sample_sums, summable
from ntkflow.kernels.empirical.factors import Factors
from ntkflow.kernels.empirical.network_program import NetworkProgram, Of, ParameterFilter
from ntkflow.kernels.empirical.neurons import Neurons
from ntkflow.kernels.sample_sums import SampleSums


class ForwardPass(eqx.Module):
    """What a forward pass leaves: the factors of any combination of outputs are made of it, linearly."""

    left: list[tuple[Array | None, Neurons | None]]
    right: Callable[[Array], list[Array]]

    def factors(self, v: Array, *, each: bool) -> list[Factors]:
        """Of each combination, or of all as one whose kernel is the sum over them."""
        factors = [
            Factors(left, right, neurons) for (left, neurons), right in zip(self.left, self.right(v), strict=True)
        ]
        return factors if each else [merged(item) for item in factors]


@eqx.filter_jit
def forward_pass(network: Any, inputs: Array, v: Array, of: Of, parameters: ParameterFilter) -> ForwardPass:
    """The samples through the network; ``v`` says how many combinations of outputs are taken at once."""
    program = _program(network, inputs, of, parameters)

    def right(v: Array) -> tuple[list[Array], list[tuple[Array | None, Neurons | None]]]:
        factors = program.factors(inputs, v)
        return [item.right for item in factors], [(item.left, item.neurons) for item in factors]

    _, linear, left = jax.linearize(right, v, has_aux=True)
    return ForwardPass(left, linear)


@functools.partial(jax.jit, static_argnames=("classes", "each"))
def kernel_sums(kept: ForwardPass, v: Array, classes: int, each: bool) -> SampleSums:
    """The kernel's sums over classes, of all samples at once."""
    return added([sample_sums(factors, classes) for factors in kept.factors(v, each=each)])


@functools.partial(jax.jit, static_argnames=("classes", "each"))
def gradient_sums(kept: ForwardPass, v: Array, classes: int, each: bool) -> list[ClassSum]:
    """G_b = Σ_{i in b} gᵢ over the samples that are here, one for each parameter array."""
    return [class_sums(part, classes) for factors in kept.factors(v, each=each) for part in summable(factors)]


@functools.partial(jax.jit, static_argnames=("each",))
def gradient_products(sums: list[ClassSum], kept: ForwardPass, v: Array, each: bool) -> SampleSums:
    """‖gᵢ‖² and ⟨gᵢ, G_b⟩ of the samples that are here."""
    parts = [part for factors in kept.factors(v, each=each) for part in summable(factors)]
    return added([products(part, of_class) for part, of_class in zip(parts, sums, strict=True)])


@eqx.filter_jit
def finite_outputs(network: Any, inputs: Array, of: Of, parameters: ParameterFilter) -> Bool[Array, " samples"]:
    """At which samples all outputs are finite."""
    program = _program(network, inputs, of, parameters)
    return jnp.isfinite(jax.vmap(lambda x: program.function(program.leaves, x))(inputs)).all(axis=1)


@jax.jit
def plus(first: list[ClassSum], second: list[ClassSum]) -> list[ClassSum]:
    """The sums over the samples of both."""
    return jax.tree.map(jnp.add, first, second)


@jax.jit
def summed(found: list[SampleSums]) -> SampleSums:
    """The kernel of all combinations, from those of chunks of them as one."""
    total = added(found)
    return SampleSums(total.diagonal[0], total.by_class[0])


@functools.partial(jax.jit, static_argnames=("count",))
def stacked(found: list[SampleSums], count: int) -> SampleSums:
    """The first ``count`` kernels of all chunks."""
    return jax.tree.map(lambda *items: jnp.concatenate(items)[:count], *found)


def added(sums: list[SampleSums]) -> SampleSums:
    """The sums of the kernels' sum."""
    return jax.tree.map(lambda *items: sum(items[1:], items[0]), *sums)


@functools.partial(jax.jit, static_argnames=("classes", "per_class"))
def part_of_classes(
    inputs: Float[Array, "samples ..."], start: int | Array, *, classes: int, per_class: int
) -> Float[Array, "part ..."]:
    """Samples start to start + per_class of every class, sorted by class again."""
    by_class = inputs.reshape(classes, -1, *inputs.shape[1:])
    return jax.lax.dynamic_slice_in_dim(by_class, start, per_class, axis=1).reshape(-1, *inputs.shape[1:])


@functools.partial(jax.jit, static_argnames=("classes", "axis"))
def rejoined(parts: list[Array], classes: int, axis: int = 0) -> Array:
    """What belongs to the samples of all parts, in the order of all samples: sorted by class again."""
    by_class = [item.reshape(*item.shape[:axis], classes, -1, *item.shape[axis + 1 :]) for item in parts]
    joined = jnp.concatenate(by_class, axis=axis + 1)
    return joined.reshape(*joined.shape[:axis], -1, *joined.shape[axis + 2 :])


def _program(network: Any, inputs: Array, of: Of, parameters: ParameterFilter) -> NetworkProgram:
    return NetworkProgram(network, jax.ShapeDtypeStruct(inputs.shape[1:], inputs.dtype), of, parameters)
