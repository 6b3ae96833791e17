"""The stored arrays of a mean-field scenario."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from ntkflow.experiments.mean_field_run import Followed, MeanFieldRun
from ntkflow.experiments.outcome import Variable, dataset, scenario_group


def mean_field_tree(run: MeanFieldRun, text: str) -> xr.DataTree:
    """Groups ``plane``, ``profiles``, ``kernels``, ``limits`` and ``scenario``."""
    scenario, plane = run.scenario, run.plane
    network = np.arange(len(run.followed))
    correlations = np.array(scenario.correlations)

    def of(get: Callable[[Followed], object]) -> np.ndarray:
        return np.array([np.asarray(get(one)) for one in run.followed])

    def pairs(get: Callable[[Followed], object]) -> np.ndarray:
        """Without the data's correlation, which is last."""
        return of(get)[..., :-1]

    def alone(get: Callable[[Followed], object]) -> np.ndarray:
        """What is the same for every pair, since inputs have one norm."""
        return of(get)[..., 0]

    both, layers = ("network", "layer"), np.arange(1, scenario.depth + 1)
    return xr.DataTree.from_dict(
        {
            "/plane": dataset(
                {
                    "chi_1": (
                        ("sigma_w2", "sigma_b2"),
                        plane.chi_1,
                        "1",
                        "χ₁ = σ_w² E[φ'(u)²] at the limit of the variance with depth",
                    ),
                    "variance": (
                        ("sigma_w2", "sigma_b2"),
                        plane.variance,
                        "1",
                        "limit q* of the variance of pre-activations with depth, from q = 1; ∞ where it diverges",
                    ),
                    "edge": (
                        ("edge_sigma_b2",),
                        plane.edge,
                        "1",
                        "σ_w² with χ₁ = 1 at infinite depth; NaN where there is none",
                    ),
                    "edge_at_depth": (
                        ("edge_sigma_b2",),
                        plane.edge_at_depth,
                        "1",
                        f"σ_w² with a product of χ₁ over the hidden layers of depth {scenario.depth} of 1, for inputs "
                        "with ‖x‖² = input dimension",
                    ),
                },
                {"sigma_w2": plane.sigma_w2, "sigma_b2": plane.sigma_b2, "edge_sigma_b2": plane.edge_sigma_b2},
            ),
            "/profiles": dataset(
                {
                    "log_variance": (
                        both,
                        alone(lambda one: one.profile.log_variance_s),
                        "1",
                        "ln q, q the variance of pre-activations (paper 1, (5)), of inputs with ‖x‖² = input dimension",
                    ),
                    "correlation": (
                        (*both, "correlation_of_inputs"),
                        pairs(lambda one: one.profile.correlation),
                        "1",
                        "correlation c of the pre-activations of two inputs (paper 1, (7))",
                    ),
                    "gap": ((*both, "correlation_of_inputs"), pairs(lambda one: one.profile.gap), "1", "1 − c"),
                    "log_chi_1": (
                        ("network", "hidden_layer"),
                        alone(lambda one: one.profile.log_chi_s),
                        "1",
                        "ln χ₁ of the hidden layer (paper 1, before section 3)",
                    ),
                },
                {
                    "network": network,
                    "layer": layers,
                    "hidden_layer": layers[:-1],
                    "correlation_of_inputs": correlations,
                },
            ),
            "/kernels": dataset(
                {
                    "log_kappa_1": (
                        ("network", "depth"),
                        alone(lambda one: one.kernel.log_own_s - one.kernel.log_alpha[:, None])[:, 1:],
                        "1",
                        "ln κ₁ (paper 1, Lemma 2, constant widths α_l = 1, without gradients of biases)",
                    ),
                    "kernel_correlation": (
                        ("network", "depth", "correlation_of_inputs"),
                        pairs(lambda one: one.kernel.correlation)[:, 1:],
                        "1",
                        "κ₂/κ₁ of two inputs",
                    ),
                },
                {"network": network, "depth": layers[1:], "correlation_of_inputs": correlations},
            ),
            "/limits": dataset(_limits(run), {"network": network}),
            "/scenario": scenario_group(
                kind="mean_field", name=scenario.name, seed=scenario.seed, loss_scale=run.z, text=text
            ),
        }
    )


def _limits(run: MeanFieldRun) -> dict[str, Variable]:
    each = ("network",)

    def over(get: Callable[[Followed], float]) -> np.ndarray:
        return np.array([get(one) for one in run.followed], float)

    words = {
        "variance": "limit q* of the variance of pre-activations; 0 and ∞ are limits",
        "chi_1": "χ₁ at q*",
        "gap": "1 − c* of the correlation that pairs tend to; NaN where every correlation stays",
        "variance_length": "ξ_q, layers over which q − q* falls by e; NaN where q* is 0 or ∞",
        "correlation_length": "ξ_c, layers over which c − c* falls by e; ∞ where it falls like a power",
        "gradient_length": "1/|ln χ₁|, layers over which the variance of gradients changes by e",
        "trainability_depth": "6 ξ_c (Schoenholz et al. 2017); 6/|ln χ₁| where q* is 0 or ∞",
    }
    found: dict[str, Variable] = {
        name: (each, over(lambda one, name=name: getattr(one.limit, name)), "1", text) for name, text in words.items()
    }
    found["sigma_w2"] = (each, over(lambda one: one.sigma_w2), "1", "σ_w²")
    found["sigma_b2"] = (each, over(lambda one: one.sigma_b2), "1", "σ_b²")
    found["phase"] = (each, np.array([one.limit.phase for one in run.followed]), "1", "phase, by χ₁")
    found["step_limit"] = (
        each,
        over(lambda one: float("nan") if one.data_kernel is None else one.data_kernel.step_limit(run.loss_scale)),
        f"gradient-flow time ({run.z})",
        "2Z/λ_max of the kernel of the scenario's samples at the largest depth",
    )
    return found
