"""How many samples and combinations of outputs are held at once under a memory budget."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

from ntkflow.kernels.empirical.budget import MemoryBudgetError, amount, largest_that_fits
from ntkflow.kernels.empirical.network_program import NetworkProgram

# More numbers than this in one chunk of outputs gain nothing on a CPU, and caches overflow.
_CHUNK_NUMBERS = 2**24


@dataclasses.dataclass(frozen=True)
class Chunks:
    """How much is held at once.

    Attributes:
        per_class: samples of each class. All of them: one forward pass, one backward pass a combination of outputs.
            Fewer: two passes over the samples, the first for the sums over classes, the second for the products.
        combinations: combinations of outputs.
    """

    per_class: int
    combinations: int


def fitting_chunks(
    program: NetworkProgram,
    *,
    classes: int,
    per_class: int,
    combinations: int,
    memory: int,
    share: int,
    needs: Callable[[Chunks], int],
) -> tuple[Chunks, int]:
    """The largest chunks whose compiled program keeps to the budget, and the bytes that it takes.

    Args:
        program: the network.
        classes: C.
        per_class: m.
        combinations: of outputs, all of them.
        memory: budget in bytes.
        share: number of devices; each is to have some of the combinations.
        needs: bytes that the compiled program holds.

    Raises:
        MemoryBudgetError: not even one sample of each class and one combination fit.
    """
    found, taken = largest_that_fits(
        _candidates(program, classes, per_class, -(-combinations // share)),
        numbers=functools.partial(_numbers, program, classes, per_class),
        needs=needs,
        memory=memory,
        itemsize=program.leaves[0].dtype.itemsize,
    )
    if found is None:
        raise MemoryBudgetError(
            f"a memory budget of {amount(memory)} is too small: the gradients of one output at one sample of each of "
            f"{classes} classes and their sums take {amount(taken)}. Allow at least that, or choose fewer parameters"
        )
    return found, taken


def _candidates(program: NetworkProgram, classes: int, per_class: int, combinations: int) -> list[Chunks]:
    """All that are worth trying, in the order of preference: all samples at once, then many combinations."""
    found = []
    for size in _halvings(per_class):
        for count in _halvings(combinations):
            chunks = Chunks(size, count)
            if count == 1 or _of_combinations(program, classes, per_class, chunks) <= _CHUNK_NUMBERS:
                found.append(chunks)
    return found


def _halvings(size: int) -> list[int]:
    found = [size]
    while found[-1] > 1:
        found.append(-(-found[-1] // 2))
    return found


def _numbers(program: NetworkProgram, classes: int, per_class: int, chunks: Chunks) -> float:
    """Numbers held: of a forward pass, and of the combinations that are taken through it backwards."""
    places, samples = program.reading.places, classes * chunks.per_class
    left = sum(positions * inputs for positions, inputs, _ in places.sizes)
    forward = samples * (_passed(program) + left + _opaque(program))
    return forward + _of_combinations(program, classes, per_class, chunks)


def _of_combinations(program: NetworkProgram, classes: int, per_class: int, chunks: Chunks) -> float:
    sizes, samples = program.reading.places.sizes, classes * chunks.per_class
    kept = sum(inputs * neurons if positions > 1 else neurons for positions, inputs, neurons in sizes)
    arrays = [inputs * neurons for _, inputs, neurons in sizes] + [_opaque(program)]
    sums = classes * (max(arrays) if chunks.per_class >= per_class else program.size)
    return chunks.combinations * (samples * (_passed(program) + kept + _opaque(program)) + sums)


def _passed(program: NetworkProgram) -> int:
    return 2 * sum(math.prod(site.shape) for site in program.reading.places.sites)


def _opaque(program: NetworkProgram) -> int:
    return sum(program.leaves[leaf].size for leaf in program.reading.places.opaque)
