"""A comparison as labelled arrays: the groups theory, training, comparison and scenario of its results file."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from ntkflow.collapse import METRICS
from ntkflow.comparison import LADDER, RUNGS, Ladder, Model, SnapshotComparison
from ntkflow.experiments.compared_run import ComparedRun
from ntkflow.experiments.outcome import Variable, dataset, scenario_group
from ntkflow.kernels import BLOCK_VALUES, EIGENSPACES
from ntkflow.training import History, KernelMeasurement, Snapshot


def comparison_tree(
    run: ComparedRun, snapshots: Sequence[Snapshot], comparisons: Sequence[SnapshotComparison]
) -> xr.DataTree:
    """Everything a later question could be about, with dimensions, units and long names.

    Args:
        run: what was run.
        snapshots: all measured moments, the end of training last.
        comparisons: one for each snapshot but the last.
    """
    unit = f"gradient-flow time ({run.z})"
    labels = [item.snapshot.label for item in comparisons]
    models: list[Model] = [*run.forecast.models]
    return xr.DataTree.from_dict(
        {
            "/training": _training(run.history, snapshots, unit),
            "/theory": _theory(comparisons, labels, models, unit),
            "/comparison": _comparison(comparisons, labels, models, [item.label for item in snapshots], unit),
            **_ladder(comparisons, labels, models, unit),
            "/scenario": scenario_group(kind=run.kind, name=run.name, seed=run.seed, loss_scale=run.z, text=run.text),
        }
    )


def _training(history: History, snapshots: Sequence[Snapshot], unit: str) -> xr.Dataset:
    def over(value: Callable[[Snapshot], object]) -> np.ndarray:
        return np.stack([np.asarray(value(snapshot)) for snapshot in snapshots])

    variables: dict[str, Variable] = {
        "residual_norm": (("norm_time", "part"), history.norms, "1", "Frobenius norm of the residual's part"),
        "residual": (("time", "output", "sample"), history.residuals, "1", "R = f(X) − Y, samples sorted by class"),
        "moment_time": (("moment",), over(lambda item: item.time), unit, "time of the measured moment"),
        "features": (
            ("moment", "feature", "sample"),
            over(lambda item: item.state.features),
            "1",
            "H, last-layer features",
        ),
        "weight": (("moment", "output", "feature"), over(lambda item: item.state.weight), "1", "W"),
        "bias": (("moment", "output"), over(lambda item: item.state.bias), "1", "b"),
        "step_limit": (
            ("moment",),
            over(lambda item: item.step_limit),
            unit,
            "2Z/λ_max(Θ) over all outputs and samples",
        ),
        "train_accuracy": (("moment",), over(lambda item: item.train_accuracy), "1", "training accuracy"),
        "test_accuracy": (("moment",), over(lambda item: item.test_accuracy), "1", "test accuracy"),
        "invariant_norm": (("moment",), over(lambda item: item.invariant.norm), "1", "‖E‖_F, paper 3 (26)"),
        "invariant_relative_norm": (
            ("moment",),
            over(lambda item: item.invariant.norm / item.invariant.scale),
            "1",
            "‖E‖_F over the sum of the norms of its two sides",
        ),
        "invariant_alignment": (
            ("moment",),
            over(lambda item: item.invariant.alignment),
            "1",
            "cosine between WᵀW/m and the feature side of the invariant",
        ),
        **{
            name: (("moment",), over(lambda item, name=name: item.metrics[name]), "1", definition)
            for name, definition in METRICS.items()
        },
        **_kernel_variables("logit", "Θ", [item.logit_kernel for item in snapshots if item.logit_kernel is not None]),
        **_kernel_variables("feature", "Θʰ", [item.feature_kernel for item in snapshots]),
    }
    if history.steps is not None:
        variables["step"] = (("time",), history.steps, "1", "gradient-descent step")
    group = dataset(
        variables,
        {
            "norm_time": history.norm_times,
            "time": history.times,
            "part": list(EIGENSPACES),
            "moment": [item.label for item in snapshots],
            "block_value": list(BLOCK_VALUES),
        },
    )
    for name in ("norm_time", "time"):
        group[name].attrs.update(units=unit, long_name="gradient-flow time")
    return group


def _kernel_variables(name: str, symbol: str, measured: Sequence[KernelMeasurement]) -> dict[str, Variable]:
    """None where no such kernel is known."""
    if not measured:
        return {}
    traced = f"the mean over its outputs p of {symbol}_(p,p)"
    return {
        f"{name}_kernel": (
            ("moment", "sample", "sample_2"),
            np.stack([item.traced for item in measured]),
            "1",
            f"traced {symbol}: {traced}",
        ),
        f"{name}_block_value": (
            ("moment", "block_value"),
            np.stack([item.block.values for item in measured]),
            "1",
            f"block values of traced {symbol}: means over the diagonal, pairs of one class, pairs of two classes",
        ),
        f"{name}_block_standard_error": (
            ("moment", "block_value"),
            np.stack([item.block.standard_errors for item in measured]),
            "1",
            "standard error of the block values, jackknife over samples within their class",
        ),
        f"{name}_block_spread": (
            ("moment", "block_value"),
            np.stack([item.spread for item in measured]),
            "1",
            f"standard deviation over p of the block values of {symbol}_(p,p)",
        ),
        f"{name}_alignment": (
            ("moment",),
            np.array([item.alignment for item in measured]),
            "1",
            f"alignment of traced {symbol} with YᵀY over all pairs, the diagonal included, thesis (2.63)",
        ),
        f"{name}_block_share": (
            ("moment",),
            np.array([item.block_share for item in measured]),
            "1",
            f"share of ‖traced {symbol}‖²_F that its nearest block kernel has",
        ),
    }


def _padded(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays of different length stacked, NaN where the shorter ones end."""
    longest = max(len(array) for array in arrays)
    padded = np.full((len(arrays), longest, *arrays[0].shape[1:]), np.nan)
    for index, array in enumerate(arrays):
        padded[index, : len(array)] = array
    return padded


def _per_model(comparisons: Sequence[SnapshotComparison], value: Callable[[SnapshotComparison], list[np.ndarray]]):  # noqa: ANN202
    """(snapshot, model, point, …) from a value that gives one array over points for each model."""
    return _padded([np.stack(value(item), axis=1) for item in comparisons]).swapaxes(1, 2)


def _theory(comparisons: Sequence[SnapshotComparison], labels: list[str], models: list[Model], unit: str) -> xr.Dataset:
    return dataset(
        {
            "snapshot_time": (
                ("snapshot",),
                np.array([item.snapshot.time for item in comparisons]),
                unit,
                "start of forecasts",
            ),
            "forecast_time": (
                ("snapshot", "point"),
                _padded([item.times for item in comparisons]),
                unit,
                "times compared at; NaN where a snapshot has fewer",
            ),
            "forecast_norm": (
                ("snapshot", "model", "point", "part"),
                _per_model(comparisons, lambda item: [made.norms for made in item.forecasts.values()]),
                "1",
                "forecast Frobenius norm of the residual's part",
            ),
            "forecast_loss": (
                ("snapshot", "model", "point"),
                _per_model(comparisons, lambda item: [made.losses for made in item.forecasts.values()]),
                "1",
                "forecast loss ‖R‖²/(2Z)",
            ),
            **{
                f"forecast_{name}": (
                    ("snapshot", "model", "point"),
                    _per_model(comparisons, lambda item, name=name: _metric(item, name)),
                    "1",
                    f"forecast of: {definition} NaN for models without features",
                )
                for name, definition in METRICS.items()
            },
            "model_title": (("model",), np.array([RUNGS[model].title for model in models]), "1", "name of the model"),
            "rate_block": (
                ("snapshot", "part"),
                np.stack([item.rates.block for item in comparisons]),
                f"1 / {unit}",
                "decay rate r = λ/Z from the nearest block kernel of Θ; for gradient descent −log|1 − ηr|/η",
            ),
            "rate_block_standard_error": (
                ("snapshot", "part"),
                np.stack([item.rates.block_errors for item in comparisons]),
                f"1 / {unit}",
                "its standard error, jackknife over samples within their class",
            ),
            "rate_whole": (
                ("snapshot", "part"),
                np.stack([item.rates.whole for item in comparisons]),
                f"1 / {unit}",
                "decay rate r = ⟨R_e, (ΘR)_e⟩/(Z‖R_e‖²) under the whole Θ; for gradient descent −log|1 − ηr|/η",
            ),
        },
        {"snapshot": labels, "model": models, "part": list(EIGENSPACES)},
    )


def _comparison(
    comparisons: Sequence[SnapshotComparison], labels: list[str], models: list[Model], moments: list[str], unit: str
) -> xr.Dataset:
    def measured(name: str) -> np.ndarray:
        return np.array([[getattr(rate, name) for rate in item.rates.measured] for item in comparisons])

    def error(name: str) -> np.ndarray:
        return _per_model(comparisons, lambda item: [getattr(one, name) for one in item.errors.values()])

    dimensions = ("snapshot", "model", "point", "part")
    return dataset(
        {
            "real_norm": (
                ("snapshot", "point", "part"),
                _padded([item.real_norms for item in comparisons]),
                "1",
                "real Frobenius norm of the residual's part at the forecast's times",
            ),
            "rate_measured": (
                ("snapshot", "part"),
                measured("value"),
                f"1 / {unit}",
                "decay rate fitted to the real run",
            ),
            "rate_measured_curvature": (
                ("snapshot", "part"),
                measured("curvature"),
                f"1 / {unit}",
                "half the difference between the slopes of the fitting window's halves",
            ),
            "rate_window_end": (("snapshot", "part"), measured("end"), unit, "end of the fitting window"),
            "norm_error": (dimensions, error("norm_errors"), "1", "|‖R_e‖ forecast − ‖R_e‖ real| / ‖R_e‖ real"),
            "share_error": (dimensions, error("share_errors"), "1", "|‖R_e‖ forecast − ‖R_e‖ real| / ‖R‖ real"),
            "total_error": (dimensions[:-1], error("total_errors"), "1", "|‖R‖ forecast − ‖R‖ real| / ‖R‖ real"),
            "vector_error": (dimensions, error("vector_errors"), "1", "‖R_e forecast − R_e real‖ / ‖R_e‖ real"),
            "e_fold_time": (
                ("snapshot", "part"),
                np.stack([next(iter(item.errors.values())).e_folds for item in comparisons]),
                unit,
                "time after the snapshot until the real part has fallen to 1/e; inf if it only falls by 10 %, else NaN",
            ),
            "judged_time": (
                ("snapshot",),
                np.array([next(iter(item.errors.values())).duration for item in comparisons]),
                unit,
                "time after the snapshot that the summary judges forecasts for: the slowest moving part's e-fold",
            ),
            "reliable_horizon": (
                ("snapshot", "model", "part"),
                np.stack([[one.horizons for one in item.errors.values()] for item in comparisons]),
                unit,
                "time after the snapshot until norm_error first passes 10 %; inf if it does not",
            ),
            "state_error": (
                ("snapshot", "model", "moment", "variable"),
                _state_errors(comparisons, models, len(moments)),
                "1",
                "‖X forecast − X real‖ / ‖X real‖ at the snapshots that follow; NaN before and beyond the horizon",
            ),
        },
        {
            "snapshot": labels,
            "model": models,
            "part": list(EIGENSPACES),
            "moment": moments,
            "variable": ["features", "weight", "bias"],
        },
    )


def _metric(item: SnapshotComparison, name: str) -> list[np.ndarray]:
    return [made.metrics.get(name, np.full(len(item.times), np.nan)) for made in item.forecasts.values()]


def _state_errors(comparisons: Sequence[SnapshotComparison], models: list[Model], moments: int) -> np.ndarray:
    found = np.full((len(comparisons), len(models), moments, 3), np.nan)
    for index, item in enumerate(comparisons):
        for model, errors in item.state_errors.items():
            found[index, models.index(model), moments - len(errors) :] = errors
    return found


def _ladder(
    comparisons: Sequence[SnapshotComparison], labels: list[str], models: list[Model], unit: str
) -> dict[str, xr.Dataset]:
    """The group of the ladder, if there is one."""
    rungs: list[Model] = [model for model in LADDER if model in models]
    if len(rungs) < 2:
        return {}

    def of_each(value: Callable[[Ladder], object], *shape: int) -> np.ndarray:
        return np.stack(
            [np.full(shape, np.nan) if item.ladder is None else np.asarray(value(item.ladder)) for item in comparisons]
        )

    part = [EIGENSPACES[item.ladder.part] if item.ladder is not None else "" for item in comparisons]
    each, dimensions = len(rungs), ("snapshot", "rung")
    group = dataset(
        {
            "ladder_part": (("snapshot",), np.array(part), "1", "part of the residual that is judged: the slowest"),
            "ladder_time": (("snapshot",), of_each(lambda item: item.time), unit, "time after the snapshot"),
            "log_ratio": (
                dimensions,
                of_each(lambda item: item.log_ratios, each),
                "1",
                "log(‖R_e‖ forecast / ‖R_e‖ real) of the judged part at that time",
            ),
            "added": (
                dimensions,
                of_each(lambda item: item.added, each),
                "1",
                "log_ratio less that of the rung before; the first, its own",
            ),
            "share": (
                dimensions,
                of_each(lambda item: item.shares, each),
                "1",
                "added over the last rung's log_ratio: they sum to 1; negative where an assumption mends the error",
            ),
            "moved": (
                dimensions,
                of_each(lambda item: item.moved, each),
                "1",
                "‖R_e − R_e of the rung before‖ / ‖R_e‖ real; of the first, its distance from the real one",
            ),
            "rung_title": (("rung",), np.array([RUNGS[model].title for model in rungs]), "1", "name of the model"),
        },
        {"snapshot": labels, "rung": rungs},
    )
    return {"/ladder": group}
