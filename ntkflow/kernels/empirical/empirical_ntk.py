"""The empirical NTK of any Equinox network."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow.kernels.empirical.assembly import Assembly
from ntkflow.kernels.empirical.budget import checked_budget
from ntkflow.kernels.empirical.devices import homes
from ntkflow.kernels.empirical.finite import refuse_not_finite_samples
from ntkflow.kernels.empirical.network_program import NetworkProgram, Of, ParameterFilter, Trace
from ntkflow.kernels.empirical.plan import MethodName, Plan, Task, make_plan
from ntkflow.kernels.empirical.remembered import remembered
from ntkflow.progress import Progress, silent

DEFAULT_MEMORY = 2 * 1024**3
"""Bytes that a tile may take unless told."""

_TRACES = ("sum", "mean", "outputs", None)


@dataclasses.dataclass(frozen=True)
class EmpiricalKernel:
    """An empirical kernel and how it was computed.

    Attributes:
        values: (rows, columns) for the traces "sum" and "mean", (outputs, rows, columns) for "outputs", and
            (outputs, rows, outputs, columns) for ``None``.
        of: "logits" or "features".
        trace: which trace over the outputs.
        method: "structured", "jacobian" or "jvp-vjp".
        tiles: number of tiles that were computed.
        samples: of a tile's side.
        outputs: taken at once.
        why: what was chosen, and what the others would have cost.
    """

    values: Float[Array, "..."]
    of: Of
    trace: Trace
    method: str
    tiles: int
    samples: int
    outputs: int
    why: str

    def __str__(self) -> str:
        shape = "×".join(map(str, self.values.shape))
        what = {None: "all pairs of outputs", "outputs": "each output"}.get(self.trace, f"{self.trace} over outputs")
        tiles = "1 tile" if self.tiles == 1 else f"{self.tiles} tiles"
        parts = f"{tiles} of {self.samples} samples a side, {self.outputs} outputs at once"
        return f"EmpiricalKernel of {self.of}, {what}, {shape}\n  {self.why}\n  {parts}"


def empirical_ntk(
    network: Any,
    x: Float[Array, "rows ..."],
    x2: Float[Array, "columns ..."] | None = None,
    *,
    of: Of = "logits",
    trace: Trace = None,
    parameters: ParameterFilter = eqx.is_inexact_array,
    method: MethodName = "auto",
    memory: int = DEFAULT_MEMORY,
    devices: Sequence[jax.Device] | None = None,
    progress: Progress = silent,
) -> EmpiricalKernel:
    """Θ_{k,s}(x, x') = ⟨∇f_k(x), ∇f_s(x')⟩ over the parameters as they are stored, exactly.

    The network is a function of one sample: a normalisation layer has to use fixed statistics
    (``ntkflow.networks`` makes them of a stated reference batch). A parameter that is multiplied with a constant on its
    way, as in the NTK parametrisation, counts with that constant.

    Args:
        network: a callable of one sample that returns its logits; for ``of="features"`` with a method ``features(x)``.
        x: samples x, the rows.
        x2: samples x', the columns; the rows themselves unless told, with half the passes and tiles.
        of: "logits" (Θ) or "features" (Θʰ).
        trace: "mean" or "sum" over the outputs k of Θ_{k,k}; "outputs" for every Θ_{k,k}; ``None`` for all pairs.
        parameters: which leaves count, as for ``equinox.partition``; all floating-point arrays unless told.
        method: "structured" (factors of the gradients, layer by layer), "jacobian", "jvp-vjp", or the cheapest of them.
        memory: bytes that a tile may take beside the samples, the network and the finished kernel.
        devices: tiles are dealt out to these; the default device unless told.
        progress: told from tile to tile.

    Raises:
        ValueError: if there are no samples, the shapes of x and x2 differ, the network has no such outputs, the memory
            is too little for one sample, or the kernel is not finite.
    """
    found = computed_kernel(network, x, x2, of, trace, parameters, method, memory, devices, progress)
    refuse_not_finite_samples(found.values, trace, same=x2 is None)
    return found


def computed_kernel(
    network: Any,
    x: Float[Array, "rows ..."],
    x2: Float[Array, "columns ..."] | None,
    of: Of,
    trace: Trace,
    parameters: ParameterFilter,
    method: MethodName,
    memory: int,
    devices: Sequence[jax.Device] | None,
    progress: Progress,
) -> EmpiricalKernel:
    """As :func:`empirical_ntk`, finite or not."""
    columns = x if x2 is None else x2
    _check(x, columns, trace)
    where = homes(devices)
    described = (network, of, trace, parameters, method, checked_budget(memory), len(where), x, x2)
    plan, task = remembered(_planned, *described)
    assembly = Assembly(network, of, parameters, x, x2, task)
    values, tiles = assembly.run(plan, where, progress)
    if trace == "mean":
        values = (
            np.divide(values, task.outputs, out=values) if isinstance(values, np.ndarray) else values / task.outputs
        )
    elif trace is None:
        values = values.transpose(1, 0, 3, 2)
    return EmpiricalKernel(jnp.asarray(values), of, trace, plan.method, tiles, plan.samples, plan.outputs, plan.why)


def _planned(
    network: Any,
    of: Of,
    trace: Trace,
    parameters: ParameterFilter,
    method: MethodName,
    memory: int,
    share: int,
    x: Array,
    x2: Array | None,
) -> tuple[Plan, Task]:
    program = NetworkProgram(network, jax.ShapeDtypeStruct(x.shape[1:], x.dtype), of, parameters)
    itemsize = jnp.result_type(*program.leaves).itemsize
    task = Task(x.shape[0], None if x2 is None else x2.shape[0], trace, program.outputs, itemsize)
    needs = Assembly(network, of, parameters, x, x2, task).needs
    return make_plan(program, task, method=method, memory=memory, share=share, needs=needs), task


def _check(x: Array, x2: Array, trace: Trace) -> None:
    if trace not in _TRACES:
        raise ValueError(f'trace is "sum", "mean", "outputs" or None, not {trace!r}')
    if x.ndim < 1 or x2.ndim < 1 or not x.shape[0] or not x2.shape[0]:
        raise ValueError(f"a kernel needs samples along the first axis; shapes are {x.shape} and {x2.shape}")
    if x.shape[1:] != x2.shape[1:] or x.dtype != x2.dtype:
        raise ValueError(f"samples x and x2 differ: {x.shape[1:]} {x.dtype} and {x2.shape[1:]} {x2.dtype}")
