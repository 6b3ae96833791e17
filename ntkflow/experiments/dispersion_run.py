"""What a study of dispersion computes: formulas on a grid, and random networks at its points, kept as they come."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np

from ntkflow import scenario as schema
from ntkflow.initialization import (
    DispersionEstimate,
    dispersion_limit,
    draw_ntk,
    estimate_dispersion,
    expected_first_step,
    ntk_moments,
    off_diagonal_ratio,
    published_dispersion_limit,
    published_moments,
)
from ntkflow.initialization.monte_carlo import ROUND
from ntkflow.progress import Progress
from ntkflow.results.atomic import write_bytes

MEASURED = (
    "dispersion",
    "standard_error",
    "lower",
    "upper",
    "samples",
    "largest_share",
    "samples_needed",
    "ratio",
    "ratio_standard_error",
)
FORMULAS = ("exact", "published", "limit", "published_limit", "first_step")
_KEPT = "points.json"


@dataclasses.dataclass(frozen=True)
class DispersionRun:
    """Everything that a study found; axes as in the scenario, the last two depth and σ_w².

    Attributes:
        scenario: what was asked for.
        depths: L, (architecture, point).
        formulas: by name, (architecture, input_to_width, point, sigma_w_squared); NaN where none holds.
        ratio: E Θ(x, x̃)/E Θ(x, x) at infinite width, with the cosine after input_to_width.
        measured: by name, (architecture, input_to_width, sigma_b_squared, cosine, point, sigma_w_squared); or None.
    """

    scenario: schema.DispersionScenario
    depths: np.ndarray
    formulas: dict[str, np.ndarray]
    ratio: np.ndarray
    measured: dict[str, np.ndarray] | None


def run_grid(scenario: schema.DispersionScenario, *, checkpoints: Path | None, progress: Progress) -> DispersionRun:
    """Formulas at all points, then networks point by point; points that ``checkpoints`` holds are not drawn again."""
    depths = np.array([scenario.depths_of(item) for item in scenario.architectures])
    sigmas = np.sqrt(np.array(scenario.sigma_w_squared))
    shape = (len(depths), len(scenario.input_to_width), depths.shape[1], len(sigmas))
    formulas = {name: np.full(shape, np.nan) for name in FORMULAS}
    ratio = np.full((*shape[:2], len(scenario.cosines), *shape[2:]), np.nan)
    if scenario.activation == "relu":
        for index, (item, share, widths) in enumerate(_points(scenario, depths)):
            _formulas(scenario, formulas, ratio, np.unravel_index(index, shape[:3]), item, share, widths, sigmas)
            progress("formulas", index + 1, int(np.prod(shape[:3])))
    measured = None if scenario.monte_carlo is None else _measured(scenario, depths, sigmas, checkpoints, progress)
    return DispersionRun(scenario, depths, formulas, ratio, measured)


def _points(
    scenario: schema.DispersionScenario, depths: np.ndarray
) -> list[tuple[schema.Architecture, float, tuple[int, ...]]]:
    return [
        (item, share, item.widths(int(depth), share))
        for item, row in zip(scenario.architectures, depths, strict=True)
        for share in scenario.input_to_width
        for depth in row
    ]


def _formulas(
    scenario: schema.DispersionScenario,
    formulas: dict[str, np.ndarray],
    ratio: np.ndarray,
    place: tuple[np.intp, ...],
    item: schema.Architecture,
    share: float,
    widths: tuple[int, ...],
    sigmas: np.ndarray,
) -> None:
    formulas["exact"][place] = ntk_moments(widths, sigmas).dispersion
    formulas["published"][place] = published_moments(widths, sigmas).dispersion
    formulas["first_step"][place] = expected_first_step(widths, sigmas).log_relative_rate
    which, over, point = place
    for index, sigma in enumerate(sigmas):
        if item.width is not None:
            where, size = len(widths) / item.width, {"input_to_width": share}
            formulas["limit"][(*place, index)] = dispersion_limit(where, float(sigma), **size)
            formulas["published_limit"][(*place, index)] = published_dispersion_limit(where, float(sigma), **size)
        for angle, cosine in enumerate(scenario.cosines):
            ratio[which, over, angle, point, index] = off_diagonal_ratio(widths, float(sigma), cosine)


def _measured(
    scenario: schema.DispersionScenario,
    depths: np.ndarray,
    sigmas: np.ndarray,
    checkpoints: Path | None,
    progress: Progress,
) -> dict[str, np.ndarray]:
    axes = [
        range(len(depths)),
        range(len(scenario.input_to_width)),
        range(len(scenario.sigma_b_squared)),
        range(len(scenario.cosines)),
        range(depths.shape[1]),
    ]
    shape = tuple(len(axis) for axis in axes)
    found = {name: np.full((*shape, len(sigmas)), np.nan) for name in MEASURED}
    kept = _read(checkpoints)
    total = int(np.prod(shape))
    for done, place in enumerate(itertools.product(*axes)):
        progress("networks", done, total)
        name = "-".join(map(str, place))
        if name not in kept:
            kept[name] = _point(scenario, depths, sigmas, place)
            if checkpoints is not None:
                checkpoints.mkdir(parents=True, exist_ok=True)
                write_bytes(checkpoints / _KEPT, json.dumps(kept).encode())
        for key, values in kept[name].items():
            found[key][place] = values
    progress("networks", total, total)
    return found


def _read(checkpoints: Path | None) -> dict[str, dict[str, list[float]]]:
    """Points of a stopped run; the folder belongs to the same scenario. A damaged file is as good as none."""
    try:
        return {} if checkpoints is None else json.loads((checkpoints / _KEPT).read_text())
    except (OSError, ValueError):
        return {}


def _point(
    scenario: schema.DispersionScenario, depths: np.ndarray, sigmas: np.ndarray, place: tuple[int, ...]
) -> dict[str, list[float]]:
    """Estimates for all σ_w at one point."""
    which, over, bias, angle, point = place
    asked = scenario.monte_carlo
    assert asked is not None
    item, cosine = scenario.architectures[which], scenario.cosines[angle]
    widths = item.widths(int(depths[which, point]), scenario.input_to_width[over])
    rows = zip(scenario.architectures, depths, strict=True)
    widest = max(max(item.widths(int(row.max()), 1.0)) for item, row in rows)
    element = 0 if cosine == 1 else 1
    logs: list[np.ndarray] = []
    signs: list[np.ndarray] = []
    drawn = 0
    while True:
        count = asked.samples - drawn if asked.precision is None else min(ROUND, asked.samples - drawn)
        more = draw_ntk(
            widths,
            sigmas,
            sigma_b=scenario.sigma_b_squared[bias] ** 0.5,
            activation=scenario.activation,
            cosine=None if cosine == 1 else cosine,
            draws=count,
            seed=scenario.seed,
            first=drawn,
            longest=int(depths.max()),
            widest=widest,
        )
        logs.append(more.logs)
        signs.append(more.signs)
        drawn += count
        all_logs, all_signs = np.concatenate(logs), np.concatenate(signs)
        estimates = [
            estimate_dispersion(
                all_logs[:, index, element],
                all_signs[:, index, element],
                seed=scenario.seed,
            )
            for index in range(len(sigmas))
        ]
        if drawn >= asked.samples or asked.precision is None or _enough(estimates, asked.precision):
            break
    ratios = [(1.0, 0.0) if cosine == 1 else _ratio(all_logs[:, i], all_signs[:, i]) for i in range(len(sigmas))]
    return {
        "dispersion": [item.value for item in estimates],
        "standard_error": [item.standard_error for item in estimates],
        "lower": [item.interval[0] for item in estimates],
        "upper": [item.interval[1] for item in estimates],
        "samples": [float(item.samples) for item in estimates],
        "largest_share": [item.largest_share for item in estimates],
        "samples_needed": [item.samples_needed for item in estimates],
        "ratio": [value for value, _ in ratios],
        "ratio_standard_error": [error for _, error in ratios],
    }


def _enough(estimates: list[DispersionEstimate], precision: float) -> bool:
    return all(item.reliable and item.standard_error <= precision * item.value for item in estimates)


def _ratio(logs: np.ndarray, signs: np.ndarray) -> tuple[float, float]:
    """Mean Θ(x, x̃) over the mean of Θ(x, x) and Θ(x̃, x̃), with the standard error of a ratio of means."""
    values = signs * np.exp(logs - logs.max())
    off, own = values[:, 1], (values[:, 0] + values[:, 2]) / 2
    ratio = off.mean() / own.mean()
    return float(ratio), float(np.std(off - ratio * own, ddof=1) / own.mean() / np.sqrt(len(off)))
