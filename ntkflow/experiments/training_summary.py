"""The headline of a training run."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from ntkflow import scenario as schema
from ntkflow.collapse import METRICS
from ntkflow.experiments.training_run import MEASURING, SAVING, TRAINING, TrainingRun, parameter_count
from ntkflow.results import Cell, Column, Quantity, Summary, Table
from ntkflow.training.observations import cost_names

COLLAPSE = ("nc1_within_std", "nc1_trace_ratio", "nc2_etf_distance", "nc3_unit_means", "nc4_disagreement")
"""The metrics of the tables; the others are in results.nc."""
_SHORT = {
    "nc1_within_std": "NC1 std",
    "nc1_trace_ratio": "NC1 trace",
    "nc2_etf_distance": "NC2",
    "nc3_unit_means": "NC3",
    "nc4_disagreement": "NC4",
}
PARTS = ("global mean", "class means", "within class")
"""Of the residual, in the order in which records have them."""
_ROWS = 12
"""Rows of a table over epochs, the first and the last among them."""


def training_summary(run: TrainingRun, rates: xr.Dataset | None) -> Summary:
    """Statements, numbers with definitions, what was measured over epochs, members of an ensemble, costs, warnings."""
    scenario = run.setup.scenario
    description = scenario.description.strip()
    tables = [_members(run)]
    if not run.setup.stacked:
        tables = [_over_epochs(run), *_rates(run, rates), *_collapse(run), *_kernels(run)]
    return Summary(
        title=scenario.name,
        kind="training",
        statements=((description,) if description else ()) + _statements(run),
        quantities=() if run.setup.stacked else _quantities(run),
        tables=(*tables, _cost(run)),
        warnings=_warnings(run),
    )


def _statements(run: TrainingRun) -> tuple[str, ...]:
    setup, training = run.setup, run.setup.scenario.training
    recipe = setup.recipe
    batches = (
        "all samples in every step"
        if recipe.full_batch
        else f"batches of {recipe.batch_size}, exactly {recipe.batch_per_class} of each class"
    )
    loss = (
        f"squared error ‖R‖²/(2Z), {setup.z}"
        if training.loss == "squared_error"
        else f"cross-entropy, mean over samples ({setup.z})"
    )
    count = parameter_count(run.state, stacked=setup.stacked)
    network = {"mlp": "A fully-connected network", "resnet": "A residual network"}.get(
        setup.scenario.network.kind, f"A {setup.scenario.network.kind}"
    )
    many = f"{len(setup.members)} members of an ensemble, each " if setup.stacked else ""
    return (
        f"{setup.dataset}.",
        f"{network} of {count} parameters in {training.precision}, {many}trained for {run.epoch} epochs of "
        f"{recipe.steps_per_epoch} steps, {batches}; {loss}.",
        f"{optimizer_in_words(training)}, {schedule_in_words(training)}.",
        *((_devices(run),) if setup.mesh is not None else ()),
        *((setup.normalization,) if setup.normalization else ()),
        *((_ended(run),) if run.ended else ()),
        *run.messages,
    )


def optimizer_in_words(training: schema.StochasticTraining) -> str:
    """How parameters move, with momentum and weight decay."""
    optimizer = training.optimizer
    decay = "without weight decay"
    if optimizer.weight_decay:
        decay = f"{optimizer.decay} weight decay {optimizer.weight_decay:g} of {optimizer.decayed} parameters"
        decay = decay.replace("weights parameters", "weights")
    if isinstance(optimizer, schema.Adam):
        return f"Adam with β₁ = {optimizer.b1:g}, β₂ = {optimizer.b2:g}, {decay}; it follows no gradient flow"
    if not optimizer.momentum:
        return f"Gradient descent, {decay}"
    return f"Gradient descent with {'Nesterov ' if optimizer.nesterov else ''}momentum {optimizer.momentum:g}, {decay}"


def schedule_in_words(training: schema.StochasticTraining) -> str:
    """η over the epochs."""
    first = f"step size {training.step_size:g}"
    match training.schedule:
        case schema.ConstantSchedule():
            return f"{first} throughout"
        case schema.StepSchedule(every=every, factor=factor):
            return f"{first}, divided by {factor:g} every {every} epochs"


def _devices(run: TrainingRun) -> str:
    shared = "The members of the ensemble were" if run.setup.stacked else "The samples of each batch were"
    devices = [] if run.setup.mesh is None else run.setup.mesh.devices.flat
    return f"{shared} shared out among {', '.join(map(str, devices))}."


def _ended(run: TrainingRun) -> str:
    stopping = run.setup.scenario.training.stopping
    match stopping:
        case schema.LossBelow():
            return f"Training stopped after epoch {run.epoch}: the loss fell below {stopping.threshold:g}."
        case schema.StalledLoss():
            return (
                f"Training stopped after epoch {run.epoch}: the loss did not decrease by {stopping.least_decrease:g} "
                f"in {stopping.patience} steps."
            )
    return ""


def fitted_at(run: TrainingRun, index: int) -> int | None:
    """The record from which on no measured training sample is misclassified; None if there is none."""
    if "losses" not in run.records:
        return None
    wrong = run.records["losses"]["misclassified"][index, _measured(run), 0]
    errors = np.flatnonzero(~(wrong == 0))
    first = int(errors[-1]) + 1 if errors.size else 0
    return first if first < len(wrong) else None


def _measured(run: TrainingRun) -> np.ndarray:
    return np.flatnonzero(run.record_epochs >= 0)


def _last(run: TrainingRun, group: str, name: str) -> np.ndarray:
    return np.asarray(run.records[group][name][0, _measured(run)[-1]])


def _quantities(run: TrainingRun) -> tuple[Quantity, ...]:
    observed = run.setup.observed
    when = f"After epoch {run.epoch}."
    found: list[Quantity] = []
    if "losses" in run.records:
        accuracy = _last(run, "losses", "accuracy")
        of = {"training": observed.of_training, "test": observed.of_tests}
        for index, (split, samples) in enumerate(of.items()):
            if np.isfinite(accuracy[index]):
                count = observed.samples if index == 0 else observed.test_inputs.shape[0]
                error = math.sqrt(accuracy[index] * (1 - accuracy[index]) / count) if index else None
                text = f"Share of {samples} whose largest logit is that of their class. {when}"
                text += " ± is the binomial standard error of the draw of test samples." if index else ""
                found.append(Quantity(f"{split} accuracy", float(accuracy[index]), "1", text, error))
        fitted = fitted_at(run, 0)
        if fitted is not None:
            text = f"First measured epoch from which on none of {observed.of_training} is misclassified."
            found.append(Quantity("training error is 0 from", float(run.record_epochs[fitted]), "epochs", text))
    if "collapse" in run.records:
        for name in ("nc1_trace_ratio", "nc2_etf_distance", "nc3_unit_means"):
            value = float(_last(run, "collapse", name))
            found.append(Quantity(name, value, "1", f"{METRICS[name]} Of {observed.of_training}. {when}"))
    return tuple(found)


def _rows(run: TrainingRun) -> list[int]:
    measured = _measured(run)
    return sorted({round(at) for at in np.linspace(0, len(measured) - 1, min(_ROWS, len(measured)))})


def _moment(run: TrainingRun) -> tuple[Column, ...]:
    return (
        Column("epoch", "epochs", "Epochs of training behind the network."),
        Column(
            "time",
            "time",
            f"Gradient-flow time Σ η/(1 − β) over the steps before, {run.setup.z}; none for Adam. What momentum, "
            "batches, drops of η and weight decay do to it: docs, theory of training.",
        ),
    )


def _when(run: TrainingRun, record: int) -> tuple[Cell, ...]:
    epoch = int(run.record_epochs[record])
    time = float(run.setup.times(run.setup.members[0])[epoch])
    return (epoch, time if math.isfinite(time) else None)


def _over_epochs(run: TrainingRun) -> Table:
    observed = run.setup.observed
    columns, cells = list(_moment(run)), []
    if "losses" in run.records:
        columns += [
            Column("loss", "", f"Training loss {observed.objective}, weight decay not in it; {observed.of_training}."),
            Column("accuracy", "", f"Share of {observed.of_training} classified right."),
            Column("test", "", f"Share of {observed.of_tests} classified right."),
        ]
    if "residuals" in run.records:
        columns += [
            Column(
                part,
                "",
                f"‖·‖_F of the residual R = f(X) − Y's {part} part over {observed.of_training}; the loss is the sum of "
                "the three squares over 2Z.",
            )
            for part in PARTS
        ]
    for record in _rows(run):
        row = list(_when(run, record))
        if "losses" in run.records:
            losses = run.records["losses"]
            row += [float(losses["loss"][0, record, 0]), *map(_cell, losses["accuracy"][0, record])]
        if "residuals" in run.records:
            row += [float(value) for value in run.records["residuals"]["residual_norm"][0, record]]
        cells.append(tuple(row))
    return Table("Training over epochs", tuple(columns), tuple(cells))


def _rates(run: TrainingRun, group: xr.Dataset | None) -> list[Table]:
    if group is None:
        return []
    columns, text = list(_moment(run)), {name: str(group[name].attrs["long_name"]) for name in group.data_vars}
    for part in PARTS:
        columns += [
            Column(part, "1/time", f"Of the {part} part: {text['measured']}. Negative: it grows. Blank: no window."),
            Column("±", "1/time", f"Its standard error, {text['measured_standard_error'].split(', ')[1]}."),
            Column("Θ", "1/time", f"Of the {part} part: {text['predicted']}."),
            Column("±", "1/time", "Its standard error: draw of samples (jackknife)."),
        ]
    names = ("measured", "measured_standard_error", "predicted", "predicted_standard_error")
    rows = []
    for record in _rows(run):
        row: list[Cell] = list(_when(run, record))
        for part in range(len(PARTS)):
            row += [_cell(group[name].to_numpy()[record, part]) for name in names]
        rows.append(tuple(row))
    note = (
        "Predictions are of full-batch descent on a network whose Θ is constant and a block kernel; weight decay is "
        "not in them."
    )
    return [Table("Decay rates of the residual, measured and predicted by Θ", tuple(columns), tuple(rows), note)]


def _collapse(run: TrainingRun) -> list[Table]:
    if "collapse" not in run.records:
        return []
    columns = _moment(run) + tuple(Column(_SHORT[name], "", METRICS[name]) for name in COLLAPSE)
    rows = [
        (*_when(run, record), *(float(run.records["collapse"][name][0, record]) for name in COLLAPSE))
        for record in _rows(run)
    ]
    fitted = fitted_at(run, 0)
    note = ""
    if fitted is not None and run.record_epochs[fitted] < run.epoch:
        first, last = fitted, int(_measured(run)[-1])
        factors = [
            f"{_SHORT[name]} by {_factor(run.records['collapse'][name][0], first, last)}" for name in COLLAPSE[:-1]
        ]
        note = f"From epoch {run.record_epochs[fitted]}, where the training error is 0, to the end: " + ", ".join(
            factors
        )
        note += " (how many times smaller)."
    return [Table("Neural collapse: 0 where it is complete", columns, tuple(rows), note)]


def _factor(values: np.ndarray, first: int, last: int) -> str:
    return f"{values[first] / values[last]:.3g}" if values[last] > 0 else "∞"


def _kernels(run: TrainingRun) -> list[Table]:
    if "block_values" not in run.records:
        return []
    observed = run.setup.observed
    columns = list(_moment(run))
    for symbol, of in (("Θ", "logits"), ("Θʰ", "features")):
        kernel = f"the mean over {of} of {symbol}_kk on {observed.of_kernels}"
        columns += [
            Column(
                f"{symbol} c/d", "", f"Mean same-class value, diagonal left out, over mean diagonal value of {kernel}."
            ),
            Column(
                "±",
                "",
                "Standard error: draw of samples (jackknife) and, where random combinations stand for the "
                "features, their draw.",
            ),
            Column(f"{symbol} n/d", "", f"Mean value between classes over mean diagonal value of {kernel}."),
            Column("±", "", "As before."),
        ]
        if "alignments" in run.records:
            columns.append(
                Column(
                    f"{symbol} align.", "", f"⟨{symbol}, YᵀY⟩/(‖{symbol}‖ ‖YᵀY‖) with one-hot Y, (2.63), of {kernel}."
                )
            )
    rows = []
    for record in _rows(run):
        row: list[Cell] = list(_when(run, record))
        for name in ("logit", "feature"):
            values = run.records["block_values"]
            ratio, error = (
                values[f"{name}_{what}"][0, record] for what in ("block_ratio", "block_ratio_standard_error")
            )
            row += [float(ratio[0]), _cell(error[0]), float(ratio[1]), _cell(error[1])]
            if "alignments" in run.records:
                row.append(_cell(run.records["alignments"][f"{name}_alignment"][0, record]))
        rows.append(tuple(row))
    return [Table("Kernels over epochs", tuple(columns), tuple(rows))]


def _members(run: TrainingRun) -> Table:
    observed, last = run.setup.observed, _measured(run)[-1]
    columns = [
        Column("seed", "", "Of the initial weights and of the order of samples."),
        Column("η", "", "Step size at the beginning."),
        Column("scale", "", "What the initial weights were multiplied by."),
    ]
    if "losses" in run.records:
        columns += [
            Column("accuracy", "", f"Share of {observed.of_training} classified right, after epoch {run.epoch}."),
            Column("test", "", f"The same of {observed.of_tests}."),
            Column("fitted", "epochs", "First measured epoch from which on no training sample is misclassified."),
        ]
    if "collapse" in run.records:
        columns += [Column(_SHORT[name], "", f"{METRICS[name]} After epoch {run.epoch}.") for name in COLLAPSE]
    rows = []
    for index, one in enumerate(run.setup.members):
        row: list[Cell] = [one.seed, one.step_size, one.initial_scale]
        if "losses" in run.records:
            fitted = fitted_at(run, index)
            row += map(_cell, run.records["losses"]["accuracy"][index, last])
            row.append(None if fitted is None else int(run.record_epochs[fitted]))
        if "collapse" in run.records:
            row += [_cell(run.records["collapse"][name][index, last]) for name in COLLAPSE]
        rows.append(tuple(row))
    return Table("Members", tuple(columns), tuple(rows))


def _cost(run: TrainingRun) -> Table:
    names = cost_names(run.setup.observations)
    totals = np.nansum(run.costs, axis=(0, 1))
    seconds = {
        "training": float(run.seconds[TRAINING]),
        "measuring": float(run.seconds[MEASURING]),
        "saving checkpoints": float(run.seconds[SAVING]),
        **{f"measuring: {name.replace('_', ' ')}": float(total) for name, total in zip(names, totals, strict=True)},
    }
    share = sum(list(seconds.values())[:3]) or 1.0
    columns = (
        Column(
            "work", "", "What was done; the lines of measuring add up to measuring, but for small work between them."
        ),
        Column("time", "s", "Wall time, compilation included, of all sessions of this run."),
        Column("share", "%", "Of training, measuring and saving together."),
    )
    return Table("Cost", columns, tuple((name, value, 100 * value / share) for name, value in seconds.items()))


def _warnings(run: TrainingRun) -> tuple[str, ...]:
    found = []
    setup = run.setup
    if setup.scenario.smoke:
        found.append("A smoke test: it shows that the scenario runs, and nothing else.")
    if setup.made_up:
        found.append(f"The data are made up ({setup.dataset.name}): nothing here is about the real ones.")
    for index in np.flatnonzero(run.diverged >= 0):
        found.append(
            f"{setup.members[index]}: training left the finite numbers by epoch {run.diverged[index]}; nothing was "
            "measured of it from then on."
        )
    if not setup.stacked and "losses" in run.records and fitted_at(run, 0) is None:
        found.append("The training error is not 0 at the end: neural collapse is not to be expected.")
    return tuple(found)


def _cell(value: float | np.floating) -> float | None:
    return float(value) if np.isfinite(value) else None
