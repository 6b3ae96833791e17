"""The `residuals` kind: three eigenspaces under a constant block kernel, steps and flow in closed form."""

from __future__ import annotations

import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from ntkflow import scenario as schema
from ntkflow.experiments.outcome import Outcome, dataset, scenario_group
from ntkflow.experiments.settings import block_kernel, named_key
from ntkflow.flows import ResidualFlow, describe_loss_scale, loss_scale_value
from ntkflow.kernels import EIGENSPACES, BlockKernel, split_eigenspaces
from ntkflow.progress import Progress
from ntkflow.report import residuals_drawings
from ntkflow.results import Column, Quantity, Summary, Table

_POINTS = 200
"""Steps stored of each run, so many evenly and so many logarithmically spaced; closed forms need no others."""


def run_residuals(scenario: schema.ResidualsScenario, *, folder: Path, text: str, progress: Progress) -> Outcome:
    """Evaluate gradient descent and gradient flow on the residual, exactly, for every step size.

    Args:
        scenario: what to run.
        folder: not needed by this kind.
        text: the resolved scenario, kept with the results.
        progress: told before and after.
    """
    started = time.perf_counter()
    progress("closed forms", 0, 1)
    kernel = block_kernel(scenario.kernel, scenario.problem)
    loss_scale = loss_scale_value(scenario.loss_scale, samples=kernel.samples, outputs=kernel.classes)
    flow = ResidualFlow(kernel, loss_scale=loss_scale)
    initial = _initial(scenario, kernel)
    spread = np.concatenate([[0], np.geomspace(1, scenario.steps, _POINTS), np.linspace(0, scenario.steps, _POINTS)])
    steps = np.unique(np.rint(spread).astype(int))
    sizes = np.asarray(scenario.step_sizes)
    # Each part by its own factor: a part that grows beyond 1e16 would drown the others in the rounding of their sum.
    norms, times = flow.residual_norms(initial), sizes[:, None] * steps[None, :]
    descent = norms * jnp.abs(
        jax.vmap(lambda size: jax.vmap(lambda step: flow.factors_after_steps(size, step))(jnp.asarray(steps, float)))(
            jnp.asarray(sizes)
        )
    )
    flowed = norms * jax.vmap(jax.vmap(flow.factors_at))(jnp.asarray(times))
    progress("closed forms", 1, 1)
    seconds = time.perf_counter() - started
    z = describe_loss_scale(scenario.loss_scale, loss_scale)
    tree = _tree(scenario, flow, np.asarray(descent), np.asarray(flowed), times, steps, z, text)
    return Outcome(
        tree=tree,
        summary=_summary(scenario, flow, np.asarray(descent), z),
        drawings=residuals_drawings(tree),
        timings={"closed forms": seconds},
    )


def _initial(scenario: schema.ResidualsScenario, kernel: BlockKernel) -> Float[Array, "outputs samples"]:
    """A random residual whose three parts have the norms asked for."""
    random = jax.random.normal(named_key(scenario.seed, "residual"), (kernel.classes, kernel.samples))
    split = split_eigenspaces(random, kernel.classes)
    wanted = jnp.asarray([scenario.initial.global_mean, scenario.initial.class_means, scenario.initial.within_class])
    return jnp.einsum("e,eki->ki", wanted / split.norms(), split.parts())


def _tree(
    scenario: schema.ResidualsScenario,
    flow: ResidualFlow,
    descent: np.ndarray,
    flowed: np.ndarray,
    times: np.ndarray,
    steps: np.ndarray,
    z: str,
    text: str,
) -> xr.DataTree:
    unit = f"gradient-flow time ({z})"
    rate = np.asarray(flow.kernel.eigenvalues / flow.loss_scale)
    dimensions = ("step_size", "step", "part")
    theory = dataset(
        {
            "time": (("step_size", "step"), times, unit, "step size times step"),
            "descent_norm": (
                dimensions,
                descent,
                "1",
                "norm of the residual's part after so many gradient-descent steps",
            ),
            "flow_norm": (dimensions, flowed, "1", "norm of the residual's part at the same gradient-flow time"),
            "eigenvalue": (("part",), np.asarray(flow.kernel.eigenvalues), "1", "eigenvalue of the block kernel"),
            "multiplicity": (("part",), np.asarray(flow.kernel.multiplicities), "1", "dimension of the eigenspace"),
            "rate": (("part",), rate, f"1 / {unit}", "decay rate of the flow, eigenvalue over Z"),
            "step_limit": (
                (),
                np.asarray(flow.step_limit()),
                unit,
                "largest stable step 2Z over the largest eigenvalue",
            ),
        },
        {"step_size": np.asarray(scenario.step_sizes), "step": steps, "part": list(EIGENSPACES)},
    )
    return xr.DataTree.from_dict(
        {
            "/theory": theory,
            "/scenario": scenario_group(
                kind="residuals", name=scenario.name, seed=scenario.seed, loss_scale=z, text=text
            ),
        }
    )


def _summary(scenario: schema.ResidualsScenario, flow: ResidualFlow, descent: np.ndarray, z: str) -> Summary:
    kernel, limit = flow.kernel, flow.step_limit()
    rate = np.asarray(kernel.eigenvalues / flow.loss_scale)
    spaces = Table(
        "Eigenspaces",
        (
            Column("part", "", "Part of the residual: what is common to all samples, to a class, and what is left."),
            Column("eigenvalue", "1", "Of the block kernel, paper 3, Table 1."),
            Column("multiplicity", "1", "Dimension of the eigenspace."),
            Column("rate", "1/time", f"Decay rate under gradient flow, eigenvalue over Z; {z}."),
            *(
                Column(f"factor, η = {size:g}", "1", "What one gradient-descent step multiplies the part by, 1 − ηλ/Z.")
                for size in scenario.step_sizes
            ),
        ),
        tuple(
            (
                name.replace("_", " "),
                float(kernel.eigenvalues[part]),
                kernel.multiplicities[part],
                float(rate[part]),
                *(float(1 - size * rate[part]) for size in scenario.step_sizes),
            )
            for part, name in enumerate(EIGENSPACES)
        ),
    )
    unstable = [size for size in scenario.step_sizes if size > limit]
    return Summary(
        title=scenario.name,
        kind="residuals",
        statements=((scenario.description.strip(),) if scenario.description.strip() else ())
        + (
            f"C = {kernel.classes}, m = {kernel.per_class}, {z}; {scenario.steps} steps of gradient descent and the "
            f"flow to the same time, both in closed form.",
        ),
        quantities=(
            Quantity("largest stable step", limit, "time", f"2Z over the largest eigenvalue; {z}."),
            Quantity(
                "condition",
                float(rate[0] / rate[2]) if rate[2] > 0 else float("inf"),
                "1",
                "Ratio of the fastest rate (global mean) to the slowest (within class).",
            ),
        ),
        tables=(spaces,),
        warnings=tuple(
            f"η = {size:g} is above the largest stable step {limit:.4g}: the global mean grows, by the end to "
            f"{descent[scenario.step_sizes.index(size), -1, 0]:.3g}."
            for size in unstable
        ),
    )
