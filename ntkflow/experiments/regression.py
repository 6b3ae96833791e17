"""The `regression` kind: data → kernel → eigendecomposition → outputs at every time, every step and in the limit."""

from __future__ import annotations

import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow import scenario as schema
from ntkflow.data import Dataset
from ntkflow.experiments.dense_memory import require_memory
from ntkflow.experiments.networks import make_network
from ntkflow.experiments.outcome import Outcome
from ntkflow.experiments.regression_kernel import MadeKernel, made_kernel
from ntkflow.experiments.regression_run import DepthLimit, EnsembleVariance, Fit, Observed, RegressionRun, observe
from ntkflow.experiments.regression_solvers import iterated, nystrom_modes
from ntkflow.experiments.regression_summary import regression_summary
from ntkflow.experiments.regression_tree import regression_tree
from ntkflow.experiments.settings import named_key, time_grid
from ntkflow.experiments.sources import load_tested_dataset
from ntkflow.flows import (
    DenseModes,
    KernelRegressionFlow,
    LowRankModes,
    RegressionOutputs,
    WideEnsemble,
    descent_factors,
    descent_time,
    describe_loss_scale,
    loss_scale_value,
)
from ntkflow.networks import MLP
from ntkflow.progress import Progress
from ntkflow.report import regression_drawings

_POINTS = 60
"""About how many steps of descent are stored, logarithmically spaced; the closed form needs no others."""
_LARGEST_GROWTH = 1e60
"""Descent that diverges is shown until a mode has grown so much; the fourth powers are numbers still."""


def run_regression(scenario: schema.RegressionScenario, *, folder: Path, text: str, progress: Progress) -> Outcome:
    """Evaluate kernel regression on real data in closed form.

    Args:
        scenario: what to run.
        folder: where relative paths start.
        text: the resolved scenario, kept with the results.
        progress: told from stage to stage.

    Raises:
        DataError: data that cannot be used.
        ScenarioError: a dense eigendecomposition that needs more memory than there is, or a rank above N.
        SolverError: conjugate gradients that do not come to their tolerance.
    """
    started = time.perf_counter()
    progress("kernel", 0, 1)
    dataset = load_tested_dataset(
        scenario.data,
        seed=scenario.seed,
        folder=folder,
        test_samples_per_class=scenario.test_samples_per_class,
    )
    loss_scale = loss_scale_value(scenario.loss_scale, samples=dataset.inputs.shape[0], outputs=dataset.classes)
    times, z = time_grid(scenario.time), describe_loss_scale(scenario.loss_scale, loss_scale)
    if isinstance(scenario.solver, schema.ConjugateGradientSolver):
        at_times, limit, low_rank, iterations = iterated(scenario, scenario.solver, dataset, times, loss_scale)
        return _outcome(
            RegressionRun(
                scenario=scenario,
                dataset=dataset,
                flow=None,
                z=z,
                times=np.asarray(times),
                at_times=at_times,
                limit=limit,
                descent=None,
                distance_from_shared=None,
                low_rank=low_rank,
                iterations=iterations,
            ),
            text,
            {"iterations": time.perf_counter() - started},
        )
    network = None
    if isinstance(scenario.kernel, schema.EmpiricalKernel):
        network = make_network(
            scenario.kernel.network,
            input_shape=dataset.inputs.shape[1:],
            classes=dataset.classes,
            key=named_key(scenario.seed, "network"),
        )
    kernel = _kernel(scenario, dataset, network)
    initial = _initial(scenario, dataset, network)

    def flow_by(modes: DenseModes | LowRankModes) -> KernelRegressionFlow:
        return KernelRegressionFlow(
            modes,
            targets=dataset.target_matrix,
            loss_scale=loss_scale,
            initial=initial,
            ridge=scenario.ridge,
            classes=dataset.classes,
        )

    flow = flow_by(kernel.modes)
    progress("kernel", 1, 1)
    measured = time.perf_counter()

    progress("closed forms", 0, 1)
    run = RegressionRun(
        scenario=scenario,
        dataset=dataset,
        flow=flow,
        z=z,
        times=np.asarray(times),
        at_times=observe(flow, dataset, flow.at(times)),
        limit=_limit(flow, dataset),
        descent=None if scenario.descent is None else _descent(scenario.descent, flow, dataset),
        distance_from_shared=kernel.distance_from_shared,
        ensemble=None if kernel.covariances is None else _ensemble(scenario, kernel, flow, times),
        depths=tuple(
            DepthLimit(layers, _limit(flow_by(modes), dataset), int(jnp.sum(modes.eigenvalues > 0)))
            for layers, modes in kernel.by_depth
        ),
        low_rank=kernel.low_rank,
    )
    progress("closed forms", 1, 1)
    return _outcome(run, text, {"kernel": measured - started, "closed forms": time.perf_counter() - measured})


def _outcome(run: RegressionRun, text: str, timings: dict[str, float]) -> Outcome:
    tree = regression_tree(run, text)
    return Outcome(tree=tree, summary=regression_summary(run), drawings=regression_drawings(tree), timings=timings)


def _kernel(scenario: schema.RegressionScenario, dataset: Dataset, network: MLP | None) -> MadeKernel:
    if isinstance(scenario.solver, schema.NystromSolver):
        modes, low_rank = nystrom_modes(scenario, scenario.solver, dataset)
        return MadeKernel(modes, low_rank=low_rank)
    require_memory(
        scenario, samples=dataset.inputs.shape[0], tests=dataset.test_inputs.shape[0], outputs=dataset.classes
    )
    return made_kernel(scenario.kernel, dataset, network)


def _ensemble(
    scenario: schema.RegressionScenario, kernel: MadeKernel, flow: KernelRegressionFlow, times: Float[Array, " times"]
) -> EnsembleVariance:
    """Variances over random starts at the times and in the limit, means over the samples of each set."""
    assert kernel.covariances is not None
    assert isinstance(kernel.modes, DenseModes)
    nngp, cross, test = kernel.covariances
    ensemble = WideEnsemble(
        kernel.modes,
        nngp=nngp,
        nngp_cross=cross,
        nngp_test=test,
        targets=flow.targets,
        loss_scale=flow.loss_scale,
        ridge=scenario.ridge,
    )
    found, limit = ensemble.at(times), ensemble.limit()
    return EnsembleVariance(
        np.stack([np.asarray(part.mean(axis=1)) for part in (found.variance_train, found.variance_test)], axis=1),
        np.array([float(part.mean()) for part in (limit.variance_train, limit.variance_test)]),
    )


def _limit(flow: KernelRegressionFlow, dataset: Dataset) -> Observed:
    return observe(flow, dataset, jax.tree.map(lambda leaf: leaf[None], flow.limit()))


def _initial(scenario: schema.RegressionScenario, dataset: Dataset, network: MLP | None) -> RegressionOutputs | None:
    if scenario.initial == "zero":
        return None
    assert network is not None
    return RegressionOutputs(network.logit_matrix(dataset.inputs), network.logit_matrix(dataset.test_inputs))


def _descent(descent: schema.RegressionDescent, flow: KernelRegressionFlow, dataset: Dataset) -> Fit:
    wanted = np.unique(np.rint(np.append(0, np.geomspace(1, descent.steps, _POINTS))).astype(int))
    counts = jnp.asarray(wanted, dtype=float)
    growth, times = _growth_and_times(descent.step_size * flow.rates, counts, descent.step_size, descent.momentum)
    kept = np.flatnonzero(np.asarray(growth) <= _LARGEST_GROWTH)
    outputs = flow.after_steps(descent.step_size, counts[kept], descent.momentum)
    return Fit(wanted[kept], np.asarray(times)[kept], observe(flow, dataset, outputs))


@eqx.filter_jit
def _growth_and_times(
    x: Float[Array, " modes"], counts: Float[Array, " steps"], step_size: float, momentum: float
) -> tuple[Float[Array, " steps"], Float[Array, " steps"]]:
    """The largest |p_k| of any mode, and the gradient-flow time that k steps amount to."""
    growth = jax.vmap(lambda k: jnp.max(jnp.abs(descent_factors(x, k, momentum))))(counts)
    return growth, jax.vmap(lambda k: descent_time(step_size, k, momentum))(counts)
