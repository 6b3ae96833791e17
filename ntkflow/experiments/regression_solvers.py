"""Regressions whose kernel is not stored: the operator on a scenario's samples, and what the two solvers make of it."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow import scenario as schema
from ntkflow.data import Dataset
from ntkflow.errors import ScenarioError
from ntkflow.experiments.regression_kernel import infinite_kernel, refusing_samples_of
from ntkflow.experiments.regression_run import Iterations, LowRank, Observed, observe_tiled
from ntkflow.experiments.settings import named_key
from ntkflow.flows import LowRankModes, TiledRegression, nystrom_error_bound
from ntkflow.kernels import (
    AbstractPairKernel,
    FullyConnectedKernel,
    GaussianPairs,
    NystromKernel,
    TiledKernel,
    WidePairs,
)

PRECONDITIONER_RANK = 200
"""Unless a scenario says another: its cost, 200 columns, is that of a few applications at the sizes that need it."""


def tiled_kernel(section: schema.RegressionKernel, dataset: Dataset) -> TiledKernel:
    """The kernel on the training samples as an operator.

    Raises:
        DataError: training or test samples that the kernel is not defined for.
    """
    pairs = pairs_of(section)
    with refusing_samples_of(dataset):
        kernel = TiledKernel(pairs, dataset.inputs)
        kernel.test_diagonal(dataset.test_inputs)
    return kernel


def pairs_of(section: schema.RegressionKernel) -> AbstractPairKernel:
    """The kernel as a function of two samples; of kernels infinite_mlp and rbf."""
    if isinstance(section, schema.RBFKernel):
        return GaussianPairs(section.length_scale)
    # The schema lets nothing else through.
    assert isinstance(section, schema.InfiniteMLP)
    network = infinite_kernel(section)
    assert isinstance(network, FullyConnectedKernel)
    return WidePairs(network, "nngp" if section.trained == "last_layer" else "ntk")


def nystrom_kernel(kernel: TiledKernel, rank: int, seed: int) -> NystromKernel:
    """Nyström's approximation; the pivots depend on the scenario's seed.

    Raises:
        ScenarioError: a rank above the number of samples.
    """
    if rank > kernel.samples:
        raise ScenarioError(
            f"a kernel of {kernel.samples} training samples has no {rank} columns",
            place="solver.rank",
            remedy=f"Take a rank of at most {kernel.samples}; far fewer are the point of it.",
        )
    return NystromKernel.of(kernel, rank, key=named_key(seed, "pivots"))


def nystrom_modes(
    scenario: schema.RegressionScenario, solver: schema.NystromSolver, dataset: Dataset
) -> tuple[LowRankModes, LowRank]:
    """The modes of the kernel of low rank, and what it leaves of the whole one."""
    low = nystrom_kernel(tiled_kernel(scenario.kernel, dataset), solver.rank, scenario.seed)
    targets = dataset.target_matrix
    bound = float(nystrom_error_bound(low, targets, scenario.ridge)) / math.sqrt(targets.size)
    return LowRankModes.of(low, dataset.test_inputs), LowRank(low.rank, float(low.trace_error / low.trace), bound)


def iterated(
    scenario: schema.RegressionScenario,
    solver: schema.ConjugateGradientSolver,
    dataset: Dataset,
    times: Float[Array, " times"],
    loss_scale: float,
) -> tuple[Observed, Observed, LowRank | None, Iterations]:
    """Errors at times and in the limit, the preconditioner, and what the iterations did.

    Raises:
        SolverError: the limit was not reached within the tolerance.
    """
    kernel = tiled_kernel(scenario.kernel, dataset)
    rank = min(PRECONDITIONER_RANK, kernel.samples) if solver.rank is None else solver.rank
    low = nystrom_kernel(kernel, rank, scenario.seed) if rank else None
    regression = TiledRegression(
        kernel,
        targets=dataset.target_matrix,
        test_inputs=dataset.test_inputs,
        loss_scale=loss_scale,
        ridge=scenario.ridge,
    )
    end = regression.limit(low, tolerance=solver.tolerance, max_steps=solver.max_steps)
    moments = regression.at(times, tolerance=solver.tolerance, max_steps=solver.time_steps)
    last = jax.tree.map(lambda leaf: leaf[None], end.outputs)
    return (
        observe_tiled(regression, dataset, moments.outputs, moments.coefficients),
        observe_tiled(regression, dataset, last, end.coefficients[None]),
        None if low is None else LowRank(low.rank, float(low.trace_error / low.trace), None),
        Iterations(
            iterations=int(jnp.max(end.solution.iterations)),
            residual=float(jnp.max(end.solution.residuals)),
            steps=moments.steps,
            bounds=np.stack([np.asarray(moments.train_bound), np.asarray(moments.test_bound)], axis=1),
            scale=float(jnp.linalg.norm(regression.force)) / math.sqrt(regression.force.size),
        ),
    )
