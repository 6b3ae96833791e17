"""How a kernel is going to be computed: which method, how much at once, and why."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Literal, get_args

from ntkflow.kernels.empirical.budget import MemoryBudgetError, amount, largest_that_fits
from ntkflow.kernels.empirical.factors import contraction_cost
from ntkflow.kernels.empirical.network_program import NetworkProgram, Trace

MethodName = Literal["auto", "structured", "jacobian", "jvp-vjp"]
METHODS = ("structured", "jacobian", "jvp-vjp")

# Numbers of one backward call: enough to keep all cores busy, and no more than fits beside caches.
_AT_ONCE = 2**25


@dataclasses.dataclass(frozen=True)
class Task:
    """The kernel that is wanted.

    Attributes:
        rows: number of samples x.
        columns: number of samples x'; ``None`` where they are the rows.
        trace: over the outputs.
        outputs: number of outputs.
        itemsize: bytes a number.
    """

    rows: int
    columns: int | None
    trace: Trace
    outputs: int
    itemsize: int

    @property
    def samples(self) -> int:
        """Samples that pass through the network."""
        return self.rows + (self.columns or 0)

    @property
    def pairs(self) -> int:
        """Pairs of samples."""
        return self.rows * (self.rows + 1) // 2 if self.columns is None else self.rows * self.columns

    @property
    def longest(self) -> int:
        """The larger number of rows and columns."""
        return max(self.rows, self.columns or 0)


@dataclasses.dataclass(frozen=True)
class Plan:
    """A method, and how many samples and outputs it takes at once.

    Attributes:
        method: "structured", "jacobian" or "jvp-vjp".
        samples: a group of samples; the kernel is made in tiles of that side.
        outputs: combinations of outputs in one backward call.
        kept: whether the factors of all groups are held, so that none is computed twice.
        why: what was chosen, and what the others would have cost.
    """

    method: str
    samples: int
    outputs: int
    kept: bool
    why: str = ""


def make_plan(
    program: NetworkProgram,
    task: Task,
    *,
    method: MethodName,
    memory: int,
    share: int,
    needs: Callable[[Plan], int],
) -> Plan:
    """The cheapest method that fits into the memory, in the largest parts that fit.

    Args:
        program: of the network.
        task: the kernel.
        method: a name, or "auto".
        memory: budget in bytes.
        share: number of devices; each is to have a part.
        needs: bytes that the compiled programs of a plan hold.

    Raises:
        MemoryBudgetError: if no method fits with parts of one sample and one output.
        ValueError: if the name is unknown.
    """
    if method not in get_args(MethodName):
        raise ValueError(f"method is one of {', '.join(get_args(MethodName))}, not {method!r}")
    names = METHODS if method == "auto" else (method,)
    works = {name: multiplications(name, program, task) for name in METHODS}
    least: dict[str, int] = {}
    for name in sorted(names, key=works.__getitem__):
        found, taken = largest_that_fits(
            _choices(name, program, task, share),
            numbers=functools.partial(numbers, program=program, task=task),
            needs=needs,
            memory=memory,
            itemsize=task.itemsize,
        )
        if found is None:
            least[name] = taken
            continue
        others = ", ".join(f"{other} {works[other]:.1e}" for other in METHODS if other != name)
        why = f"{name}, {works[name]:.1e} multiplications ({others})"
        if least:
            why += "; too large: " + ", ".join(f"{other}, {amount(size)} at least" for other, size in least.items())
        return dataclasses.replace(found, why=why)
    name = min(least, key=least.__getitem__)
    raise MemoryBudgetError(
        f"a memory budget of {amount(memory)} is too small: one sample and one output take {amount(least[name])} "
        f"({name}). Allow more" + ("" if method in ("auto", "jvp-vjp") else ', or method="auto"')
    )


def multiplications(method: str, program: NetworkProgram, task: Task) -> float:
    """Multiplications that a method needs for the whole kernel, roughly."""
    outputs, traced = task.outputs, task.trace is not None
    places, forward = program.reading.places, float(program.reading.places.operations)
    if method == "jvp-vjp":
        return 2 * forward * outputs * (task.samples + task.pairs)
    contraction = task.pairs * outputs * (1 if traced else outputs)
    if method == "jacobian":
        return 2 * forward * outputs * task.samples + contraction * program.size
    sites = sum(
        min(contraction_cost(sizes, outputs, task.pairs, task.samples, traced=traced)) for sizes in places.sizes
    )
    opaque = sum(program.leaves[leaf].size for leaf in places.opaque)
    return forward * outputs * task.samples + sites + contraction * opaque


def numbers(plan: Plan, program: NetworkProgram, task: Task) -> float:
    """Numbers held beside the samples, the network and the finished kernel, roughly."""
    traced = task.trace is not None
    places, group, outputs = program.reading.places, plan.samples, plan.outputs
    passed = sum(math.prod(site.shape) for site in places.sites)
    tile = group**2 * (1 if task.trace in ("sum", "mean") else outputs if traced else outputs**2)
    if plan.method == "jvp-vjp":
        return group * 2 * passed + program.size + outputs * group * task.outputs + 2 * tile
    left, kept = 0, 0
    if plan.method == "jacobian":
        kept = program.size
    else:
        kept += sum(program.leaves[leaf].size for leaf in places.opaque)
        for sizes in places.sizes:
            positions, inputs, neurons = sizes
            factored, direct = contraction_cost(sizes, task.outputs, task.pairs, task.samples, traced=traced)
            left += positions * inputs
            kept += inputs * neurons if direct < factored else positions * neurons
    one_call = group * (left + outputs * (2 * passed + kept))
    groups = -(-task.samples // group)
    held = (groups if plan.kept else 2) * group * (left + outputs * kept)
    return one_call + held + 3 * tile


def _choices(name: str, program: NetworkProgram, task: Task, share: int) -> list[Plan]:
    """All that are worth trying: large groups of samples first, then many outputs, then all factors kept."""
    traced, all_outputs = task.trace is not None, task.outputs
    passed = max(1, sum(math.prod(site.shape) for site in program.reading.places.sites), program.size // 64)
    images = max(1, _AT_ONCE // passed)
    # Devices share the outputs of a trace, and the rows of all pairs.
    group = task.longest if traced else min(task.longest, max(1, images // all_outputs), -(-task.longest // share))
    found = []
    while group >= 1:
        outputs = _even(all_outputs, min(max(1, images // group), -(-all_outputs // share))) if traced else all_outputs
        while outputs >= 1:
            found += [Plan(name, group, outputs, kept) for kept in (True, False)]
            outputs = outputs // 2 if traced else 0
        group = -(-group // 2) if group > 1 else 0
    return [*found, Plan(name, 1, 1 if traced else all_outputs, kept=False)]


def _even(whole: int, most: int) -> int:
    """The size of equal parts, at most ``most`` each, of which the last one lacks least."""
    return -(-whole // -(-whole // most))
