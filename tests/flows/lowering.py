"""Lowering for CUDA without a GPU: only the compilation for one is tried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax


def lower_for_cuda(function: Callable[..., Any], *arguments: Any) -> str:
    """The StableHLO of a function of any PyTrees, exported for CUDA; what is no array is closed over or dropped."""
    arrays, rest = eqx.partition(arguments, eqx.is_array)

    def of_arrays(arrays: Any) -> Any:
        return eqx.filter(function(*eqx.combine(arrays, rest)), eqx.is_array)

    leaves, structure = jax.tree.flatten(arrays)
    compiled = jax.jit(lambda *leaves: jax.tree.leaves(of_arrays(jax.tree.unflatten(structure, leaves))))
    exported = jax.export.export(compiled, platforms=["cuda"])(*leaves)
    assert exported.platforms == ("cuda",)
    return exported.mlir_module()
