"""An ensemble of block flows as labelled arrays: by member, and over the repeats of each combination of values."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ntkflow import scenario as schema
from ntkflow.collapse import CLASS_METRICS, METRICS
from ntkflow.experiments.ensemble_members import Members
from ntkflow.experiments.outcome import Variable, dataset, scenario_group
from ntkflow.flows import Ensemble
from ntkflow.kernels import EIGENSPACES

_ZERO_INVARIANT = 1e-8
_EQUAL_BIASES = 1e-3
"""Up to these numbers the predictions for E = 0 and equal biases are given."""

_NUMBERS: dict[str, str] = {
    "loss": "‖R‖²/(2Z)",
    **{name: METRICS[name] for name in CLASS_METRICS},
    "bias_mean": "mean of b over the outputs",
    "bias_spread": "standard deviation of b over the outputs",
    "weight_cosine": "mean cosine between two rows of W",
    "means_cosine": "mean cosine between two class means, not centred",
    "invariant_alignment": "cosine between WᵀW/m and the feature side of the invariant",
    "scatter_minimum": "smallest eigenvalue of the within-class scatter S, which follows from E, over ‖W‖²_F",
}
_AT_START: dict[str, str] = {
    "invariant_relative_norm": "‖E‖_F over the sum of the Frobenius norms of its two sides, at t = 0",
    "negative_directions": "negative eigenvalues of E, those below −1e-10 times the sum of the norms of its two sides",
}
_PREDICTED: dict[str, str] = {
    "predicted_weight_cosine": "cosine between two rows of W from the final mean bias, by (62) and (68) for E = 0 and "
    "equal biases; NaN where the member has another E or other biases",
    "predicted_means_cosine": "cosine between two class means from the final mean bias, by (66) and the corrected "
    "(68), under the same conditions",
}


def ensemble_tree(
    scenario: schema.FlowScenario,
    ensemble: schema.FlowEnsemble,
    members: Members,
    run: Ensemble,
    observed: dict[str, np.ndarray],
    z: str,
    text: str,
) -> xr.DataTree:
    """Groups theory (by member), combinations (means over the repeats) and scenario."""
    over_time = ("member", "time")
    variables: dict[str, Variable] = {
        "residual_norm": (
            (*over_time, "part"),
            observed["residual_norm"],
            "1",
            "Frobenius norm of the residual's part",
        ),
        **{name: (over_time, observed[name], "1", definition) for name, definition in _NUMBERS.items()},
        **{name: (("member",), observed[name][:, 0], "1", definition) for name, definition in _AT_START.items()},
        **_predictions(observed),
        "steps": (("member",), run.steps, "1", "steps that the solver took"),
        "failed": (("member",), run.failed, "1", "whether the solver gave up"),
        "combination": (("member",), members.combination, "1", "index of the member's combination of listed values"),
        "repeat": (("member",), members.repeat, "1", "index of the member's random numbers"),
        **{
            variable_name(key): (("member",), values, "1", f"{key} of the member")
            for key, values in members.values.items()
        },
    }
    labels = {"member": np.arange(run.members), "time": np.asarray(run.times), "part": list(EIGENSPACES)}
    theory = dataset(variables, labels)
    theory["time"].attrs.update(units=f"gradient-flow time ({z})", long_name="time since the initial state")
    theory.attrs.update(
        representation="invariant",
        solver=run.integration.method,
        choices="\n".join(run.choices) or "nothing was left to choose",
    )
    listed = {variable_name(item.key): item.key for item in ensemble.listed}
    return xr.DataTree.from_dict(
        {
            "/theory": theory,
            "/combinations": _combinations(theory, listed, scenario.problem.classes),
            "/scenario": scenario_group(kind="flow", name=scenario.name, seed=scenario.seed, loss_scale=z, text=text),
        }
    )


def _combinations(theory: xr.Dataset, keys: dict[str, str], classes: int) -> xr.Dataset:
    """Mean and standard error over the repeats of everything at the last time; members that failed do not count."""
    at_end = {
        **{name: theory[name].to_numpy()[:, -1] for name in _NUMBERS},
        "residual_norm_all": np.linalg.norm(theory["residual_norm"].to_numpy()[:, -1], axis=-1),
        **{name: theory[name].to_numpy() for name in (*_AT_START, *_PREDICTED)},
    }
    combination = theory["combination"].to_numpy()
    groups = [np.flatnonzero(combination == index) for index in range(combination.max() + 1)]
    said = {
        **_NUMBERS,
        "residual_norm_all": "Frobenius norm of the whole residual",
        **_AT_START,
        **_PREDICTED,
    }
    variables: dict[str, Variable] = {}
    for name, values in at_end.items():
        counted = [values[group][np.isfinite(values[group])] for group in groups]
        means = [kept.mean() if kept.size else np.nan for kept in counted]
        errors = [kept.std(ddof=1) / np.sqrt(kept.size) if kept.size > 1 else np.nan for kept in counted]
        when = "" if name in _AT_START else ", at the last time"
        variables[name] = (("combination",), np.asarray(means), "1", f"mean over the repeats{when}: {said[name]}")
        variables[f"{name}_standard_error"] = (
            ("combination",),
            np.asarray(errors),
            "1",
            f"standard error of the mean {name} over the repeats",
        )
    for name in keys:
        values = theory[name].to_numpy()
        variables[name] = (("combination",), np.asarray([values[group[0]] for group in groups]), "1", keys[name])
    good = ~theory["failed"].to_numpy().astype(bool)
    counts = np.asarray([good[group].sum() for group in groups])
    variables["members"] = (("combination",), counts, "1", "members that did not fail")
    combined = dataset(variables, {"combination": np.arange(len(groups))})
    combined.attrs.update(listed=" ".join(keys), classes=classes)
    return combined


def _predictions(observed: dict[str, np.ndarray]) -> dict[str, Variable]:
    balanced = observed["invariant_relative_norm"][:, 0] < _ZERO_INVARIANT
    applies = balanced & (observed["bias_spread"][:, -1] < _EQUAL_BIASES)
    return {
        name: (("member",), np.where(applies, observed[name][:, -1], np.nan), "1", definition)
        for name, definition in _PREDICTED.items()
    }


def variable_name(key: str) -> str:
    """What a varied key of the scenario is called in the results."""
    return key.replace(".", "_")
