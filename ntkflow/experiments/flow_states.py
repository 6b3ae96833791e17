"""Where a block flow starts: states that are made, with values that may vary, and states that are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ntkflow import scenario as schema
from ntkflow.data import read_archive
from ntkflow.errors import DataError, ScenarioError
from ntkflow.flows import SampleState, random_state, unbalanced_state, zero_invariant_state
from ntkflow.kernels import BlockKernel


def made_state(
    key: PRNGKeyArray,
    rule: schema.RandomState | schema.ZeroInvariantState | schema.UnbalancedState,
    kernel: BlockKernel,
    features: int,
    varied: Mapping[str, Float[Array, ""]] | None = None,
) -> SampleState:
    """The state of a rule; ``varied`` has values in the place of the rule's own, by their names. Traceable by JAX."""
    scales: dict[str, Any] = rule.model_dump(exclude={"kind"}) | dict(varied or {})
    match rule:
        case schema.RandomState():
            return random_state(key, classes=kernel.classes, per_class=kernel.per_class, features=features, **scales)
        case schema.ZeroInvariantState():
            return zero_invariant_state(key, kernel, features=features, **scales)
        case schema.UnbalancedState():
            return unbalanced_state(key, kernel, features=features, **scales)


def state_from_file(path: Path, problem: schema.FeatureProblem) -> SampleState:
    """H, W and b from a NumPy archive.

    Raises:
        DataError: a file that cannot be read, arrays of other shapes, or values that are not finite.
    """
    arrays = read_archive(path, ("features", "weight", "bias"))
    n, classes = problem.features, problem.classes
    shapes = {
        "features": (n, classes * problem.samples_per_class),
        "weight": (classes, n),
        "bias": (classes,),
    }
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise DataError(
                f"array {name!r} has shape {arrays[name].shape}, but the scenario's problem asks for {shape}",
                place=str(path),
                remedy="Change problem in the scenario, or the file.",
            )
        if not np.isfinite(arrays[name]).all():
            raise DataError(f"array {name!r} has values that are NaN or infinite", place=str(path))
    return SampleState(**{name: jnp.asarray(array, dtype=float) for name, array in arrays.items()})


def refuse_without_invariant(kernel: BlockKernel, place: str) -> None:
    """Raise ``ScenarioError`` where the invariant (26), which every result reports, is not defined.

    An ordered kernel has it, but its values may be so far apart or so small that an eigenvalue is infinite or 0.
    """
    values = [float(value) for value in kernel.eigenvalues]
    names = ("mu_global", "mu_class", "mu_single")
    for name, value in zip(names, values, strict=True):
        if not (np.isfinite(value) and value > 0):
            raise ScenarioError(
                f"the invariant E divides by {name}, which is {value:g} for the kernel values "
                f"{float(kernel.diagonal):g}, {float(kernel.same_class):g}, {float(kernel.different_class):g}",
                place=place,
                remedy="Choose kernel values of ordinary size; loss_scale takes care of the unit of time.",
            )
