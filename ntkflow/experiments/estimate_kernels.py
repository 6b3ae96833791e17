"""What studies with kernels will take: pairs of samples, operations, memory, and seconds at speeds measured here."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ntkflow import scenario as schema
from ntkflow.data import Dataset
from ntkflow.experiments.dense_memory import dense_bytes, machine_memory
from ntkflow.experiments.networks import make_network
from ntkflow.experiments.regression_kernel import infinite_kernel
from ntkflow.experiments.regression_solvers import PRECONDITIONER_RANK, pairs_of
from ntkflow.experiments.settings import named_key
from ntkflow.experiments.sources import load_tested_dataset
from ntkflow.experiments.width_run import width_network
from ntkflow.flows import loss_scale_value
from ntkflow.kernels import TiledKernel, empirical_ntk, linear_kernel, rbf_kernel
from ntkflow.kernels.infinite import ConvolutionalKernel
from ntkflow.kernels.tiled_kernel import DEFAULT_TILE
from ntkflow.networks import MLP
from ntkflow.progress import Progress, silent
from ntkflow.results import Cell, Column, Quantity, Summary, Table
from ntkflow.training import Problem, train_by_gradient_descent

_SAMPLES = 256
"""At most so many samples are measured with, and a matrix of twice the size."""
_STEPS = 20
_BYTES = 8
KernelScenario = schema.RegressionScenario | schema.WidthScenario


@dataclasses.dataclass(frozen=True)
class KernelCost:
    """One way to do it, or one part of it.

    Attributes:
        name: which.
        memory: bytes of the arrays that there are at once.
        pairs: of samples that kernels are evaluated on.
        operations: floating-point operations on the kernel once it is there.
        seconds: at the measured speeds.
    """

    name: str
    memory: float
    pairs: float
    operations: float
    seconds: float


@dataclasses.dataclass(frozen=True)
class KernelEstimate:
    """What a scenario of kind regression or width is going to take on this machine.

    Attributes:
        costs: of each way, or of each part.
        chosen: seconds of the scenario as it is; None where the number of iterations decides.
        note: what the rows leave out.
        there: bytes of this machine's memory.
    """

    costs: tuple[KernelCost, ...]
    chosen: float | None
    note: str
    there: int | None

    def summary(self, name: str) -> Summary:
        """As a table in which every number has its definition."""
        columns = (
            Column("work", "", "A solver, or a part of the work."),
            Column("memory", "MB", "Arrays that there are at once by count, 8 bytes a number; libraries come on top."),
            Column("pairs", "1", "Pairs of samples that a kernel is evaluated on; of a symmetric one each pair once."),
            Column(
                "operations",
                "1",
                "Floating-point operations beside the kernel's evaluation: 9n³ for all eigenvectors of n points (Golub "
                "and Van Loan), 2N² an output for an application, 8r²N for factor and singular vectors of rank r; of "
                "training none is counted.",
            ),
            Column(
                "time",
                "s",
                "Pairs at the speed of one kernel of a few samples, operations at that of one small eigendecomposition "
                "and steps of training at that of a few; measured on this machine, as busy as it is now.",
            ),
        )
        rows: tuple[tuple[Cell, ...], ...] = tuple(
            (cost.name, cost.memory / 1e6, cost.pairs, cost.operations, cost.seconds) for cost in self.costs
        )
        quantities = []
        if self.chosen is not None:
            words = "Of the scenario as it is, by the table; compilation, figures and report come on top."
            quantities.append(Quantity("time", self.chosen, "s", words))
        if self.there is not None:
            words = "Of this machine, or of its device: a dense run that needs more is refused."
            quantities.append(Quantity("memory there is", self.there / 1e6, "MB", words))
        return Summary(
            title=f"Estimate: {name}",
            kind="estimate",
            quantities=tuple(quantities),
            tables=(Table("Cost", columns, rows, self.note),),
        )


def estimate_kernels(scenario: KernelScenario, *, folder: Path, progress: Progress = silent) -> KernelEstimate:
    """Time a kernel of a few samples and a small eigendecomposition, and count the rest.

    Args:
        scenario: of kind regression or width.
        folder: where relative paths start.
        progress: told from stage to stage.

    Raises:
        UserError: as the run itself.
    """
    progress("estimating", 0, 2)
    dataset = load_tested_dataset(
        scenario.data, seed=scenario.seed, folder=folder, test_samples_per_class=scenario.test_samples_per_class
    )
    size = min(2 * _SAMPLES, dataset.inputs.shape[0] * dataset.classes)
    matrix = jax.random.normal(named_key(0, "speed"), (size, size))
    per_operation = _timed(lambda: jnp.linalg.eigh(matrix + matrix.T)) / (9 * size**3)
    progress("estimating", 1, 2)
    if isinstance(scenario, schema.RegressionScenario):
        found = _regression(scenario, dataset, per_operation)
    else:
        found = _width(scenario, dataset, per_operation)
    progress("estimating", 2, 2)
    return found


def _regression(scenario: schema.RegressionScenario, dataset: Dataset, per_operation: float) -> KernelEstimate:
    samples, tests, outputs = dataset.inputs.shape[0], dataset.test_inputs.shape[0], dataset.classes
    kernel, solver = scenario.kernel, scenario.solver
    few = dataset.inputs[:: max(1, samples // _SAMPLES)][:_SAMPLES]
    coupled = isinstance(kernel, schema.EmpiricalKernel) and kernel.outputs == "coupled"
    points = samples * (outputs if coupled else 1)
    half = samples * (samples + 1) / 2
    per_pair = _timed(_maker(scenario, dataset, few)) / (few.shape[0] * (few.shape[0] + 1) / 2)
    pairs = half + tests * samples
    operations = 9.0 * points**3
    rows = tests * (outputs if coupled else 1)
    costs = [
        KernelCost("dense", dense_bytes(points, rows), pairs, operations, pairs * per_pair + operations * per_operation)
    ]
    note = "The dense row has kernel, eigenvectors and rows to the test samples."
    if isinstance(kernel, schema.InfiniteMLP | schema.RBFKernel):
        features = dataset.inputs.size / samples
        tiled = TiledKernel(pairs_of(kernel), few)
        tile = min(DEFAULT_TILE, samples)
        rank = getattr(solver, "rank", None)
        rank = min(PRECONDITIONER_RANK if rank is None else rank, samples)
        kept = solver.time_steps if isinstance(solver, schema.ConjugateGradientSolver) else 256
        applied = _timed(lambda: tiled.apply(jnp.ones((outputs, few.shape[0]))))
        applied *= half / (few.shape[0] * (few.shape[0] + 1) / 2)
        factor = 8.0 * rank**2 * samples
        costs += [
            KernelCost(
                "tiled, one iteration",
                _BYTES * (2 * tile**2 + samples * (features + rank + outputs * (kept + 4))),
                half,
                2.0 * samples**2 * outputs,
                applied,
            ),
            KernelCost(
                f"Nyström, rank {rank}",
                _BYTES * samples * (features + 2 * rank),
                float(rank * samples),
                factor,
                rank * samples * per_pair + factor * per_operation,
            ),
        ]
        note += (
            " Tiled: an application of the kernel, of which conjugate gradients take one an iteration and Lanczos' "
            f"method one a step; how many is known when they are done. Its memory has room for {kept} Lanczos steps."
        )
    chosen = {schema.DenseSolver: costs[0].seconds, schema.NystromSolver: costs[-1].seconds}.get(type(solver))
    return KernelEstimate(tuple(costs), chosen, note, machine_memory())


def _maker(scenario: schema.RegressionScenario, dataset: Dataset, inputs: Array) -> Callable[[], object]:
    match scenario.kernel:
        case schema.RBFKernel(length_scale=scale):
            return lambda: rbf_kernel(inputs, inputs, length_scale=scale)
        case schema.LinearKernel(bias=bias):
            return lambda: linear_kernel(inputs, inputs, bias=bias)
        case schema.EmpiricalKernel(network=section):
            key = named_key(scenario.seed, "network")
            shape = dataset.inputs.shape[1:]
            network = make_network(section, input_shape=shape, classes=dataset.classes, key=key)
            return lambda: empirical_ntk(network, inputs).values
        case schema.InfiniteMLP() | schema.InfiniteCNN() as section:
            made = infinite_kernel(section)
            if isinstance(made, ConvolutionalKernel):
                # Pairs of images are far dearer than starting a program.
                images = dataset.as_images().inputs[:16]
                count = images.shape[0] * (images.shape[0] + 1) / 2
                seconds = _timed(lambda: made.kernels(images)) / count * inputs.shape[0] * (inputs.shape[0] + 1) / 2
                return lambda: _Known(seconds)
            return lambda: made.kernels(inputs)


@dataclasses.dataclass(frozen=True)
class _Known:
    """Seconds that were measured already."""

    seconds: float


def _width(scenario: schema.WidthScenario, dataset: Dataset, per_operation: float) -> KernelEstimate:
    samples, tests, outputs = dataset.inputs.shape[0], dataset.test_inputs.shape[0], dataset.classes
    points, networks = samples * outputs, scenario.seeds
    scale = loss_scale_value(scenario.loss_scale, samples=samples, outputs=outputs)
    problem = Problem.of(dataset, scale)
    few = dataset.inputs[: min(samples, _SAMPLES // 4)]
    # At the start and at the end all pairs of training samples, at the start those with test samples too.
    pairs = samples * (samples + 1.0) + tests * samples
    costs = []
    for width in scenario.widths:
        network = width_network(scenario, dataset, width, 0)
        measured = _timed(lambda network=network: empirical_ntk(network, few).values)
        per_pair = measured / (few.shape[0] * (few.shape[0] + 1) / 2)
        training = _timed(lambda network=network: _train(network, problem, scenario.step_size)) / _STEPS
        operations = 9.0 * points**3
        parameters = sum(leaf.size for leaf in jax.tree.leaves(network) if hasattr(leaf, "size"))
        costs.append(
            KernelCost(
                f"{networks} networks of width {width}",
                dense_bytes(points, tests * outputs) + _BYTES * 4 * parameters,
                networks * pairs,
                networks * operations,
                networks * (pairs * per_pair + operations * per_operation + scenario.steps * training),
            )
        )
    note = (
        f"Kernels of real networks couple their {outputs} outputs, {points} points, and are stored: no tiled solver "
        f"replaces them. The infinite limit has {samples} points and is small beside them."
    )
    return KernelEstimate(tuple(costs), sum(cost.seconds for cost in costs), note, machine_memory())


def _train(network: MLP, problem: Problem, step_size: float) -> object:
    history = train_by_gradient_descent(network, problem, step_size=step_size, steps=_STEPS, snapshots=(), records=2)
    return jax.tree.leaves(history.moments[-1].network)


def _timed(work: Callable[[], object]) -> float:
    """Of a second call; the first compiles."""
    jax.block_until_ready(work())
    started = time.perf_counter()
    found = work()
    if isinstance(found, _Known):
        return found.seconds
    jax.block_until_ready(found)
    return max(time.perf_counter() - started, 1e-9)
