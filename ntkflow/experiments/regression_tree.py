"""The stored arrays of a kernel regression."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ntkflow.experiments.outcome import Variable, dataset, scenario_group
from ntkflow.experiments.regression_run import Observed, RegressionRun, joined
from ntkflow.kernels import EIGENSPACES

_SETS = ["train", "test"]


def regression_tree(run: RegressionRun, text: str) -> xr.DataTree:
    """Groups ``theory`` (flow, limit, spectrum), ``descent`` where there is one, and ``scenario``."""
    scenario, unit = run.scenario, f"gradient-flow time ({run.z})"
    theory = dataset(
        {
            **_errors("time", run.at_times, "at each time of the gradient flow"),
            **{
                f"limit_{name}": (dimensions[1:], values[0], units, words)
                for name, (dimensions, values, units, words) in _errors("time", run.limit, "as t → ∞").items()
            },
            **_spectrum(run, unit),
            **_iterations(run),
            **_variances(run),
        },
        {
            "set": _SETS,
            "part": list(EIGENSPACES),
            **({} if run.flow is None else {"mode": np.arange(1, run.eigenvalues.size + 1)}),
        },
    ).assign_coords(time=("time", run.times, {"units": unit, "long_name": "gradient-flow time"}))
    groups = {
        "/theory": theory,
        "/scenario": scenario_group(
            kind="regression", name=scenario.name, seed=scenario.seed, loss_scale=run.z, text=text
        ),
    }
    if run.descent is not None:
        groups["/descent"] = dataset(
            {
                "time": (("step",), run.descent.times, unit, "gradient-flow time that the steps amount to"),
                **_errors("step", run.descent.observed, "after steps of gradient descent"),
            },
            {"set": _SETS, "part": list(EIGENSPACES), "step": run.descent.steps},
        )
    if run.depths:
        groups["/depths"] = dataset(
            _errors("hidden_layers", joined([one.limit for one in run.depths]), "as t → ∞"),
            {
                "set": _SETS,
                "part": list(EIGENSPACES),
                "hidden_layers": np.array([one.hidden_layers for one in run.depths]),
            },
        ).assign_attrs(test_samples=int(run.dataset.test_labels.size))
    return xr.DataTree.from_dict(groups)


def _spectrum(run: RegressionRun, unit: str) -> dict[str, Variable]:
    """Of a kernel by its eigenspaces; in one of low rank one mode is all that it does not see."""
    if run.flow is None:
        return {}
    largest_first = np.argsort(np.asarray(run.flow.kernel.eigenvalues))[::-1]
    return {
        "eigenvalue": (
            ("mode",),
            run.eigenvalues,
            "1",
            "eigenvalue of the kernel on the training samples, 0 where it is 0 up to rounding",
        ),
        "rate": (
            ("mode",),
            np.asarray(run.flow.rates)[largest_first],
            f"1 / {unit}",
            "rate of the mode, (eigenvalue + ridge)/Z",
        ),
        "target_share": (("mode",), run.energies, "1", "share of the mode in the squared norm of Y − f₀(X)"),
        "effective_rank": ((), np.asarray(run.effective_rank), "1", "exponential of the spectrum's entropy"),
    }


def _iterations(run: RegressionRun) -> dict[str, Variable]:
    """Of a kernel that was applied and not stored."""
    if run.iterations is None:
        return {}
    words = "bound on the root mean square over samples and outputs of the outputs' error by Lanczos' method"
    return {"output_error_bound": (("time", "set"), run.iterations.bounds, "1", f"{words}, at each time")}


def _variances(run: RegressionRun) -> dict[str, Variable]:
    """Of infinitely wide networks, over random starts."""
    if run.ensemble is None:
        return {}
    words = "variance of an output over random starts of an infinitely wide network, mean over samples"
    return {
        "ensemble_variance": (("time", "set"), run.ensemble.at_times, "1", f"{words}, at each time"),
        "limit_ensemble_variance": (("set",), run.ensemble.limit, "1", f"{words}, as t → ∞"),
    }


def _errors(axis: str, observed: Observed, when: str) -> dict[str, Variable]:
    return {
        "squared_error": (
            (axis, "set"),
            observed.squared_error,
            "1",
            f"mean over samples and outputs of the squared error {when}",
        ),
        "squared_error_se": (
            (axis, "set"),
            observed.squared_error_se,
            "1",
            f"standard error over samples of the mean squared error {when}",
        ),
        "accuracy": (
            (axis, "set"),
            observed.accuracy,
            "1",
            f"share of samples whose largest output is that of their class {when}",
        ),
        "loss": ((axis,), observed.loss, "1", f"loss on the training samples with the penalty {when}"),
        "residual_norm": ((axis, "part"), observed.norms, "1", f"norm of the part of the training residual {when}"),
    }
