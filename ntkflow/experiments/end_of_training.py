"""The `end_of_training` kind: the hyperbolic flow in closed form, beside the flow as it is integrated."""

from __future__ import annotations

import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from ntkflow import scenario as schema
from ntkflow.experiments.outcome import Outcome, Variable, dataset, scenario_group
from ntkflow.experiments.settings import block_kernel, integration, named_key, time_grid
from ntkflow.flows import HyperbolicFlow, HyperbolicState, describe_loss_scale, loss_scale_value, solve
from ntkflow.progress import Progress
from ntkflow.report import end_of_training_drawings
from ntkflow.results import Column, Quantity, Summary, Table

Observed = dict[str, np.ndarray]

_ZERO = 1e-10
"""Eigenvalues of Ẽ below this share of the trace of mS + μWᵀW count as 0, and directions below it as not shared."""


def run_end_of_training(
    scenario: schema.EndOfTrainingScenario, *, folder: Path, text: str, progress: Progress
) -> Outcome:
    """Evaluate and integrate every case of an end-of-training scenario.

    Args:
        scenario: what to run.
        folder: not needed by this kind.
        text: the resolved scenario, kept with the results.
        progress: told after each case.

    Raises:
        SolverError: the solver gave up on a case.
    """
    started = time.perf_counter()
    kernel = block_kernel(scenario.kernel, scenario.problem)
    loss_scale = loss_scale_value(scenario.loss_scale, samples=kernel.samples, outputs=kernel.classes)
    flow, times = HyperbolicFlow(kernel, loss_scale=loss_scale), time_grid(scenario.time)
    observed: list[Observed] = []
    for index, case in enumerate(scenario.cases):
        progress("integrating", index, len(scenario.cases))
        state = _initial_state(case, scenario, flow)
        trajectory = solve(flow, state, times, integration(scenario.solver), name=f"case {case.name!r}")
        observed.append(jax.tree.map(np.asarray, _observe(flow, state, times, trajectory.states)))
    progress("integrating", len(scenario.cases), len(scenario.cases))
    z = describe_loss_scale(scenario.loss_scale, loss_scale)
    tree = _tree(scenario, flow, observed, np.asarray(times), z, text)
    return Outcome(
        tree=tree,
        summary=_summary(scenario, flow, observed, np.asarray(times), z),
        drawings=end_of_training_drawings(tree),
        timings={"integrating": time.perf_counter() - started},
    )


def _initial_state(
    case: schema.EndOfTrainingCase, scenario: schema.EndOfTrainingScenario, flow: HyperbolicFlow
) -> HyperbolicState:
    key = named_key(scenario.seed, "initial state", case.name)
    n, kernel = scenario.features, flow.kernel
    outputs, within = kernel.classes, kernel.classes * (kernel.per_class - 1)
    first, second = jax.random.split(key)
    match case.initial:
        case schema.AxesStart() as chosen:
            feature, weight = (jnp.diag(jnp.asarray(values, dtype=float)) for values in (chosen.within, chosen.weights))
        case schema.SpectrumStart() as chosen:
            basis = jnp.linalg.qr(jax.random.normal(first, (n, n)))[0]
            invariant = (basis * jnp.asarray(chosen.eigenvalues, dtype=float)) @ basis.T
            extra = 2 * chosen.excess * jax.random.normal(second, (n, n))
            # The root is operator monotone: this sum is at least ±Ẽ, so that both halves below have roots.
            both = _root(invariant @ invariant + extra @ extra.T)
            feature = _root((both - invariant) / 2) / jnp.sqrt(kernel.per_class)
            weight = _root((both + invariant) / 2) / jnp.sqrt(kernel.lambda_single)
        case schema.RandomStart() as chosen:
            # Helmert's coordinates of independent features are as independent, and H₂ has 1/√m in it.
            feature = chosen.within_scale * jax.random.normal(second, (n, within)) / jnp.sqrt(kernel.per_class)
            weight = chosen.weight_scale * jax.random.normal(first, (outputs, n)) / jnp.sqrt(n)
    return HyperbolicState(
        jnp.pad(feature, ((0, 0), (0, within - feature.shape[1]))),
        jnp.pad(weight, ((0, outputs - weight.shape[0]), (0, 0))),
    )


def _root(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    values, vectors = jnp.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * jnp.sqrt(jnp.maximum(values, 0.0))) @ vectors.T


@eqx.filter_jit
def _observe(
    flow: HyperbolicFlow, state: HyperbolicState, times: Float[Array, " times"], states: HyperbolicState
) -> dict[str, Float[Array, "..."]]:
    """Closed form and integrated flow side by side."""
    m, single = flow.kernel.per_class, flow.kernel.lambda_single
    exact = flow.grams_at(state, times)
    scatter, gram = exact.feature_gram / m, exact.weight_gram / single
    limits = flow.limit(state)
    invariant = flow.invariants(state)["Ẽ"]
    values, vectors = jnp.linalg.eigh(invariant)
    start = scatter[0] * m + gram[0] * single
    size = jnp.linalg.norm(start)
    size = jnp.where(size > 0, size, 1.0)  # a state of nothing but zeros stays so

    def integrated(
        pair: tuple[HyperbolicState, Float[Array, "n n"], Float[Array, "n n"]],
    ) -> dict[str, Float[Array, "..."]]:
        then, scatter, gram = pair
        own, own_gram = then.scatter, then.weight.T @ then.weight
        return {
            "integrated_scatter_eigenvalue": jnp.linalg.eigvalsh(own),
            "integrated_weight_gram_eigenvalue": jnp.linalg.eigvalsh(own_gram),
            "scatter_difference": m * jnp.linalg.norm(own - scatter) / size,
            "weight_gram_difference": single * jnp.linalg.norm(own_gram - gram) / size,
            "integrated_within_norm": flow.residual_norms(then)[2],
            "invariant_drift": jnp.linalg.norm(flow.invariants(then)["Ẽ"] - invariant) / size,
            "weight_scatter_norm": jnp.sqrt(jnp.maximum(jnp.sum((scatter @ gram) * scatter.T), 0.0)),
            "scatter_eigenvalue": jnp.linalg.eigvalsh(scatter),
            "weight_gram_eigenvalue": jnp.linalg.eigvalsh(gram),
        }

    return {
        **jax.lax.map(integrated, (states, scatter, gram)),
        "within_norm": jnp.sqrt(jnp.maximum(exact.overlap / single, 0.0)),
        "invariant_eigenvalue": values,
        "occupation": jnp.sum(vectors * (start @ vectors), axis=0),
        "scatter_limit": jnp.linalg.eigvalsh(limits[0]),
        "weight_gram_limit": jnp.linalg.eigvalsh(limits[1]),
    }


_MEANING = {
    "scatter_eigenvalue": "eigenvalues of S, closed form, ascending",
    "weight_gram_eigenvalue": "eigenvalues of WᵀW, closed form, ascending",
    "integrated_scatter_eigenvalue": "eigenvalues of S, integrated flow, ascending",
    "integrated_weight_gram_eigenvalue": "eigenvalues of WᵀW, integrated flow, ascending",
    "within_norm": "√m ‖WH₂‖_F, the norm of the residual, closed form",
    "integrated_within_norm": "√m ‖WH₂‖_F, the norm of the residual, integrated flow",
    "weight_scatter_norm": "‖WS‖_F, closed form",
    "scatter_difference": "m‖S − S_closed‖_F, S of the integrated flow, over ‖mS + μ_single WᵀW‖_F at t = 0",
    "weight_gram_difference": "μ_single ‖WᵀW − (WᵀW)_closed‖_F, WᵀW of the integrated flow, over "
    "‖mS + μ_single WᵀW‖_F at t = 0",
    "invariant_drift": "‖Ẽ(t) − Ẽ(0)‖_F of the integrated flow over ‖mS + μ_single WᵀW‖_F at t = 0",
    "invariant_eigenvalue": "eigenvalues of Ẽ = μ_single WᵀW − mS, ascending",
    "occupation": "vᵀ(mS + μ_single WᵀW)v at t = 0 for each eigenvector v of Ẽ; it is |λ| where W or S has no part",
    "scatter_limit": "eigenvalues of S for t → ∞, the negative part of Ẽ over m, ascending",
    "weight_gram_limit": "eigenvalues of WᵀW for t → ∞, the positive part of Ẽ over μ_single, ascending",
}


def _tree(
    scenario: schema.EndOfTrainingScenario,
    flow: HyperbolicFlow,
    observed: list[Observed],
    times: np.ndarray,
    z: str,
    text: str,
) -> xr.DataTree:
    unit = f"gradient-flow time ({z})"
    dimensions = {1: ("case", "time"), 2: ("case", "time", "feature")}
    variables: dict[str, Variable] = {}
    for name, meaning in _MEANING.items():
        values = np.stack([item[name] for item in observed])
        over_time = values.shape[1] == times.size and name not in (
            "invariant_eigenvalue", "occupation", "scatter_limit", "weight_gram_limit"
        )  # fmt: skip
        variables[name] = (dimensions[values.ndim - 1] if over_time else ("case", "feature"), values, "1", meaning)
    variables["mu_single"] = ((), np.asarray(flow.kernel.lambda_single), "1", "μ_single = κ_d − κ_c")
    variables["per_class"] = ((), np.asarray(flow.kernel.per_class), "1", "samples of each class m")
    theory = dataset(
        variables,
        {"case": [case.name for case in scenario.cases], "time": times, "feature": np.arange(scenario.features)},
    )
    theory["time"].attrs.update(units=unit, long_name="time since the initial state")
    group = scenario_group(kind="end_of_training", name=scenario.name, seed=scenario.seed, loss_scale=z, text=text)
    return xr.DataTree.from_dict({"/theory": theory, "/scenario": group})


def _slowest(seen: Observed) -> float | None:
    """The smallest |λ| of Ẽ among the directions that W and S share, 0 where it is 0 up to rounding; none without any.

    In a direction of its own, W or S stands still and adds nothing to WH₂.
    """
    scale, size = float(np.sum(seen["occupation"])), np.abs(seen["invariant_eigenvalue"])
    shared = size[(seen["occupation"] - size) / 2 > _ZERO * scale]
    if not shared.size:
        return None
    return float(shared.min()) if shared.min() > _ZERO * scale else 0.0


def _law(slowest: float | None) -> str:
    if slowest is None:
        return "at 0"
    return "exponential" if slowest else "1/t"


def _final_rate(norms: np.ndarray, times: np.ndarray) -> float | None:
    """−d log ‖WH₂‖/dt over the last two saved times; none where the norm is 0 or too small to be told from it."""
    if not norms[-1] > 1e-300:
        return None
    return float(-np.log(norms[-1] / norms[-2]) / (times[-1] - times[-2]))


def _summary(
    scenario: schema.EndOfTrainingScenario, flow: HyperbolicFlow, observed: list[Observed], times: np.ndarray, z: str
) -> Summary:
    loss_scale, m = float(flow.loss_scale), flow.kernel.per_class
    columns = (
        Column("case", "", "Name of the initial state."),
        Column("λ min", "1", "Smallest eigenvalue of Ẽ = μ_single WᵀW − mS, which is constant."),
        Column("λ max", "1", "Largest eigenvalue of Ẽ."),
        Column("Tr S end", "1", "Trace of the within-class scatter at the last time, closed form."),
        Column("Tr S limit", "1", "Its limit, the sum of |λ|/m over the negative eigenvalues; 0 is variability "
               "collapse."),
        Column("‖WS‖ end", "1", "Frobenius norm of WS at the last time, closed form."),
        Column("law", "", "How √m‖WH₂‖ decays for t → ∞: exponentially at the smallest |λ|/Z among the directions that "
               f"W and S share, or as 1/t where that is 0 (below {_ZERO:g} of the sum of their squares); it is 0 "
               "already where they share none."),
        Column("rate predicted", "1/time", f"Of that law at the end: |λ|/Z, or 1/t midway between the last two saved "
               f"times; {z}."),
        Column("rate", "1/time", f"−d log(√m‖WH₂‖)/dt, closed form, over the last two saved times; {z}."),
        Column("difference", "1", "Largest m‖S − S_closed‖_F over the saved times, S of the integrated flow, over "
               "‖mS + μ_single WᵀW‖_F at t = 0."),
    )  # fmt: skip
    rows = []
    for case, seen in zip(scenario.cases, observed, strict=True):
        slowest = _slowest(seen)
        algebraic = float(2 / (times[-1] + times[-2]))
        rows.append(
            (
                case.name,
                float(seen["invariant_eigenvalue"][0]),
                float(seen["invariant_eigenvalue"][-1]),
                float(seen["scatter_eigenvalue"][-1].sum()),
                float(np.maximum(-seen["invariant_eigenvalue"], 0).sum() / m),
                float(seen["weight_scatter_norm"][-1]),
                _law(slowest),
                None if slowest is None else slowest / loss_scale if slowest else algebraic,
                _final_rate(seen["within_norm"], times),
                float(seen["scatter_difference"].max()),
            )
        )
    early = [
        case.name
        for case, seen in zip(scenario.cases, observed, strict=True)
        if 0 < (_slowest(seen) or 0.0) * times[-1] / loss_scale < 3
    ]
    return Summary(
        title=scenario.name,
        kind="end_of_training",
        statements=((scenario.description.strip(),) if scenario.description.strip() else ())
        + (
            f"{len(rows)} initial states, C = {flow.kernel.classes}, m = {m}, n = {scenario.features}, "
            f"μ_single = {float(flow.kernel.lambda_single):.4g}, {z}, to t = {scenario.time.end:g}. R₁ is held at 0, "
            "which the full flow does only where WSH₁ = 0 throughout.",
        ),
        quantities=(
            Quantity(
                "largest difference",
                max(float(seen["scatter_difference"].max()) for seen in observed),
                "1",
                "Over all cases and saved times: m‖S − S_closed‖_F, S of the integrated flow, over "
                "‖mS + μ_single WᵀW‖_F at t = 0. The closed form is exact up to rounding, so this "
                "is mostly the integration's error.",
            ),
            Quantity(
                "largest invariant drift",
                max(float(seen["invariant_drift"].max()) for seen in observed),
                "1",
                "Over all cases and saved times: ‖Ẽ(t) − Ẽ(0)‖_F of the integrated flow over ‖mS + μ_single WᵀW‖_F at "
                "t = 0.",
            ),
        ),
        tables=(Table("What each initial state leads to", columns, tuple(rows)),),
        warnings=tuple(
            f"Case {name!r} ends before its law shows: the smallest |λ|/Z times the last time is below 3."
            for name in early
        ),
    )
