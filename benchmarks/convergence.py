"""Convergence of RKC2 beside Tsit5 and Kvaerno5: error against step size, and against tolerance and work.

Run by ``python benchmarks/convergence.py``; writes docs/figures/rkc2_convergence.svg and its dark twin, and prints the
numbers.
Work is counted in right-hand sides, not in seconds: a product of GMRES with the Jacobian counts as one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optimistix as optx
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp

from ntkflow.flows import RKC2, ClassFlow, ClassState, random_state
from ntkflow.flows.solvers import kvaerno5_krylov, newton_krylov
from ntkflow.kernels import BlockKernel
from ntkflow.report.style import THEMES, colour, themed

FIGURE = Path(__file__).parent.parent / "docs" / "figures" / "rkc2_convergence"
LOOKS = {"Tsit5": ("vermillion", "s"), "RKC2": ("blue", "o"), "Kvaerno5": ("green", "^")}
STEPS = [2**k for k in range(4, 13)]
TOLERANCES = [10.0**-k for k in range(3, 10)]

Problem = tuple[Callable[[Any, Any, Any], Any], jax.Array, float, np.ndarray]


def linear() -> Problem:
    """y' = −λ(y − cos t), 30 rates from 0.1 to 1 000, from a point on the slow solution; the exact end is known."""
    rates = np.geomspace(0.1, 1e3, 30)

    def slow(t: float) -> np.ndarray:
        return (rates**2 * np.cos(t) + rates * np.sin(t)) / (1 + rates**2)

    device = jnp.asarray(rates)
    return lambda t, y, args: -device * (y - jnp.cos(t)), jnp.asarray(slow(0.0)), 2.0, slow(2.0)


def class_flow() -> Problem:
    """The class flow for C = 4, n = 16, m = 5, Z = mn, until t = 300; the reference is SciPy's DOP853 at 1e-12."""
    kernel = BlockKernel(16.0, 0.8 * 16, 0.2 * 16, classes=4, per_class=5)
    flow = ClassFlow(kernel, loss_scale=5.0 * 16)
    sample = random_state(jax.random.key(0), classes=4, per_class=5, features=16)
    start, unravel = ravel_pytree(ClassState.from_sample(sample, 4))

    def field(t: Any, y: Any, args: Any) -> Any:
        return ravel_pytree(flow.vector_field(t, unravel(y), args))[0]

    compiled = jax.jit(lambda y: field(jnp.asarray(0.0), y, None))
    exact = solve_ivp(lambda t, y: np.asarray(compiled(y)), (0, 300.0), start, "DOP853", rtol=1e-12, atol=1e-14)
    return field, start, 300.0, exact.y[:, -1]


class Counter:
    """Counts evaluations on the device's behalf; for a benchmark only, since it calls back to Python."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, number: Any = 1) -> None:
        """So many more."""
        self.count += int(number)

    def around(self, field: Callable[..., Any]) -> Callable[..., Any]:
        """The field, counted."""

        def counted(t: Any, y: Any, args: Any) -> Any:
            jax.debug.callback(self.add)
            return field(t, y, args)

        return counted


def run(problem: Problem, solver: Any, controller: Any, counter: Counter, step: Any) -> tuple[float, int, int]:
    """Error at the end (largest entry), steps, and right-hand sides where the field counts them."""
    field, start, end, exact = problem
    counter.count = 0
    solution = _solve(field, solver, controller, start, end, step)
    jax.block_until_ready(solution.ys)
    jax.effects_barrier()
    failed = solution.result != diffrax.RESULTS.successful
    error = np.inf if failed else float(np.abs(np.asarray(solution.ys[-1]) - exact).max())
    return error, int(solution.stats["num_steps"]), counter.count


@eqx.filter_jit
def _solve(field: Any, solver: Any, controller: Any, start: Any, end: Any, step: Any) -> Any:
    return diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        solver,
        0.0,
        end,
        step,
        start,
        stepsize_controller=controller,
        max_steps=100_000,
        throw=False,
    )


def measure(problem: Problem, counter: Counter) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """For each solver: (step, error) of constant steps, and (tolerance, error, right-hand sides) of adaptive ones."""
    # With constant steps there is no controller to take tolerances from.
    newton = newton_krylov.NewtonKrylov(rtol=1e-8, atol=1e-8, norm=optx.rms_norm)
    constant = {"Tsit5": diffrax.Tsit5(), "RKC2": RKC2(), "Kvaerno5": diffrax.Kvaerno5(root_finder=newton)}
    adaptive = {"Tsit5": diffrax.Tsit5(), "RKC2": RKC2(), "Kvaerno5": kvaerno5_krylov()}
    fixed = {
        name: [
            (end / n, run(problem, solver, diffrax.ConstantStepSize(), counter, jnp.asarray(end / n))[0]) for n in STEPS
        ]
        for end in (problem[2],)
        for name, solver in constant.items()
    }
    chosen: dict[str, list[Any]] = {}
    # Once, so that one compilation serves every tolerance.
    counted = (counter.around(problem[0]), *problem[1:])
    for name, solver in adaptive.items():
        chosen[name] = []
        for tolerance in TOLERANCES:
            value = jnp.asarray(tolerance)
            controller = diffrax.PIDController(rtol=value, atol=value)
            error, steps, work = run(counted, solver, controller, counter, None)
            print(f"  {name:9s} rtol {tolerance:.0e}: error {error:.2e}, {steps} steps, {work} right-hand sides")
            chosen[name].append((tolerance, error, work))
    return fixed, chosen


def draw(results: list[tuple[str, dict[str, list[Any]], dict[str, list[Any]]]]) -> None:
    """Rows are problems; columns error against step, against tolerance, and against work."""
    import matplotlib.pyplot as plt

    for theme in THEMES:
        with themed(theme):
            figure, axes = plt.subplots(len(results), 3, figsize=(10.5, 6.4), sharey="row")
            for row, (title, fixed, chosen) in zip(axes, results, strict=True):
                for name, (shade, marker) in LOOKS.items():
                    style = {"color": colour(shade), "marker": marker, "label": name}
                    stable = [(h, e) for h, e in fixed[name] if e < 1e-1]
                    row[0].loglog(*zip(*stable, strict=True), **style)
                    row[1].loglog([t for t, _, _ in chosen[name]], [e for _, e, _ in chosen[name]], **style)
                    row[2].loglog([w for _, _, w in chosen[name]], [e for _, e, _ in chosen[name]], **style)
                h, e = fixed["RKC2"][-1]
                steps = np.array([h, h * 64])
                row[0].loglog(
                    steps, 0.3 * e * (steps / h) ** 2, color=colour("grey"), linestyle="dotted", label="order 2"
                )
                row[1].loglog(TOLERANCES, TOLERANCES, color=colour("grey"), linestyle="dotted", label="rtol")
                row[0].set_title(title)
                row[0].set_ylabel("error at the end")
                for panel, label in zip(row, ("constant step", "rtol = atol", "right-hand sides"), strict=True):
                    panel.set_xlabel(label)
            axes[0, 0].legend()
            axes[0, 1].legend(handles=axes[0, 1].lines[-1:])
            suffix = "" if theme == "light" else "-dark"
            figure.savefig(f"{FIGURE}{suffix}.svg", metadata={"Date": None})
            if len(sys.argv) > 1:
                figure.savefig(Path(sys.argv[1]) / f"rkc2_convergence{suffix}.png", dpi=110)
            plt.close(figure)


def main() -> None:
    """Measure both problems and draw them. An argument names a folder for PNGs to look at."""
    jax.config.update("jax_enable_x64", True)
    matplotlib.use("Agg")
    counter = Counter()
    plain = newton_krylov.gmres

    def counted(*args: Any, **options: Any) -> Any:
        solution, space = plain(*args, **options)
        jax.debug.callback(counter.add, space.built)
        return solution, space

    newton_krylov.gmres = counted
    results = []
    for title, problem in (("linear, rates 0.1 to 1 000", linear()), ("class flow until t = 300", class_flow())):
        print(title)
        results.append((title, *measure(problem, counter)))
        for name, points in results[-1][1].items():
            print(f"  {name:9s} constant steps:", ", ".join(f"{h:.3g}: {e:.1e}" for h, e in points))
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    draw(results)


if __name__ == "__main__":
    main()
