"""A comparison from Python: your own network and arrays, trained here or elsewhere."""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.typing import ArrayLike
from jaxtyping import Float, Integer

from ntkflow import scenario as schema
from ntkflow.comparison import Descent, Model
from ntkflow.data import LabelEncoding, Samples, class_targets
from ntkflow.errors import DataError
from ntkflow.experiments.compare_run import compare_run
from ntkflow.experiments.compared_run import ComparedRun
from ntkflow.experiments.outcome import Outcome
from ntkflow.experiments.write_result import write_outcome
from ntkflow.flows import NamedLossScale, describe_loss_scale, loss_scale_value
from ntkflow.networks import AbstractClassifier, as_trained, unwrapped
from ntkflow.progress import Progress, silent
from ntkflow.results import ResultFolder, Summary
from ntkflow.training import Checkpoint, Problem, network_history, train_by_gradient_descent


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What :func:`compare` found.

    Attributes:
        outcome: arrays, headline, and figures, as of a scenario of kind comparison.
        text: what stands for the scenario.
        started: when it began.
    """

    outcome: Outcome = dataclasses.field(repr=False)
    text: str = dataclasses.field(repr=False)
    started: datetime.datetime

    @property
    def tree(self) -> xr.DataTree:
        """Every array, with its definition: groups training, theory, comparison, ladder."""
        return self.outcome.tree

    @property
    def summary(self) -> Summary:
        """Statements, numbers with definitions, tables, warnings; ``ntkflow.report.print_summary`` prints it."""
        return self.outcome.summary

    def save(self, folder: Path | str, *, overwrite: bool = False) -> Path:
        """Write a result folder with figures and report, like ``ntkflow run``.

        Raises:
            ResultFolderError: the folder is there already, or cannot be written.
        """
        opened = ResultFolder.create(Path(folder), overwrite=overwrite)
        try:
            opened.write_text("scenario.yaml", self.text)
            write_outcome(
                opened,
                self.outcome,
                text=self.text,
                seed=0,
                started=self.started,
                clock=time.perf_counter() - sum(self.outcome.timings.values()),
            )
        except BaseException:
            opened.abandon()
            raise
        return opened.path

    def __str__(self) -> str:
        return "\n".join(
            (self.summary.title, *self.summary.statements, *map("Warning: {}".format, self.summary.warnings))
        )


def compare(
    network: AbstractClassifier,
    inputs: Float[ArrayLike, "samples ..."],
    labels: Integer[ArrayLike, " labels"],
    *,
    step_size: float | None = None,
    steps: int | None = None,
    snapshots: Sequence[int] = (0,),
    later: Sequence[tuple[float, AbstractClassifier]] = (),
    models: Sequence[Model] = ("full_frozen", "three_values"),
    horizon: float | None = None,
    loss_scale: NamedLossScale | float = "samples",
    encoding: LabelEncoding = "one_hot",
    test: tuple[ArrayLike, ArrayLike] | None = None,
    name: str = "Comparison",
    progress: Progress = silent,
) -> Comparison:
    """Does the theory predict what this network does? Trains it, or takes networks that were trained elsewhere.

    Either ``step_size`` and ``steps``: full-batch gradient descent on ‖R‖²/(2Z), here. Or ``later``: the same network
    at later times, trained by whatever you like; ``network`` is at time 0, forecasts start at every one of them but the
    last, and the run is known at these times only.

    Args:
        network: its parameters in float64 for full accuracy. Networks of Equinox layers: ``ntkflow.networks``.
        inputs: N samples in the shape that the network takes, in any order.
        labels: their classes, from 0, the same number of samples of each.
        step_size: η; time is η times the step.
        steps: how many.
        snapshots: steps at which forecasts start.
        later: pairs of a gradient-flow time > 0 and the network then, rising; with momentum β that time is Σ η/(1 − β).
        models: rungs of the ladder, :data:`ntkflow.comparison.RUNGS`.
        horizon: how far forecasts reach in gradient-flow time; None: to the end.
        loss_scale: Z: "one", "samples", "samples_times_outputs", or a number.
        encoding: of the targets.
        test: inputs and labels that are not trained on.
        name: title of the result.
        progress: told from stage to stage.

    Raises:
        DataError: labels that do not fit, classes of unequal size, values that are not finite.
        ValueError: neither or both ways to a run, or times that do not increase.
        DivergenceError: training whose loss left the finite numbers.
        SolverError: a solver gave up.
    """
    started = datetime.datetime.now(datetime.UTC)
    x, classes = _sorted(np.asarray(inputs), np.asarray(labels))
    z = loss_scale_value(loss_scale, samples=len(x), outputs=classes)
    problem = Problem(jnp.asarray(x, dtype=float), class_targets(classes, encoding), z)
    forecast = schema.Forecast(models=tuple(models), horizon=horizon)
    if (step_size is None) != (steps is None) or (steps is None) == (len(later) == 0):
        raise ValueError("compare: give either step_size and steps, or later networks")
    descents = None
    if step_size is not None and steps is not None:
        history = train_by_gradient_descent(
            as_trained(network),
            problem,
            step_size=step_size,
            steps=steps,
            snapshots=tuple(snapshots),
            progress=progress,
        )
        moments = history.moments
        descents = (Descent(step_size),) * len(moments)
        how = f"{steps} full-batch gradient-descent steps of {step_size:g} (t = {history.times[-1]:g})"
    else:
        moments = tuple(Checkpoint(float(time), None, one) for time, one in ((0.0, network), *later))
        history = network_history(moments, problem, progress=progress)
        how = f"trained elsewhere, known at {len(moments)} times to t = {moments[-1].time:g}"
    moments = tuple(dataclasses.replace(item, network=unwrapped(item.network)) for item in moments)
    words = describe_loss_scale(loss_scale, z)
    text = f"# Made from Python by ntkflow.compare; there is no scenario file.\nname: {name}\nmodels: {list(models)}\n"
    test_inputs, test_labels = (x[:0], np.zeros(0, int)) if test is None else map(np.asarray, test)
    run = ComparedRun(
        kind="comparison",
        name=name,
        description="",
        seed=0,
        text=text,
        statements=(
            f"{len(x)} training samples, {len(x) // classes} of each of {classes} classes, given as arrays.",
            f"{type(network).__name__} of {network.parameter_count()} parameters, {how}; loss ‖R‖²/(2Z), {words}.",
        ),
        problem=problem,
        z=words,
        test_inputs=jnp.asarray(test_inputs, dtype=float),
        test_labels=jnp.asarray(test_labels),
        history=history,
        moments=moments,
        descents=descents,
        forecast=forecast,
    )
    timings = {"training": history.seconds} if np.isfinite(history.seconds) else {}
    return from_python(compare_run(run, timings, progress), text, started)


def from_python(outcome: Outcome, text: str, started: datetime.datetime) -> Comparison:
    """A comparison without a scenario file."""
    return Comparison(dataclasses.replace(outcome, scenario_is="a note that this was made from Python"), text, started)


def _sorted(inputs: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, int]:
    """Samples sorted by class, and how many classes there are."""
    Samples("the given arrays", inputs, labels).require_usable()
    order, classes = class_order(labels)
    return inputs[order], classes


def class_order(labels: np.ndarray) -> tuple[np.ndarray, int]:
    """The order that sorts samples by class, and how many classes there are.

    Raises:
        DataError: labels that are no whole numbers from 0 with all in use, or classes of unequal size.
    """
    Samples("labels", labels[:, None], labels).require_usable()
    counts = np.bincount(labels)
    if counts.min() != counts.max():
        raise DataError(
            f"classes of {counts.min()} to {counts.max()} samples; the parts of the residual, and every rung below "
            "isotropic, need equally many of each",
            place="labels",
            remedy=f"Keep {counts.min()} of each class. The flow of unequal classes is ntkflow.flows.UnequalClassFlow.",
        )
    return np.argsort(labels, kind="stable"), len(counts)
