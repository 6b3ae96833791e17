"""Block values of a network's kernel, without the kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ntkflow.kernels.block import BlockKernel
from ntkflow.kernels.empirical.budget import amount, checked_budget
from ntkflow.kernels.empirical.chunks import fitting_chunks
from ntkflow.kernels.empirical.devices import homes
from ntkflow.kernels.empirical.empirical_ntk import DEFAULT_MEMORY
from ntkflow.kernels.empirical.network_program import NetworkProgram, Of, ParameterFilter
from ntkflow.kernels.empirical.network_sums import NetworkSums
from ntkflow.kernels.empirical.network_values import NetworkBlockValues, OutputBlockValues
from ntkflow.kernels.empirical.random_outputs import random_signs
from ntkflow.kernels.estimates import BlockEstimate, jackknife
from ntkflow.kernels.requirements import several_of_a_class
from ntkflow.kernels.sample_sums import SampleSums
from ntkflow.progress import Progress, silent


def network_block_values(
    network: Any,
    inputs: Float[Array, "samples ..."],
    classes: int,
    *,
    of: Of = "logits",
    trace: Literal["mean", "sum"] = "mean",
    random_outputs: int | None = None,
    key: PRNGKeyArray | None = None,
    labels: Int[np.ndarray, " labels"] | Int[Array, " labels"] | None = None,
    parameters: ParameterFilter = eqx.is_inexact_array,
    memory: int = DEFAULT_MEMORY,
    devices: Sequence[jax.Device] | None = None,
    progress: Progress = silent,
) -> NetworkBlockValues:
    """(d, c, n) of the traced kernel of a network (paper 3, Definition 3.1), by sums of gradients over classes.

    d is the mean of Θ(x, x) over the samples; c that over pairs of distinct samples of one class, the diagonal left
    out; n that over pairs of samples of two classes. Θ is the trace over the outputs k, Σ_k Θ_{k,k}, or that divided by
    their number (paper 3's κ and γ are values of one output: ``trace="mean"``). With gᵢ the gradient at sample i,
    Σ_{i,j in a class} ⟨gᵢ, gⱼ⟩ = ‖Σᵢ gᵢ‖²: what is held is gradients and C sums of them, never N² numbers.

    Exact on the samples given, unless ``random_outputs`` is: then unbiased, with an error from the spread of the draws.
    In both cases with a jackknife error for the population that the samples were drawn from.

    Args:
        network: as in :func:`ntkflow.kernels.empirical_ntk`, a function of one sample.
        inputs: samples sorted by class, the same number m ≥ 2 of each; m ≥ 3 for a jackknife error.
        classes: C ≥ 2.
        of: "logits" (Θ) or "features" (Θʰ).
        trace: "mean" over the outputs, or their "sum".
        random_outputs: r random ±1 combinations in place of all outputs, r backward passes in place of one an output
            (:mod:`ntkflow.kernels.empirical.random_outputs`); all outputs, exactly, if ``None``.
        key: source of these; needed with them.
        labels: the samples' classes, to be checked: equal numbers, sorted.
        parameters: which leaves count, as for ``equinox.partition``; all floating-point arrays unless told.
        memory: bytes that may be taken beside samples and network, on each device. Where all samples do not fit at
            once, two passes over parts of them are made, at twice the cost.
        devices: backward passes are dealt out to these; the default device unless told.
        progress: told from call to call of the compiled programs.

    Raises:
        ValueError: samples that are not sorted into classes of equal size, one sample a class (c is undefined) or one
            class (n is), outputs or gradients that are not finite, random outputs without a key or fewer than 3 of
            them, or a memory budget that is too small.
    """
    if trace not in ("mean", "sum"):
        raise ValueError(f'trace is "mean" or "sum", not {trace!r}')
    if random_outputs is not None and key is None:
        raise ValueError("random_outputs needs a key to draw them with, as key=jax.random.key(0)")
    program = _program(network, inputs, classes, of, parameters, labels)
    combinations = None
    if random_outputs is not None and key is not None:
        combinations = random_signs(key, random_outputs, program.outputs, program.leaves[0].dtype)
    sums, how = _measured(
        network, program, inputs, combinations, classes, of, parameters, memory, devices, progress, each=False
    )
    if trace == "mean":
        sums = sums.scaled(1 / program.outputs)
    draws = None
    if combinations is not None:
        draws = np.asarray(sums.block_values(), dtype=float).T
        sums = sums.mean()
    values = sums.block_values()
    kernel = BlockKernel(values[0], values[1], values[2], classes=classes, per_class=sums.per_class)
    estimate = BlockEstimate(kernel, jackknife(sums))
    return NetworkBlockValues(estimate, draws, sums, of, trace, program.outputs, how)


def network_output_values(
    network: Any,
    inputs: Float[Array, "samples ..."],
    classes: int,
    *,
    of: Of = "logits",
    labels: Int[np.ndarray, " labels"] | Int[Array, " labels"] | None = None,
    parameters: ParameterFilter = eqx.is_inexact_array,
    memory: int = DEFAULT_MEMORY,
    devices: Sequence[jax.Device] | None = None,
    progress: Progress = silent,
) -> OutputBlockValues:
    """(d, c, n) of Θ_{k,k} for every output k, or of Θʰ_{p,p} for every feature p; exact on these samples.

    Arguments, definitions and errors are those of :func:`network_block_values`; the mean over outputs is its value.
    """
    program = _program(network, inputs, classes, of, parameters, labels)
    sums, how = _measured(network, program, inputs, None, classes, of, parameters, memory, devices, progress, each=True)
    values = np.asarray(sums.block_values(), dtype=float).T
    return OutputBlockValues(values, jackknife(sums).covariance, sums, of, how)


def _program(
    network: Any, inputs: Array, classes: int, of: Of, parameters: ParameterFilter, labels: Any
) -> NetworkProgram:
    if inputs.ndim < 1 or not inputs.shape[0]:
        raise ValueError(f"block values need samples along the first axis; the shape is {inputs.shape}")
    m = several_of_a_class(inputs.shape[0], classes, "c, the mean over pairs of one class,")
    if classes < 2:
        raise ValueError("n, the mean over pairs of two classes, is undefined with one class; take at least 2")
    if labels is not None:
        _check_labels(np.asarray(labels), classes, m)
    return NetworkProgram(network, jax.ShapeDtypeStruct(inputs.shape[1:], inputs.dtype), of, parameters)


def _check_labels(labels: Int[np.ndarray, " samples"], classes: int, m: int) -> None:
    if labels.shape != (classes * m,):
        raise ValueError(f"labels are one class a sample, {classes * m} of them, not of shape {labels.shape}")
    found, counts = np.unique(labels, return_counts=True)
    if len(found) != classes or np.any(counts != m):
        numbers = ", ".join(f"{count} of class {label}" for label, count in zip(found, counts, strict=True))
        raise ValueError(f"block values need {m} samples of each of {classes} classes, not {numbers}")
    changes = np.flatnonzero(np.diff(labels)) + 1
    early = changes[changes % m != 0]
    if early.size:
        raise ValueError(
            f"samples have to be sorted by class: sample {early[0]} is of class {labels[early[0]]}, the one before it "
            f"of class {labels[early[0] - 1]}; sort them by label, as x[np.argsort(labels, kind='stable')]"
        )


def _measured(
    network: Any,
    program: NetworkProgram,
    inputs: Array,
    combinations: Array | np.ndarray | None,
    classes: int,
    of: Of,
    parameters: ParameterFilter,
    memory: int,
    devices: Sequence[jax.Device] | None,
    progress: Progress,
    *,
    each: bool,
) -> tuple[SampleSums, str]:
    each = each or combinations is not None
    if combinations is None:
        combinations = np.eye(program.outputs, dtype=program.leaves[0].dtype)
    count, m = combinations.shape[0], inputs.shape[0] // classes
    sums = NetworkSums(network, inputs, combinations, classes, of, parameters, each=each)
    where = homes(devices)
    chunks, taken = fitting_chunks(
        program,
        classes=classes,
        per_class=m,
        combinations=count,
        memory=checked_budget(memory),
        share=len(where),
        needs=sums.needs,
    )
    found = sums.run(chunks, where, progress)
    _check_finite(np.asarray(sums.finite(chunks)), found.diagonal, m, of)
    passes = "one pass over all samples" if chunks.per_class == m else f"two passes, {chunks.per_class} a class at once"
    how = f"{passes}, {min(chunks.combinations, count)} of {count} backward passes at once, {amount(taken)}"
    return found, how


def _check_finite(
    outputs: Bool[np.ndarray, " samples"], diagonal: Float[Array, "*stack samples"], m: int, of: Of
) -> None:
    stack = tuple(range(diagonal.ndim - 1))
    gradients = np.asarray(jnp.isfinite(diagonal).all(axis=stack))
    for what, finite in ((f"the network's {of} are", outputs), (f"the gradients of the network's {of} are", gradients)):
        bad = np.flatnonzero(~finite)
        if bad.size:
            raise ValueError(
                f"{what} not finite at {bad.size} of {finite.size} samples, the first is sample {bad[0]} (class "
                f"{bad[0] // m}): look at that sample, and whether training has diverged"
            )
