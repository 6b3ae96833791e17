"""How fast the flows are, against what else would do: `python benchmarks/flows.py [section …]`; all of it by default.

Everything is a ratio of two things timed in turns in one process, compilation excluded and set-up named. Run it on a
machine that does nothing else. What it gave on one machine is recorded in docs/benchmarks.md.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("EQX_ON_ERROR", "off")

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optimistix as optx
from reference_problem import ReferenceProblem
from scipy.integrate import solve_ivp
from timing import in_turns

from ntkflow.flows import (
    AbstractFlow,
    Integration,
    InvariantFlow,
    SampleFlow,
    choose_method,
    integrate,
    random_state,
    represent,
    solve,
    solve_ensemble,
)

jax.config.update("jax_enable_x64", True)

RTOL, ATOL = 1e-6, 1e-9


def row(*cells: Any) -> None:
    """One line of a Markdown table."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def title(text: str, *columns: str) -> None:
    """A section with the head of its table."""
    print(f"\n## {text}\n", flush=True)
    row(*columns)
    row(*("---" for _ in columns))


def run(flow: AbstractFlow, initial: Any, times: jax.Array, method: str, rtol: float = RTOL, atol: float = ATOL) -> Any:
    """A compiled solve of one flow, to be called again and again."""
    settings = Integration(method, rtol, atol)  # pyright: ignore[reportArgumentType]
    return lambda: integrate(flow, initial, times, settings)


def representations() -> None:
    """InvariantFlow against SampleFlow and the compressed ClassFlow, the same Tsit5 and tolerance, to t = 20."""
    title(
        "Representations, Tsit5 at rtol 1e-6, t = 20",
        "problem",
        "sample (19)",
        "class, compressed",
        "invariant",
        "sample / invariant",
        "set-up of invariant",
    )
    for problem in (ReferenceProblem(10, 64, 12), ReferenceProblem(10, 512, 100), ReferenceProblem(10, 512, 1000)):
        times, state = problem.times(20.0), problem.state()
        clock = time.perf_counter()
        reduced = represent("invariant", state, problem.kernel, loss_scale=problem.loss_scale, samples=False)
        jax.block_until_ready(reduced[1])
        setup = time.perf_counter() - clock
        split = represent("class", state, problem.kernel, loss_scale=problem.loss_scale, samples=False)
        large = problem.classes * problem.per_class * problem.features > 1e6
        # One after the other, each with the caches to itself: the forms differ a thousandfold in what they touch.
        slow = in_turns({"sample": run(problem.flow, state, times, "tsit5")}, repeats=3 if large else 5)
        middle = in_turns({"class": run(*split, times, "tsit5")}, repeats=7)
        fast = in_turns({"invariant": run(*reduced, times, "tsit5")}, repeats=25)
        ratio = slow["sample"].seconds / fast["invariant"].seconds
        row(problem, slow["sample"], middle["class"], fast["invariant"], f"{ratio:.3g}", f"{setup:.2g} s")


def independent_of_samples() -> None:
    """The reduced flow at N = 1 000 and N = 60 000."""
    title("Cost against N, invariant representation, Tsit5 at rtol 1e-6, t = 20", "problem", "time", "against m = 100")
    problems = [ReferenceProblem(10, 512, m) for m in (100, 1000, 6000)]
    runs: dict[str, Callable[[], Any]] = {}
    for problem in problems:
        reduced = represent("invariant", problem.state(), problem.kernel, loss_scale=problem.loss_scale, samples=False)
        runs[str(problem)] = run(*reduced, problem.times(20.0), "tsit5")
    timings = in_turns(runs, repeats=9)
    first = next(iter(timings.values())).seconds
    for name, timing in timings.items():
        row(name, timing, f"{timing.seconds / first:.3g}")


def state_error(solution: diffrax.Solution, flow: Any, reference: np.ndarray) -> float:
    """Largest over the saved times of ‖(H₁, W, b) − reference‖/‖reference‖."""
    return float(
        np.max(np.linalg.norm(coordinates(solution, flow) - reference, axis=1) / np.linalg.norm(reference, axis=1))
    )


def coordinates(solution: diffrax.Solution, flow: Any) -> np.ndarray:
    """H₁, W and b of every saved time in feature space, so that representations can be compared."""

    def flat(state: Any) -> jax.Array:
        split = flow.class_state(state)
        return jnp.concatenate([split.class_means.ravel(), split.weight.ravel(), split.bias])

    return np.asarray(eqx.filter_jit(lambda states: jax.lax.map(flat, states))(solution.ys))


def newton_gmres() -> diffrax.Kvaerno5:
    """The best peer without a solver of ntkflow: Diffrax' Kvaerno5, Optimistix' Newton, Lineax' GMRES."""
    finder = diffrax.with_stepsize_controller_tols(optx.Newton)(
        linear_solver=lx.GMRES(rtol=1e-3, atol=1e-9, restart=20, max_steps=200)
    )
    return diffrax.Kvaerno5(root_finder=finder)


@eqx.filter_jit
def with_diffrax(solver: Any, flow: Any, initial: Any, times: jax.Array, rtol: float, atol: float) -> diffrax.Solution:
    """Diffrax as a user without ntkflow's `solve` would call it."""
    return diffrax.diffeqsolve(
        diffrax.ODETerm(flow.vector_field),  # pyright: ignore[reportArgumentType]
        solver,
        times[0],
        times[-1],
        None,
        initial,
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
        max_steps=2_000_000,
        throw=False,
    )


def stabilised(problem: ReferenceProblem, end: float, form: str) -> None:
    """RKC2 against Tsit5 at an error no larger, and what `auto` takes, on a long run."""
    times = problem.times(end)
    flow, initial = represent(form, problem.state(), problem.kernel, loss_scale=problem.loss_scale, samples=False)  # pyright: ignore[reportArgumentType]
    title(
        f"Stiff: {problem}, t = {end:g}, {form} form",
        "solver",
        "rtol",
        "time",
        "steps",
        "error",
        "‖R₁‖ at the end",
        "Tsit5 / this",
    )
    reference = coordinates(integrate(flow, initial, times, Integration("kvaerno5_krylov", 1e-8, 1e-11)), flow)

    def end_residual(solution: diffrax.Solution) -> str:
        last = jax.tree.map(lambda leaf: leaf[-1], solution.ys)
        return f"{float(jnp.linalg.norm(flow.class_residual(last))):.1e}"

    plain = integrate(flow, initial, times, Integration("tsit5", RTOL, ATOL))
    target = state_error(plain, flow, reference)
    chosen, why = choose_method(flow, initial, times, RTOL)
    for rtol in (1e-6, 3e-7, 1e-7, 3e-8, 1e-8):
        solution = integrate(flow, initial, times, Integration("rkc2", rtol, ATOL * rtol / RTOL))
        error = state_error(solution, flow, reference)
        if error <= target:
            break
    runs = {
        "tsit5": run(flow, initial, times, "tsit5"),
        "rkc2": run(flow, initial, times, "rkc2", rtol, ATOL * rtol / RTOL),
        f"auto: {chosen}": run(flow, initial, times, chosen),
    }
    timings = in_turns(runs, repeats=1 if problem.features > 100 else 3)
    solutions = {"tsit5": plain, "rkc2": solution, f"auto: {chosen}": runs[f"auto: {chosen}"]()}
    for name, timing in timings.items():
        result = solutions[name]
        row(
            name,
            f"{rtol if name == 'rkc2' else RTOL:g}",
            timing,
            int(result.stats["num_steps"]),
            f"{state_error(result, flow, reference):.2e}",
            end_residual(result),
            f"{timings['tsit5'].seconds / timing.seconds:.3g}",
        )
    print(f"\n{why}")


def long_run() -> None:
    """The long run of the reference problem."""
    stabilised(ReferenceProblem(10, 512, 100), 5e4, "invariant")


def against_implicit() -> None:
    """The sample form at (10, 64, 12), t = 5·10³: Tsit5, Newton–GMRES, SciPy, and what ntkflow chooses."""
    problem, end = ReferenceProblem(10, 64, 12), 5e3
    times, state = problem.times(end), problem.state()
    title(
        f"Against implicit solvers and SciPy: {problem}, t = {end:g}",
        "form",
        "solver",
        "rtol",
        "time",
        "right-hand sides or steps",
        "error",
        "this / chosen",
    )
    exact = integrate(problem.flow, state, times, Integration("kvaerno5_krylov", 1e-10, 1e-13))
    reference = coordinates(exact, problem.flow)
    auto = represent("class", state, problem.kernel, loss_scale=problem.loss_scale, samples=False)
    chosen, why = choose_method(*auto, times, RTOL)
    peer = newton_gmres()
    peers: dict[str, tuple[str, Any, Callable[[], diffrax.Solution], float]] = {
        "tsit5": (
            "sample",
            problem.flow,
            lambda: with_diffrax(diffrax.Tsit5(), problem.flow, state, times, RTOL, ATOL),
            RTOL,
        ),
        "kvaerno5, Newton–GMRES": (
            "sample",
            problem.flow,
            lambda: with_diffrax(peer, problem.flow, state, times, RTOL, ATOL),
            RTOL,
        ),
    }
    target = state_error(peers["kvaerno5, Newton–GMRES"][2](), problem.flow, reference)
    for rtol in (1e-5, 3e-6, 1e-6, 3e-7, 1e-7, 3e-8, 1e-8, 1e-9):
        if state_error(run(*auto, times, chosen, rtol, rtol * 1e-3)(), auto[0], reference) <= target:
            break
    peers[f"{chosen} (auto)"] = ("class", auto[0], run(*auto, times, chosen, rtol, rtol * 1e-3), rtol)
    for form in ("sample", "invariant"):
        flow, initial = represent(form, state, problem.kernel, loss_scale=problem.loss_scale, samples=False)
        for rtol_ in (1e-5, 3e-6, 1e-6, 3e-7, 1e-7, 3e-8, 1e-8, 1e-9):
            candidate = run(flow, initial, times, "rkc2", rtol_, rtol_ * 1e-3)
            if state_error(candidate(), flow, reference) <= target:
                break
        peers[f"rkc2, {form}"] = (form, flow, candidate, rtol_)
    timings = in_turns({name: entry[2] for name, entry in peers.items()}, repeats=1)
    base = timings[f"{chosen} (auto)"].seconds
    for name, (form, flow, solved, rtol_) in peers.items():
        solution = solved()
        row(
            form,
            name,
            f"{rtol_:g}",
            timings[name],
            f"{int(solution.stats['num_steps'])} steps",
            f"{state_error(solution, flow, reference):.2e}",
            f"{timings[name].seconds / base:.3g}",
        )
    with_scipy(problem, auto, times, reference, base)
    print(f"\n{why}")


def with_scipy(problem: ReferenceProblem, auto: Any, times: jax.Array, reference: np.ndarray, base: float) -> None:
    """SciPy on the same compressed class form, its right-hand side compiled by JAX; five minutes at most for each."""
    flow, initial = auto
    flat, back = jax.flatten_util.ravel_pytree(initial)
    field = jax.jit(lambda y: jax.flatten_util.ravel_pytree(flow.vector_field(jnp.asarray(0.0), back(y), None))[0])
    field(flat)
    for method in ("RK45", "LSODA"):
        until, clock = time.monotonic() + 300, time.perf_counter()

        def guarded(_: float, y: np.ndarray, until: float = until) -> np.ndarray:
            if time.monotonic() > until:
                raise TimeoutError
            return np.asarray(field(y))

        try:
            found = solve_ivp(
                guarded, (0, float(times[-1])), np.asarray(flat), method, np.asarray(times), rtol=RTOL, atol=ATOL
            )
        except TimeoutError:
            row("class", f"SciPy {method}", f"{RTOL:g}", "over 300 s", "", "", f"> {300 / base:.3g}")
            continue
        seconds = time.perf_counter() - clock
        states = jax.vmap(back)(jnp.asarray(found.y.T))
        error = state_error(_Saved(states), flow, reference)
        row(
            "class",
            f"SciPy {method}",
            f"{RTOL:g}",
            f"{seconds:.3g} s",
            f"{found.nfev} right-hand sides",
            f"{error:.2e}",
            f"{seconds / base:.3g}",
        )


class _Saved:
    def __init__(self, states: Any) -> None:
        self.ys = states


def scaling() -> None:
    """Time of one right-hand side against C, n and N, for each form."""
    title("One right-hand side: exponents", "form", "in C (10 to 80)", "in n (128 to 1 024)", "in N (1 000 to 8 000)")
    base = {"classes": 10, "features": 256, "per_class": 100}
    grids = {"classes": (10, 20, 40, 80), "features": (128, 256, 512, 1024), "per_class": (100, 200, 400, 800)}
    for form in ("sample", "class", "invariant"):
        exponents = []
        for name, values in grids.items():
            seconds = []
            for value in values:
                problem = ReferenceProblem(**{**base, name: value})
                flow, state = represent(
                    form, problem.state(), problem.kernel, loss_scale=problem.loss_scale, samples=False
                )
                seconds.append(one_right_hand_side(flow, state))
            slope = np.polyfit(np.log(values), np.log(seconds), 1)[0]
            exponents.append(f"{slope:.2f} ({', '.join(f'{1e6 * item:.3g}' for item in seconds)} µs)")
        row(form, *exponents)


def one_right_hand_side(flow: Any, state: Any) -> float:
    """Seconds, median of five, of one evaluation inside a compiled loop of 50."""

    @eqx.filter_jit
    def many(flow: Any, state: Any) -> Any:
        def again(_: Any, state: Any) -> Any:
            slope = flow.vector_field(jnp.asarray(0.0), state, None)
            return jax.tree.map(lambda a, b: a + 1e-9 * b, state, slope)

        return jax.lax.fori_loop(0, 50, again, state)

    return in_turns({"it": lambda: many(flow, state)}, repeats=5)["it"].seconds / 50


def ensembles() -> None:
    """Thousands of trajectories at (10, 32, 12) to t = 20, against one at a time."""
    problem = ReferenceProblem(10, 32, 12)
    kernel, times = problem.kernel, problem.times(20.0)

    def make(key: jax.Array) -> tuple[InvariantFlow, Any]:
        state = random_reference_state(problem, key)
        return InvariantFlow.starting_at(state, kernel, loss_scale=problem.loss_scale, all_directions=True)

    title(
        "Ensembles: (10, 32, 12), t = 20, rtol 1e-6; time of a trajectory, compilation of the ensemble included",
        "solver",
        "members",
        "in an ensemble",
        "`solve`, one at a time",
        "ratio",
        "compiled `integrate`, one at a time",
        "ratio",
        "peak memory",
    )
    for method, members in (("tsit5", 10_000), ("rkc2", 2_000)):
        keys = jax.random.split(jax.random.key(0), members)
        settings = Integration(method, RTOL, ATOL)  # pyright: ignore[reportArgumentType]

        @eqx.filter_jit
        def alone(key: jax.Array, settings: Integration = settings) -> Any:
            flow, initial = make(key)
            return integrate(flow, initial, times, settings, flow.residual_norms).ys

        def solved(key: jax.Array, settings: Integration = settings) -> Any:
            state = random_reference_state(problem, key)
            flow = SampleFlow(kernel, loss_scale=problem.loss_scale)
            return solve(flow, state, times, settings, representation="invariant", samples=False).residual_norms

        some, others = iter(keys[:64]), iter(keys[64:128])
        single = in_turns(
            {"integrate": lambda some=some: alone(next(some)), "solve": lambda others=others: solved(next(others))},
            repeats=40,
        )
        clock = time.perf_counter()
        result = solve_ensemble(make, keys, times, settings, observe=lambda flow, state: flow.residual_norms(state))
        each = (time.perf_counter() - clock) / result.members
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        row(
            method,
            members,
            f"{1e3 * each:.3g} ms",
            f"{1e3 * single['solve'].seconds:.3g} ms",
            f"{single['solve'].seconds / each:.3g}",
            f"{1e3 * single['integrate'].seconds:.3g} ms",
            f"{single['integrate'].seconds / each:.3g}",
            f"{peak:.2g} GiB",
        )


def random_reference_state(problem: ReferenceProblem, key: jax.Array) -> Any:
    """The reference problem's initial state from a key."""
    return random_state(key, classes=problem.classes, per_class=problem.per_class, features=problem.features)


SECTIONS: dict[str, Callable[[], None]] = {
    "representations": representations,
    "samples": independent_of_samples,
    "long": long_run,
    "implicit": against_implicit,
    "scaling": scaling,
    "ensembles": ensembles,
}

if __name__ == "__main__":
    wanted = sys.argv[1:] or list(SECTIONS)
    unknown = [name for name in wanted if name not in SECTIONS]
    if unknown:
        sys.exit(f"unknown section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    print(
        f"jax {jax.__version__}, diffrax {diffrax.__version__}, {jax.devices()[0].device_kind}, {os.cpu_count()} cores"
    )
    for name in wanted:
        SECTIONS[name]()
