"""Block values of one kernel at one moment, without its matrix."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ntkflow import scenario as schema
from ntkflow.errors import ScenarioError
from ntkflow.experiments.kernel_moment import Cost, KernelMoment
from ntkflow.kernels import ratios_of
from ntkflow.kernels.empirical import Of
from ntkflow.kernels.empirical.block_values import network_block_values
from ntkflow.networks import AbstractClassifier
from ntkflow.progress import Progress


def measure_values(
    network: AbstractClassifier,
    inputs: Float[Array, "samples ..."],
    classes: int,
    *,
    of: Of,
    measure: schema.Measurement,
    key: PRNGKeyArray,
    place: str,
    progress: Progress,
) -> KernelMoment:
    """d, c, n of the mean over outputs, from sums of gradients over classes.

    Args:
        network: a function of one sample.
        inputs: sorted by class.
        classes: C.
        of: which kernel.
        measure: with how many random outputs, and in how much memory.
        key: of these.
        place: what messages call this kernel.
        progress: told from call to call.

    Raises:
        ScenarioError: too little memory, or a kernel that is not finite or 0.
    """
    started = time.perf_counter()
    try:
        found = network_block_values(
            network,
            inputs,
            classes,
            of=of,
            random_outputs=measure.random_outputs,
            key=key,
            memory=measure.memory_bytes,
            progress=progress,
        )
        # What the random outputs add belongs to no class; a share for each keeps the sum.
        jackknife = found.estimate.jackknife
        shares = jackknife.class_covariances + found.output_covariance / classes
        block = dataclasses.replace(found.estimate, jackknife=dataclasses.replace(jackknife, class_covariances=shares))
        ratios = ratios_of(block)
    except ValueError as error:
        raise ScenarioError(str(error), place=place) from None
    taken = inputs.shape[0] * inputs.dtype.itemsize
    cost = Cost(time.perf_counter() - started, "class sums", found.how, 1, inputs.shape[0], taken)
    random = measure.random_outputs is not None
    errors = np.sqrt(np.diagonal(found.output_covariance)) if random else None
    return KernelMoment(block=block, ratios=ratios, cost=cost, output_errors=errors)
