"""The stored arrays of a plane of networks."""

from __future__ import annotations

import numpy as np
import xarray as xr

from ntkflow.experiments.kernel_change_run import KernelChangeRun
from ntkflow.experiments.outcome import dataset, scenario_group

ENDS = "0: the limit on steps; 1: the loss fell too little for too long; 2: the loss left the finite numbers"
CHANGE = "‖Θᵗ − Θ⁰‖_F/‖Θ⁰‖_F"
KERNELS = {
    "traced": "Θ = Σ_k Θ_kk over the outputs k, N×N, on the training samples",
    "all_pairs": "Θ_ks of all pairs of outputs, NC×NC, on the training samples",
}


def kernel_change_tree(run: KernelChangeRun, text: str) -> xr.DataTree:
    """Groups ``plane``, ``theory`` (where gradients neither vanish nor explode) and ``scenario``."""
    scenario, found = run.scenario, run.found
    each = ("width", "depth", "sigma_w2", "seed")
    kernel = KERNELS[scenario.kernel]
    plane = dataset(
        {
            "change": (
                (*each, "step"),
                found["change"][..., :-1],
                "1",
                f"{CHANGE} after so many steps, or at the end of a training that ended before; {kernel}; NaN where it "
                "had diverged",
            ),
            "final_change": (
                each,
                found["change"][..., -1],
                "1",
                f"{CHANGE} at the end; {kernel}; NaN where it diverged",
            ),
            "initial_loss": (each, found["initial_loss"], "1", "‖R‖²/(2Z) before the first step"),
            "minimal_loss": (each, found["least_loss"], "1", "smallest finite ‖R‖²/(2Z) of all steps"),
            "steps": (each, found["steps"], "1", "steps taken"),
            "end": (each, found["end"], "1", f"why training ended; {ENDS}"),
            "step_limit": (
                each,
                found["step_limit"],
                f"gradient-flow time ({run.z})",
                "2Z/λ_max of Θ of all pairs of outputs at the start: the largest stable step of the linearisation",
            ),
        },
        {
            "width": np.array(scenario.widths),
            "depth": np.array(scenario.depths),
            "sigma_w2": np.array(scenario.sigma_w2),
            "seed": np.arange(scenario.seeds),
            "step": np.array(scenario.measured_steps, dtype=int),
        },
    )
    if not scenario.measured_steps:
        plane = plane.drop_vars(["change", "step"])
    plane.attrs = {"activation": scenario.network.activation, "sigma_b2": scenario.network.sigma_b2}
    plane.attrs |= {"step_size": scenario.step_size, "steps": scenario.steps}
    border = np.array(np.nan if run.border is None else run.border)
    return xr.DataTree.from_dict(
        {
            "/plane": plane,
            "/theory": dataset(
                {
                    "border": (
                        (),
                        border,
                        "1",
                        "σ_w² at which χ₁ = σ_w² E[φ'(√q z)²] is 1, q at its fixed point; NaN if there is none",
                    )
                },
                {},
            ),
            "/scenario": scenario_group(
                kind="kernel_change", name=scenario.name, seed=scenario.seed, loss_scale=run.z, text=text
            ),
        }
    )
