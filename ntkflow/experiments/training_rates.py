"""Decay rates of a training run's residual, fitted to its records, beside those that its measured Θ predicts."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ntkflow.comparison import FEWEST_RECORDS, WIDEST_WINDOW, DecayFit, Descent, fit_decay
from ntkflow.experiments.outcome import Variable, dataset
from ntkflow.experiments.training_run import TrainingRun
from ntkflow.kernels import EIGENSPACES
from ntkflow.training import SGD


def rates_group(run: TrainingRun) -> xr.Dataset | None:
    """Measured and predicted rates at every record, axes member, epoch, eigenspace.

    ``None`` where there is nothing to compare: without both records, with cross-entropy or Adam, whose training is no
    flow of the squared error, or with too few records.
    """
    setup = run.setup
    optimizer, groups = setup.recipe.optimizer, run.records
    measured = np.flatnonzero(run.record_epochs >= 0)
    if (
        not {"residuals", "block_values"} <= set(groups)
        or "rate" not in groups["block_values"]
        or not isinstance(optimizer, SGD)
        or len(measured) < FEWEST_RECORDS
    ):
        return None
    epochs, z = run.record_epochs[measured], setup.observed.objective.loss_scale
    norms = groups["residuals"]["residual_norm"][:, measured]
    flow = groups["block_values"]["rate"][:, measured]
    errors = groups["block_values"]["logit_eigenvalue_standard_error"][:, measured] / z
    floor = _floor(run)
    shape = flow.shape
    fits: dict[tuple[int, int, int], DecayFit] = {}
    predicted, predicted_errors = np.full(shape, np.nan), np.full(shape, np.nan)
    for member, one in enumerate(setup.members):
        times, sizes = setup.times(one)[epochs], setup.step_sizes(one)
        for part in range(3):
            for record in range(len(epochs)):
                fits[member, record, part] = fit_decay(times, norms[member, :, part], record, floor=floor)
        for record, epoch in enumerate(epochs):
            # The step that follows the record; after the last, the last one.
            eta = float(sizes[min(epoch, len(sizes) - 1)])
            descent = Descent(eta, optimizer.momentum, optimizer.nesterov)
            predicted[member, record] = descent.rate(flow[member, record])
            predicted_errors[member, record] = descent.rate_error(flow[member, record], errors[member, record])

    def of_fits(name: str) -> np.ndarray:
        values = [getattr(fits[place], name) for place in np.ndindex(*shape)]
        return np.asarray(values, dtype=float).reshape(shape)

    unit = f"gradient-flow time ({setup.z})"
    per = f"1 / {unit}"
    window = (
        f"a window of {FEWEST_RECORDS} to {WIDEST_WINDOW} records about this one, as wide as log‖R_e‖ is straight, "
        f"above {floor:.2g}"
    )
    definitions = {
        "measured": (of_fits("rate"), per, f"−d log‖R_e‖/dt by least squares over {window}"),
        "measured_standard_error": (of_fits("standard_error"), per, "its standard error, from the records' scatter"),
        "window_start": (of_fits("start"), unit, "first record of that window"),
        "window_end": (of_fits("end"), unit, "last record of that window"),
        "degrees": (of_fits("degrees"), "1", "degrees of freedom of that scatter: records of the window less 2"),
        "predicted": (
            predicted,
            per,
            "λ/Z of the block kernel nearest to the traced Θ (paper 3, (13)–(15)), as the optimiser's own map makes "
            "it: −log|ϱ|(1 − β)/η with the larger root ϱ of full-batch descent with momentum",
        ),
        "predicted_standard_error": (
            predicted_errors,
            per,
            "half the difference of what one standard error of λ to either side gives",
        ),
    }
    variables: dict[str, Variable] = {}
    for name, (values, units, what) in definitions.items():
        values, dims = (
            (values, ("member", "epoch", "eigenspace")) if setup.stacked else (values[0], ("epoch", "eigenspace"))
        )
        variables[name] = (dims, values, units, what)
    return dataset(variables, {"eigenspace": list(EIGENSPACES)})


def _floor(run: TrainingRun) -> float:
    """What rounding of the logits leaves of ‖R‖: 10 times the precision of training times ‖Y‖."""
    targets = np.asarray(run.setup.observed.target_matrix, dtype=float)
    return 10 * float(np.finfo(run.setup.scenario.training.precision).eps) * float(np.linalg.norm(targets))
