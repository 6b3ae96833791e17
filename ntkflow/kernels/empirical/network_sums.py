"""The sums over classes of a network's kernel, without the kernel: gradients, sums of them, and products.

Loops over combinations and over parts of the samples are in Python and only send work to the device: XLA's convolutions
on CPUs are several times slower inside its own loops. Nothing comes back to the host on the way.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ntkflow.kernels.empirical.chunks import Chunks
from ntkflow.kernels.empirical.class_sums import ClassSum, class_sums, merged, products, sample_sums, summable
from ntkflow.kernels.empirical.factors import Factors
from ntkflow.kernels.empirical.network_program import NetworkProgram, Of, ParameterFilter
from ntkflow.kernels.empirical.neurons import Neurons
from ntkflow.kernels.sample_sums import SampleSums


class NetworkSums:
    """Sums of the kernel of combinations v of outputs, in chunks.

    Args:
        network: see :func:`ntkflow.kernels.network_block_values`, as for ``of`` and ``parameters``.
        inputs: samples sorted by class, the same number of each.
        combinations: v.
        classes: C.
        of: which outputs.
        parameters: which leaves count.
        each: a stack of the kernels of all ⟨v, f⟩, instead of their sum.
    """

    def __init__(
        self,
        network: Any,
        inputs: Float[Array, "samples ..."],
        combinations: Float[np.ndarray, "combinations outputs"] | Float[Array, "combinations outputs"],
        classes: int,
        of: Of,
        parameters: ParameterFilter,
        *,
        each: bool,
    ) -> None:
        self._network, self._parameters = network, parameters
        self._of: Of = of
        self._inputs, self._combinations = inputs, np.asarray(combinations)
        self._classes, self._each = classes, each

    def needs(self, chunks: Chunks) -> int:
        """Bytes that the compiled programs hold beside samples and network."""
        v, x = self._chunks_of_combinations(chunks)[0], self._parts(chunks)[0]
        arguments = self._network, x, v, self._of, self._parameters
        kept = eqx.filter_eval_shape(_forward, *arguments)
        if self._at_once(chunks):
            backward = _held(_backward.lower(kept, v, self._classes, self._each).compile())
        else:
            sums = jax.eval_shape(lambda kept, v: _class_sums(kept, v, self._classes, self._each), kept, v)
            # The sums so far, those of one more part and the total of both.
            adding = 2 * _bytes(sums) + _held(_class_sums.lower(kept, v, self._classes, self._each).compile())
            backward = max(adding, _bytes(sums) + _held(_products.lower(sums, kept, v, self._each).compile()))
        # What the forward pass leaves is there all the time.
        lowered = _forward.lower(*arguments)  # pyright: ignore[reportFunctionMemberAccess]: what filter_jit adds
        return max(_held(lowered.compile().compiled), _bytes(kept) + backward)

    def run(self, chunks: Chunks) -> SampleSums:
        """The sums; those of a chunk of combinations at all samples at once, or in two passes over parts of them."""
        vs = self._chunks_of_combinations(chunks)
        if self._at_once(chunks):
            kept = self._forward(self._inputs, vs[0])
            found = [_backward(kept, v, self._classes, self._each) for v in vs]
        else:
            parts = self._parts(chunks)
            found = [self._in_two_passes(parts, v) for v in vs]
        if not self._each:
            return _summed(found)
        return _stacked(found, self._combinations.shape[0])

    def finite(self, chunks: Chunks) -> Bool[Array, " samples"]:
        """At which samples all outputs are finite."""
        found = [_finite(self._network, x, self._of, self._parameters) for x in self._parts(chunks)]
        return _rejoined(found, self._classes)

    def _in_two_passes(self, parts: list[Array], v: Float[Array, "chunk outputs"]) -> SampleSums:
        total: list[ClassSum] | None = None
        for x in parts:
            sums = _class_sums(self._forward(x, v), v, self._classes, self._each)
            total = sums if total is None else _plus(total, sums)
        found = [_products(total, self._forward(x, v), v, self._each) for x in parts]
        return SampleSums(
            _rejoined([item.diagonal for item in found], self._classes, axis=1),
            _rejoined([item.by_class for item in found], self._classes, axis=1),
        )

    def _forward(self, x: Array, v: Array) -> _Kept:
        return _forward(self._network, x, v, self._of, self._parameters)

    def _at_once(self, chunks: Chunks) -> bool:
        return chunks.per_class * self._classes >= self._inputs.shape[0]

    def _chunks_of_combinations(self, chunks: Chunks) -> list[Float[Array, "chunk outputs"]]:
        """All of one size: combinations that are zero add nothing, and fill up the last chunk."""
        count = self._combinations.shape[0]
        size = min(chunks.combinations, count)
        filled = np.pad(self._combinations, ((0, -count % size), (0, 0)))
        return [jnp.asarray(filled[start : start + size]) for start in range(0, count, size)]

    def _parts(self, chunks: Chunks) -> list[Float[Array, "part ..."]]:
        """Parts of the samples with the same number of each class, sorted by class; only the last may be smaller."""
        m = self._inputs.shape[0] // self._classes
        starts = range(0, m, chunks.per_class)
        return [
            _part(self._inputs, start, classes=self._classes, per_class=min(chunks.per_class, m - start))
            for start in starts
        ]


class _Kept(eqx.Module):
    """A forward pass: what the factors of any combination of outputs are made of, linear in the combination."""

    left: list[tuple[Array | None, Neurons | None]]
    right: Callable[[Array], list[Array]]

    def factors(self, v: Array, *, each: bool) -> list[Factors]:
        """Of each combination, or of all as one whose kernel is the sum over them."""
        factors = [Factors(left, right, neurons) for (left, neurons), right in zip(self.left, self.right(v), strict=True)]
        return factors if each else [merged(item) for item in factors]


@eqx.filter_jit
def _forward(network: Any, inputs: Array, v: Array, of: Of, parameters: ParameterFilter) -> _Kept:
    program = _program(network, inputs, of, parameters)

    def right(v: Array) -> tuple[list[Array], list[tuple[Array | None, Neurons | None]]]:
        factors = program.factors(inputs, v)
        return [item.right for item in factors], [(item.left, item.neurons) for item in factors]

    _, linear, left = jax.linearize(right, v, has_aux=True)
    return _Kept(left, linear)


@functools.partial(jax.jit, static_argnames=("classes", "each"))
def _backward(kept: _Kept, v: Array, classes: int, each: bool) -> SampleSums:
    return _added([sample_sums(factors, classes) for factors in kept.factors(v, each=each)])


@functools.partial(jax.jit, static_argnames=("classes", "each"))
def _class_sums(kept: _Kept, v: Array, classes: int, each: bool) -> list[ClassSum]:
    return [class_sums(part, classes) for factors in kept.factors(v, each=each) for part in summable(factors)]


@functools.partial(jax.jit, static_argnames=("each",))
def _products(sums: list[ClassSum], kept: _Kept, v: Array, each: bool) -> SampleSums:
    parts = [part for factors in kept.factors(v, each=each) for part in summable(factors)]
    return _added([products(part, of_class) for part, of_class in zip(parts, sums, strict=True)])


@eqx.filter_jit
def _finite(network: Any, inputs: Array, of: Of, parameters: ParameterFilter) -> Bool[Array, " samples"]:
    program = _program(network, inputs, of, parameters)
    return jnp.isfinite(jax.vmap(lambda x: program.function(program.leaves, x))(inputs)).all(axis=1)


def _program(network: Any, inputs: Array, of: Of, parameters: ParameterFilter) -> NetworkProgram:
    return NetworkProgram(network, jax.ShapeDtypeStruct(inputs.shape[1:], inputs.dtype), of, parameters)


def _added(sums: list[SampleSums]) -> SampleSums:
    return jax.tree.map(lambda *items: sum(items[1:], items[0]), *sums)


@functools.partial(jax.jit, static_argnames=("classes", "per_class"))
def _part(inputs: Float[Array, "samples ..."], start: int | Array, *, classes: int, per_class: int) -> Array:
    """Samples start to start + per_class of every class."""
    by_class = inputs.reshape(classes, -1, *inputs.shape[1:])
    return jax.lax.dynamic_slice_in_dim(by_class, start, per_class, axis=1).reshape(-1, *inputs.shape[1:])


@functools.partial(jax.jit, static_argnames=("classes", "axis"))
def _rejoined(parts: list[Array], classes: int, axis: int = 0) -> Array:
    """What belongs to the samples of all parts, in the order of all samples: sorted by class again."""
    by_class = [item.reshape(*item.shape[:axis], classes, -1, *item.shape[axis + 1 :]) for item in parts]
    joined = jnp.concatenate(by_class, axis=axis + 1)
    return joined.reshape(*joined.shape[:axis], -1, *joined.shape[axis + 2 :])


@jax.jit
def _plus(first: list[ClassSum], second: list[ClassSum]) -> list[ClassSum]:
    return jax.tree.map(jnp.add, first, second)


@jax.jit
def _summed(found: list[SampleSums]) -> SampleSums:
    total = _added(found)
    return SampleSums(total.diagonal[0], total.by_class[0])


@functools.partial(jax.jit, static_argnames=("count",))
def _stacked(found: list[SampleSums], count: int) -> SampleSums:
    return jax.tree.map(lambda *items: jnp.concatenate(items)[:count], *found)


def _held(compiled: Any) -> int:
    stats = compiled.memory_analysis()
    return stats.temp_size_in_bytes + stats.output_size_in_bytes if stats is not None else 0


def _bytes(tree: Any) -> int:
    leaves = [leaf for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype")]
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
