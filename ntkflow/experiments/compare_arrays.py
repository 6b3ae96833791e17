"""A comparison of a run that is known by arrays alone, from a network trained and measured anywhere."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Integer

from ntkflow import scenario as schema
from ntkflow.comparison import RUNGS, Descent, Model, models_of
from ntkflow.data import LabelEncoding, class_targets
from ntkflow.errors import DataError
from ntkflow.experiments.compare_network import Comparison, class_order, from_python
from ntkflow.experiments.compare_run import compare_run
from ntkflow.experiments.compared_run import ComparedRun
from ntkflow.flows import (
    NamedLossScale,
    SampleState,
    describe_loss_scale,
    loss_scale_value,
    sample_residual,
)
from ntkflow.kernels import split_eigenspaces
from ntkflow.progress import Progress, silent
from ntkflow.results import format_number
from ntkflow.training import FORMS, WORDS, Form, History, MeasuredMoment, Problem

_DEFAULT: dict[Form, tuple[Model, ...]] = {
    "mean": ("isotropic", "three_values"),
    "own": ("neuron_diagonal", "three_values"),
    "whole": ("full_frozen", "three_values"),
}


def compare_arrays(
    moments: Sequence[MeasuredMoment],
    labels: Integer[ArrayLike, " samples"],
    *,
    models: Sequence[Model] | None = None,
    horizon: float | None = None,
    step_size: float | None = None,
    momentum: float = 0.0,
    loss_scale: NamedLossScale | float = "samples",
    encoding: LabelEncoding = "one_hot",
    name: str = "Comparison",
    progress: Progress = silent,
) -> Comparison:
    """Does the theory predict what this network did? From H, W, b and Θʰ at several moments, without the network.

    Forecasts start at every moment but the last, and the run is known at these moments only. Which models can be
    forecast depends on the form of Θʰ that is given: its mean over features serves isotropic, within_spectrum and
    three_values; Θʰ_{p,p} of every feature neuron_diagonal and neuron_values too; the whole Θʰ all but those of a mean
    Jacobian. Of Θ, and so of predicted rates, only so much is said as is known: exactly with the whole Θʰ, block rates
    with ``logit_kernel``.

    Args:
        moments: two or more, rising in time; :func:`ntkflow.read_measured_run` reads them from a file.
        labels: of the samples, in their order, from 0, the same number of each; samples need not be sorted.
        models: rungs of the ladder, :data:`ntkflow.comparison.RUNGS`; None: the most detailed that can be made, and
            three_values.
        horizon: how far forecasts reach in gradient-flow time; None: to the end.
        step_size: η of the descent that trained it, for what descent makes of the predicted rates; None: as a flow.
        momentum: β of it.
        loss_scale: Z: "one", "samples", "samples_times_outputs", or a number. Times are of this Z.
        encoding: of the targets.
        name: title of the result.
        progress: told from stage to stage.

    Raises:
        DataError: arrays that do not fit each other or the labels, values that are not finite, kernels that are not
            symmetric, classes of unequal size, fewer than two moments, times that do not increase, moments of different
            forms.
        ValueError: a model that needs more of Θʰ than is given.
        SolverError: a solver gave up.
    """
    started = datetime.datetime.now(datetime.UTC)
    order, classes = class_order(np.asarray(labels))
    checked = _checked(moments, len(order), classes)
    form = FORMS[checked[0].kernel.ndim - 2]
    chosen = _chosen(models, form)
    z = loss_scale_value(loss_scale, samples=len(order), outputs=classes)
    sorted_moments = tuple(item.sorted(order) for item in checked)
    # There are no inputs: nothing below looks at them but for how many there are.
    problem = Problem(jnp.zeros((len(order), 0)), class_targets(classes, encoding), z)
    words = describe_loss_scale(loss_scale, z)
    text = f"# Made from Python by ntkflow.compare_arrays; there is no scenario file.\nname: {name}\n"
    features = checked[0].features.shape[0]
    run = ComparedRun(
        kind="comparison",
        name=name,
        description="",
        seed=0,
        text=text + f"models: {list(chosen)}\n",
        statements=(
            f"{len(order)} training samples, {len(order) // classes} of each of {classes} classes, {features} "
            f"features; H, W, b and {WORDS[form]} given as arrays at {len(checked)} times to t = "
            f"{checked[-1].time:g}; loss ‖R‖²/(2Z), {words}.",
        ),
        problem=problem,
        z=words,
        test_inputs=problem.inputs[:0],
        test_labels=jnp.zeros(0, int),
        history=_history(sorted_moments, problem),
        moments=sorted_moments,
        descents=None if step_size is None else (Descent(step_size, momentum),) * len(checked),
        forecast=schema.Forecast(models=chosen, horizon=horizon),
        warnings=_indefinite(checked),
    )
    return from_python(compare_run(run, {}, progress), run.text, started)


def _checked(moments: Sequence[MeasuredMoment], samples: int, classes: int) -> tuple[MeasuredMoment, ...]:
    times = [item.time for item in moments]
    if len(times) < 2 or any(later <= earlier for earlier, later in itertools.pairwise(times)):
        raise DataError(
            f"two or more moments at increasing times are needed, not {', '.join(f'{time:g}' for time in times)}",
            place="moments",
            remedy="Give the moments in the order of their times; forecasts start at all but the last.",
        )
    checked = tuple(item.checked(samples, classes) for item in moments)
    first = checked[0]
    for item in checked[1:]:
        if item.kernel.ndim != first.kernel.ndim or (item.logit_kernel is None) != (first.logit_kernel is None):
            raise DataError(
                f"kernels in another form than at {first.label}",
                place=item.label,
                remedy="Give the same kernels at every moment.",
            )
        if item.features.shape != first.features.shape or (item.step is None) != (first.step is None):
            raise DataError(
                f"features of shape {item.features.shape}, but {first.features.shape} at {first.label}"
                if item.features.shape != first.features.shape
                else f"a step is given here or at {first.label}, but not at both",
                place=item.label,
                remedy="Every moment must be of the same network and samples, with a step or all without.",
            )
    return checked


def _chosen(models: Sequence[Model] | None, form: Form) -> tuple[Model, ...]:
    if models is None:
        return _DEFAULT[form]
    possible = models_of(form)
    for model in models:
        if model in RUNGS and model not in possible:
            raise ValueError(
                f"compare_arrays: the model {model} needs {WORDS[RUNGS[model].needs]}, and what is given is "
                f"{WORDS[form]}; with that go {', '.join(possible)}"
            )
    return tuple(models)


def _history(moments: Sequence[MeasuredMoment], problem: Problem) -> History:
    states = [SampleState(*map(jnp.asarray, (one.features, one.weight, one.bias))) for one in moments]
    residuals = [sample_residual(state, problem.targets) for state in states]
    times = np.array([one.time for one in moments])
    return History(
        norm_times=times,
        norms=np.stack([np.asarray(split_eigenspaces(one, problem.classes).norms()) for one in residuals]),
        times=times,
        steps=None if moments[0].step is None else np.array([one.step for one in moments]),
        residuals=np.stack(list(map(np.asarray, residuals))),
        checkpoints=(),
        final=None,
        seconds=float("nan"),
    )


def _indefinite(moments: Sequence[MeasuredMoment]) -> tuple[str, ...]:
    found = [(item.label, pair) for item in moments if (pair := item.lowest_eigenvalue()) is not None]
    if not found:
        return ()
    listed = ", ".join(
        f"{format_number(low, 3)} at {label} (largest {format_number(high, 3)})" for label, (low, high) in found
    )
    return (
        "Θʰ as given is not positive semi-definite, as every kernel of a network is: its lowest eigenvalue is "
        f"{listed}. What lies along it grows in the forecasts instead of decaying.",
    )
