"""The stored arrays of a study of widths."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ntkflow.experiments.outcome import dataset, scenario_group
from ntkflow.experiments.width_run import CORNER, DISTANCES, WidthRun


def width_tree(run: WidthRun, text: str) -> xr.DataTree:
    """Groups ``networks``, ``theory`` (infinite width), ``fits`` and ``scenario``."""
    scenario, unit = run.scenario, f"gradient-flow time ({run.z})"
    each = ("width", "seed")

    def over(name: str) -> np.ndarray:
        return np.array([[getattr(one, name) for one in row] for row in run.finite])

    networks = dataset(
        {
            **{name: (each, run.distances(name), "1", words) for name, words in DISTANCES.items()},
            "squared_error": (
                (*each, "samples", "step"),
                over("squared_error"),
                "1",
                "mean over samples and outputs of the squared error",
            ),
            "linear_squared_error": (
                (*each, "samples", "step"),
                over("linear_squared_error"),
                "1",
                "the same of the network's linearisation at the start",
            ),
            "accuracy": (
                (*each, "step"),
                over("accuracy"),
                "1",
                "share of test samples whose largest output is that of their class",
            ),
            "linear_accuracy": (
                each,
                over("linear_accuracy"),
                "1",
                "the same of the network's linearisation at the start, after the last step",
            ),
            "kernel_accuracy": (
                each,
                over("kernel_accuracy"),
                "1",
                "the same of kernel regression by the network's kernel at the start, from outputs 0",
            ),
            "weights": (
                ("end", "moment", "row", "column"),
                np.stack([_padded(row[0].weights) for row in (run.finite[0], run.finite[-1])]),
                "1",
                "a corner of the last hidden layer's W, before and after training, first seed of the smallest and the "
                "largest width; NaN beyond a small one",
            ),
        },
        {
            "width": np.array(scenario.widths),
            "seed": np.arange(scenario.seeds),
            "step": run.steps,
            "samples": ["training", "test"],
            "end": ["smallest width", "largest width"],
            "moment": ["before", "after"],
        },
    )
    laws = [run.laws[name] for name in DISTANCES]
    return xr.DataTree.from_dict(
        {
            "/networks": networks,
            "/theory": dataset(
                {
                    "time": (("step",), scenario.step_size * run.steps, unit, "step size times steps"),
                    "squared_error": (
                        ("samples", "step"),
                        run.infinite.squared_error,
                        "1",
                        "mean over samples and outputs of the squared error of the mean of networks of infinite width",
                    ),
                    "ensemble_variance": (
                        ("samples", "step"),
                        run.infinite.variance,
                        "1",
                        "variance of an output over random starts at infinite width, mean over samples",
                    ),
                    "accuracy": (("step",), run.infinite.accuracy, "1", "accuracy of the mean on the test samples"),
                },
                {"samples": ["training", "test"], "step": run.steps},
            ),
            "/fits": dataset(
                {
                    "exponent": (("distance",), np.array([law.exponent for law in laws]), "1", "p of c·widthᵖ"),
                    "exponent_standard_error": (
                        ("distance",),
                        np.array([law.standard_error for law in laws]),
                        "1",
                        "standard error of p",
                    ),
                    "exponent_interval": (
                        ("distance", "bound"),
                        np.array([law.interval for law in laws]),
                        "1",
                        "95 % interval of p, Student's t over all networks",
                    ),
                    "factor": (("distance",), np.array([law.factor for law in laws]), "1", "c of c·widthᵖ"),
                    "curvature": (
                        ("distance",),
                        np.array([law.curvature for law in laws]),
                        "1",
                        "p over the upper half of the widths less p over the lower half",
                    ),
                },
                {"distance": list(DISTANCES), "bound": ["lower", "upper"]},
            ),
            "/scenario": scenario_group(
                kind="width", name=scenario.name, seed=scenario.seed, loss_scale=run.z, text=text
            ),
        }
    )


def _padded(weights: np.ndarray) -> np.ndarray:
    """A corner in the size of the largest one."""
    full = np.full((2, CORNER, CORNER), np.nan)
    full[:, : weights.shape[1], : weights.shape[2]] = weights
    return full
