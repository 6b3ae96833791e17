"""The stored arrays of a study of dispersion."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import xarray as xr

from ntkflow.experiments.dispersion_run import DispersionRun
from ntkflow.experiments.outcome import Variable, dataset, scenario_group
from ntkflow.experiments.regression_kernel import dual_of
from ntkflow.initialization import edge_of_chaos

Z = "Z = 1"
"""Of the only loss here, (f − y)²/2 of the first step."""
MEANINGS = {
    "exact": "E Θ(x, x)²/E² Θ(x, x) from the exact moments at these widths (relu, σ_b = 0)",
    "published": "the same from the moments of paper 2's lemmas, without their O(M^(-3/2)) a layer",
    "limit": "its limit for M → ∞ at this L/M, derived again",
    "published_limit": "the limit as printed in paper 2, (8)–(10)",
    "dispersion": "E Θ²/E² Θ estimated from random networks, jackknife",
    "standard_error": "its bootstrap standard error",
    "lower": "lower end of its 95 % bootstrap-t interval",
    "upper": "upper end of its 95 % bootstrap-t interval",
    "samples": "networks drawn",
    "largest_share": "the largest Θ² over the sum of all: above 0.1 the estimate is not to be believed",
    "samples_needed": "networks for a relative standard error of 10 %, were ln|Θ| normal with its sample variance",
    "ratio": "mean Θ(x, x̃) over mean Θ(x, x)",
    "ratio_standard_error": "its standard error",
}


def dispersion_tree(run: DispersionRun, text: str) -> xr.DataTree:
    """Groups ``theory``, ``networks`` where there are any, and ``scenario``."""
    scenario = run.scenario
    point = ("architecture", "point")
    grid = ("architecture", "input_to_width", "point", "sigma_w_squared")
    size = np.array([item.mean_width for item in scenario.architectures])
    theory: dict[str, Variable] = {
        "depth": (point, run.depths, "1", "L, weight matrices"),
        "depth_to_width": (point, run.depths / size[:, None], "1", "λ = L/M, M the mean width of a line of widths"),
        "edge_of_chaos": (
            ("sigma_b_squared",),
            np.asarray(edge_of_chaos(dual_of(scenario.activation), jnp.sqrt(jnp.array(scenario.sigma_b_squared)))),
            "1",
            "σ_w² with χ₁ = 1 at infinite width and depth; NaN if there is none",
        ),
        "mean_width": (("architecture",), size, "1", "M"),
        **{name: (grid, run.formulas[name], "1", MEANINGS[name]) for name in MEANINGS if name in run.formulas},
        "first_step": (
            grid,
            run.formulas["first_step"],
            f"ln of 1 per gradient-flow time ({Z})",
            "ln(−E ΔΘ(x, x)/(η E Θ(x, x))) of the first gradient step on x, to first order in η",
        ),
        "off_diagonal_ratio": (
            (*grid[:2], "cosine", *grid[2:]),
            run.ratio,
            "1",
            "E Θ(x, x̃)/E Θ(x, x) with the angles of infinite width",
        ),
    }
    coordinates = {
        "architecture": [architecture_name(item.width, item.first, item.last) for item in scenario.architectures],
        "input_to_width": np.array(scenario.input_to_width),
        "sigma_b_squared": np.array(scenario.sigma_b_squared),
        "cosine": np.array(scenario.cosines),
        "sigma_w_squared": np.array(scenario.sigma_w_squared),
    }
    groups = {
        "/theory": dataset(theory, coordinates),
        "/scenario": scenario_group(
            kind="dispersion", name=scenario.name, seed=scenario.seed, loss_scale=Z, text=text
        ).assign_attrs(activation=scenario.activation),
    }
    if run.measured is not None:
        axes = ("architecture", "input_to_width", "sigma_b_squared", "cosine", "point", "sigma_w_squared")
        groups["/networks"] = dataset(
            {name: (axes, values, "1", MEANINGS[name]) for name, values in run.measured.items()}, coordinates
        )
    return xr.DataTree.from_dict(groups)


def architecture_name(width: int | None, first: int | None, last: int | None) -> str:
    """As in figures and tables."""
    return f"M = {width}" if width is not None else f"{first} → {last}"
