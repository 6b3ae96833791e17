"""What a kernel needs in memory where it is stored and diagonalised, and whether the machine has it."""

from __future__ import annotations

import os

import jax

from ntkflow import scenario as schema
from ntkflow.errors import ScenarioError

DENSE_ARRAYS = 7
"""Arrays of N² float64 numbers that are alive at once where a kernel is diagonalised, by count: NNGP and NTK, the
symmetric part, eigenvectors, and three for the decomposition's own space (LAPACK's divide and conquer takes two)."""


def dense_bytes(size: int, rows: int) -> int:
    """Bytes of a kernel of so many points with its eigenvectors, and of as many rows to test points, twice."""
    return 8 * (DENSE_ARRAYS * size**2 + 4 * rows * size)


def require_memory(scenario: schema.RegressionScenario, *, samples: int, tests: int, outputs: int) -> None:
    """Before anything is computed.

    Raises:
        ScenarioError: a dense eigendecomposition that needs more memory than the machine has.
    """
    kernel = scenario.kernel
    factor = outputs if isinstance(kernel, schema.EmpiricalKernel) and kernel.outputs == "coupled" else 1
    needed, there = dense_bytes(factor * samples, factor * tests), machine_memory()
    if there is None or needed <= there:
        return
    tiled = isinstance(kernel, schema.InfiniteMLP | schema.RBFKernel)
    raise ScenarioError(
        f"the dense eigendecomposition of a kernel on {factor * samples} points needs about {needed / 1e9:.3g} GB, "
        f"more than the {there / 1e9:.3g} GB of this machine",
        place="solver",
        remedy="Take solver: {kind: conjugate_gradients}, or {kind: nystrom, rank: …}, which never store it."
        if tiled
        else "Take fewer samples, or kernel infinite_mlp or rbf, whose other solvers never store it.",
    )


def machine_memory() -> int | None:
    """Bytes of the memory in which kernels live: the device's own, or the machine's; None where it does not say."""
    stats = jax.devices()[0].memory_stats()
    if jax.default_backend() != "cpu" and stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"])
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
