"""The sums over classes of a network's kernel, without the kernel: in chunks, under a budget, over devices.

Loops over combinations and over parts of the samples are in Python and only send work to the devices: XLA's
convolutions on CPUs are several times slower inside its own loops. Nothing comes back to the host on the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ntkflow.kernels.empirical.chunks import Chunks
from ntkflow.kernels.empirical.class_sums import ClassSum
from ntkflow.kernels.empirical.devices import moved
from ntkflow.kernels.empirical.gradient_sums import (
    finite_outputs,
    forward_pass,
    gradient_products,
    gradient_sums,
    kernel_sums,
    part_of_classes,
    plus,
    rejoined,
    stacked,
    summed,
)
from ntkflow.kernels.empirical.network_program import Of, ParameterFilter
from ntkflow.kernels.sample_sums import SampleSums
from ntkflow.progress import Progress, silent


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
        kept = eqx.filter_eval_shape(forward_pass, *arguments)
        if self._at_once(chunks):
            backward = _held(kernel_sums.lower(kept, v, self._classes, self._each).compile())
        else:
            sums = jax.eval_shape(lambda kept, v: gradient_sums(kept, v, self._classes, self._each), kept, v)
            # The sums so far, those of one more part and the total of both.
            adding = 2 * _bytes(sums) + _held(gradient_sums.lower(kept, v, self._classes, self._each).compile())
            backward = max(adding, _bytes(sums) + _held(gradient_products.lower(sums, kept, v, self._each).compile()))
        # What the forward pass leaves is there all the time.
        lowered = forward_pass.lower(*arguments)  # pyright: ignore[reportFunctionMemberAccess]: what filter_jit adds
        return max(_held(lowered.compile().compiled), _bytes(kept) + backward)

    def run(
        self, chunks: Chunks, devices: Sequence[jax.Device | None] = (None,), progress: Progress = silent
    ) -> SampleSums:
        """The sums; those of a chunk of combinations at all samples at once, or in two passes over parts of them.

        Chunks of combinations are dealt out to the devices; each has one call at a time, so that what is held there is
        what was counted.
        """
        vs = self._chunks_of_combinations(chunks)
        found: list[SampleSums | None] = [None] * len(vs)
        workers = [
            _Worker(self, chunks, device, range(start, len(vs), len(devices)), vs, found)
            for start, device in enumerate(devices[: len(vs)])
        ]
        total, done = sum(worker.steps for worker in workers), 0
        running = [worker.work() for worker in workers]
        progress("block values", 0, total)
        while running:
            # In turn: while one device is waited for, the others compute.
            alive = [work for work in running if next(work, None) is not None]
            done += len(alive)
            running = alive
            progress("block values", min(done, total - 1), total)
        sums = [item for item in found if item is not None]
        if len(workers) > 1:
            home = jax.tree.leaves(sums[0])[0].device
            sums = [jax.device_put(item, home) for item in sums]
        result = jax.block_until_ready(stacked(sums, self._combinations.shape[0]) if self._each else summed(sums))
        progress("block values", total, total)
        return result

    def finite(self, chunks: Chunks) -> Bool[Array, " samples"]:
        """At which samples all outputs are finite."""
        # One after the other: programs that do not wait for each other may run at once, each with its own memory.
        found = [
            jax.block_until_ready(finite_outputs(self._network, x, self._of, self._parameters))
            for x in self._parts(chunks)
        ]
        return rejoined(found, self._classes)

    def _at_once(self, chunks: Chunks) -> bool:
        return chunks.per_class * self._classes >= self._inputs.shape[0]

    def _chunks_of_combinations(self, chunks: Chunks) -> list[Float[np.ndarray, "chunk outputs"]]:
        """All of one size: combinations that are zero add nothing, and fill up the last chunk."""
        count = self._combinations.shape[0]
        size = min(chunks.combinations, count)
        filled = np.pad(self._combinations, ((0, -count % size), (0, 0)))
        return np.split(filled, filled.shape[0] // size)

    def _parts(self, chunks: Chunks) -> list[Float[Array, "part ..."]]:
        """Parts of the samples with the same number of each class, sorted by class; only the last may be smaller."""
        m = self._inputs.shape[0] // self._classes
        starts = range(0, m, chunks.per_class)
        return [
            part_of_classes(self._inputs, start, classes=self._classes, per_class=min(chunks.per_class, m - start))
            for start in starts
        ]


class _Worker:
    """What one device does: some chunks of combinations, one call after the other."""

    def __init__(
        self,
        whole: NetworkSums,
        chunks: Chunks,
        device: jax.Device | None,
        numbers: range,
        vs: list[Float[np.ndarray, "chunk outputs"]],
        found: list[SampleSums | None],
    ) -> None:
        self._whole, self._device = whole, device
        self._numbers, self._vs, self._found = numbers, vs, found
        self._network = moved(whole._network, device)
        self._at_once = whole._at_once(chunks)
        self._parts = [moved(x, device) for x in ([whole._inputs] if self._at_once else whole._parts(chunks))]

    @property
    def steps(self) -> int:
        """How often :meth:`work` stops."""
        return len(self._numbers) * (1 if self._at_once else 2 * len(self._parts))

    def work(self) -> Iterator[int]:
        """Does the work, and stops each time a call has been sent; the next one waits for it."""
        whole = self._whole
        kept = self._forward(self._parts[0], moved(jnp.asarray(self._vs[0]), self._device)) if self._at_once else None
        for number in self._numbers:
            v = moved(jnp.asarray(self._vs[number]), self._device)
            if kept is not None:
                found = kernel_sums(kept, v, whole._classes, whole._each)
                self._found[number] = found
                yield number
                jax.block_until_ready(found)
                continue
            total: list[ClassSum] | None = None
            for x in self._parts:
                sums = gradient_sums(self._forward(x, v), v, whole._classes, whole._each)
                total = sums if total is None else plus(total, sums)
                del sums
                yield number
                jax.block_until_ready(total)
            products = []
            for x in self._parts:
                products.append(gradient_products(total, self._forward(x, v), v, whole._each))
                yield number
                jax.block_until_ready(products[-1])
            self._found[number] = SampleSums(
                rejoined([item.diagonal for item in products], whole._classes, axis=1),
                rejoined([item.by_class for item in products], whole._classes, axis=1),
            )

    def _forward(self, x: Array, v: Array) -> Any:
        whole = self._whole
        return forward_pass(self._network, x, v, whole._of, whole._parameters)


def _held(compiled: Any) -> int:
    stats = compiled.memory_analysis()
    return stats.temp_size_in_bytes + stats.output_size_in_bytes if stats is not None else 0


def _bytes(tree: Any) -> int:
    leaves = [leaf for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype")]
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
