"""The stored arrays of a training run."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ntkflow.experiments.outcome import Variable, dataset, scenario_group
from ntkflow.experiments.training_run import TrainingRun
from ntkflow.training.observations import cost_names

_BATCH = "by the parameters before each step, mean over the epoch's steps"


def training_tree(run: TrainingRun, rates: xr.Dataset | None, text: str) -> xr.DataTree:
    """Groups ``training`` (every epoch), one for each group of observations, ``rates``, ``cost`` and ``scenario``.

    Along ``epoch`` lie the epochs that were measured, along ``trained_epoch`` all that were trained. ``member`` is an
    axis of every array of an ensemble, the first, and of none of a single run.
    """
    setup = run.setup
    measured = np.flatnonzero(run.record_epochs >= 0)
    groups: dict[str, xr.Dataset] = {"/training": _training(run)}
    unit = f"gradient-flow time ({setup.z})"
    with_loss_scale = {"time": unit, "1/time": f"1 / {unit}"}
    for observation in setup.observations:
        variables: dict[str, Variable] = {}
        for variable in observation.variables(setup.observed):
            values = run.records[observation.name][variable.name][:, measured]
            names, values = _members(run, ("epoch", *variable.dims), values)
            units = with_loss_scale.get(variable.units, variable.units or "1")
            variables[variable.name] = (names, values, units, variable.long_name)
        labels = {
            name: list(values)
            for name, values in observation.coordinates(setup.observed).items()
            if any(name in names for names, *_ in variables.values())
        }
        groups[f"/{observation.name}"] = _at_records(run, dataset(variables, labels))
    if rates is not None:
        groups["/rates"] = _at_records(run, rates)
    groups["/cost"] = _at_records(run, _cost(run, measured))
    scenario = setup.scenario
    groups["/scenario"] = scenario_group(
        kind="training", name=scenario.name, seed=scenario.seed, loss_scale=setup.z, text=text
    )
    return xr.DataTree.from_dict(groups)


def _training(run: TrainingRun) -> xr.Dataset:
    setup, trained = run.setup, run.epoch
    definitions = {
        "loss": ("1", f"loss of the batches, weight decay not included, {_BATCH}"),
        "accuracy": ("1", f"share of the batches' samples that are classified right, {_BATCH}"),
        "gradient_norm": ("1", "norm of the loss's gradient at the last step that was taken before the host looked"),
    }
    variables: dict[str, Variable] = {}
    for name, (units, what) in definitions.items():
        dims, values = _members(run, ("trained_epoch",), run.epochs[name][:, :trained])
        variables[name] = (dims, values, units, what)
    sizes = np.stack([setup.step_sizes(one)[:trained] for one in setup.members])
    dims, values = _members(run, ("trained_epoch",), sizes)
    variables["step_size"] = (dims, values, "1", "η of the epoch's steps")
    group = dataset(variables, {"trained_epoch": np.arange(1, trained + 1)})
    return _with_members(run, group)


def _cost(run: TrainingRun, measured: np.ndarray) -> xr.Dataset:
    members = len(run.setup.members)
    names, costs = _members(run, ("epoch", "work"), run.costs[:, measured])
    alone, training = _members(run, ("epoch",), np.tile(run.training_seconds[measured], (members, 1)))
    what = "wall time of measuring, compilation included, by kind of work; what groups share is counted once"
    since = "wall time of training since the record before, compilation included; of all members together"
    return dataset(
        {"seconds": (names, costs, "s", what), "training_seconds": (alone, training, "s", since)},
        {"work": list(cost_names(run.setup.observations))},
    )


def _at_records(run: TrainingRun, group: xr.Dataset) -> xr.Dataset:
    """With the epochs, steps and times of the records as coordinates."""
    setup = run.setup
    epochs = run.record_epochs[run.record_epochs >= 0]
    times = np.stack([setup.times(one)[epochs] for one in setup.members])
    names, times = _members(run, ("epoch",), times)
    flow = {"units": f"gradient-flow time ({setup.z})", "long_name": "Σ η/(1 − β) over the steps before"}
    group = group.assign_coords(
        epoch=epochs,
        step=("epoch", epochs * setup.recipe.steps_per_epoch, {"units": "steps", "long_name": "steps behind it"}),
        time=(names, times, flow),
    )
    return _with_members(run, group)


def _with_members(run: TrainingRun, group: xr.Dataset) -> xr.Dataset:
    if not run.setup.stacked:
        return group
    members = run.setup.members
    return group.assign_coords(
        member=[str(one) for one in members],
        seed=("member", [one.seed for one in members]),
        initial_step_size=("member", [one.step_size for one in members]),
        initial_scale=("member", [one.initial_scale for one in members]),
    )


def _members(run: TrainingRun, names: tuple[str, ...], values: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """With the axis of members for an ensemble, without it for a single run."""
    return (("member", *names), values) if run.setup.stacked else (names, values[0])
