"""What a summary says of a regression whose kernel was not stored: ranks, iterations, residuals, bounds."""

from __future__ import annotations

import math

from ntkflow import scenario as schema
from ntkflow.experiments.regression_run import RegressionRun
from ntkflow.results import Quantity

LEFT_OUT = 0.1
"""A kernel of low rank that leaves a larger share of the trace is warned about."""


def solver_in_words(solver: schema.RegressionSolver) -> str:
    """How flow, descent and limit were come by."""
    match solver:
        case schema.DenseSolver():
            return "flow, descent and limit from one eigendecomposition"
        case schema.NystromSolver():
            return (
                f"flow, descent and limit with the kernel of low rank that {solver.rank} of the samples give (Nyström)"
            )
        case schema.ConjugateGradientSolver():
            return "the kernel applied tile by tile: the limit by conjugate gradients, the flow by Lanczos' method"


def solver_quantities(run: RegressionRun) -> tuple[Quantity, ...]:
    """Numbers of the solvers other than the dense one."""
    found: list[Quantity] = []
    if run.iterations is not None:
        done = run.iterations
        found += [
            Quantity(
                "iterations of conjugate gradients",
                float(done.iterations),
                "1",
                "Until the limit was reached, the most of any output; the kernel is applied once in each, for all "
                "outputs, and twice in every tenth.",
            ),
            Quantity(
                "residual of the limit",
                done.residual,
                "1",
                "‖(Θ + ρ)a − (Y − f₀(X))‖/‖Y − f₀(X)‖ of the coefficients a, the largest of any output.",
            ),
            Quantity("Lanczos steps", float(done.steps), "1", "Applications of the kernel for the outputs at times."),
            Quantity(
                "error bound of test outputs",
                float(done.bounds[:, 1].max()),
                "1",
                "No further, rounding aside, is the root mean square over test samples and outputs of f(x, t) from the "
                "exact one, at any saved time. Of the training outputs the bound is "
                f"{done.bounds[:, 0].max():.2g}.",
            ),
        ]
    if run.low_rank is not None:
        low, preconditioner = run.low_rank, run.iterations is not None
        found += [
            Quantity(
                "rank of the preconditioner" if preconditioner else "samples of the approximation",
                float(low.rank),
                "1",
                "Training samples that Nyström's approximation Θ̃ is made of; fewer than asked for where the kernel's "
                "own rank is smaller up to rounding.",
            ),
            Quantity(
                "share of the trace left out",
                low.trace_share,
                "1",
                "tr(Θ − Θ̃)/tr Θ on the training samples; ‖Θ − Θ̃‖ is at most tr(Θ − Θ̃).",
            ),
        ]
        if low.limit_bound is not None:
            found.append(
                Quantity(
                    "error bound of the limit",
                    low.limit_bound,
                    "1",
                    "No further is the root mean square over training samples and outputs of the limit with Θ̃ from "
                    "that with Θ: τ/(τ + ρ) times that of Y − f₀(X), τ = tr(Θ − Θ̃). Without ridge it says nothing.",
                )
            )
    return tuple(found)


def solver_warnings(run: RegressionRun) -> tuple[str, ...]:
    """What of the solvers a reader must know."""
    solver, found = run.scenario.solver, []
    if run.iterations is not None and isinstance(solver, schema.ConjugateGradientSolver):
        done = run.iterations
        worst, asked = float(done.bounds[:, 0].max()), solver.tolerance * done.scale
        if worst > asked:
            found.append(
                f"After {done.steps} Lanczos steps the bound on the error of training outputs at times is {worst:.2g}, "
                f"above the tolerance {asked:.2g}, and {done.bounds[:, 1].max():.2g} of test outputs: raise "
                "solver.time_steps, or end the flow earlier."
            )
    if isinstance(solver, schema.NystromSolver) and run.low_rank is not None and run.low_rank.trace_share > LEFT_OUT:
        bound = run.low_rank.limit_bound
        known = "" if bound is None or math.isinf(bound) else f" (error bound of the limit: {bound:.2g})"
        found.append(
            f"The kernel of low rank leaves out {100 * run.low_rank.trace_share:.3g} % of the trace{known}: what is "
            "shown is the regression with that kernel, not with the whole one. Raise solver.rank, or take "
            "conjugate_gradients."
        )
    return tuple(found)
