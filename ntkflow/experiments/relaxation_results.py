"""Labelled arrays and the headline of a `relaxation` scenario."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from ntkflow import scenario as schema
from ntkflow.collapse import METRICS
from ntkflow.experiments.outcome import Variable, dataset, scenario_group
from ntkflow.experiments.relaxed_record import NEEDS_ONE_SIZE
from ntkflow.kernels import EIGENSPACES
from ntkflow.results import Column, Quantity, Summary, Table

Values = Mapping[str, Mapping[str, np.ndarray]]
"""By case and by name."""

_DEFINITIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "residual_norm": (("part",), "Frobenius norm of the residual's part, every sample counted once"),
    "loss": ((), "the case's own loss: ‖R‖²/(2Z), with its penalties, or the cross-entropy over Z"),
    "class_residual": (("class",), "norm of the class mean of the residual"),
    "weight_cosine": (("class", "class_2"), "cosine between two rows of W, the mean of the rows subtracted"),
    "mean_cosine": (("class", "class_2"), "cosine between two class means, the mean of the class means subtracted"),
    "invariant_relative_norm": ((), "‖E‖_F over the sum of the Frobenius norms of its two sides"),
    "invariant_alignment": ((), "cosine between the two sides of the invariant"),
    "invariant_change": ((), "‖E(t) − E(0)‖_F over the sum of the Frobenius norms of both sides at t = 0"),
    "invariant_law_error": (
        (),
        "‖E(t) − E(0) − what the case's law gives‖_F over the sum of the norms of both sides at t = 0; NaN without one",
    ),
    **{name: ((), definition) for name, definition in METRICS.items()},
}

_SHOWN = (
    ("NC1 trace ratio", "nc1_trace_ratio"),
    ("NC2 ETF distance", "nc2_etf_distance"),
    ("NC3 unit means", "nc3_unit_means"),
)

NOISE_SHOWN = (*_SHOWN, ("E moved", "invariant_change"))
"""What the table of noisy models shows."""


def relaxation_tree(
    scenario: schema.RelaxationScenario, times: np.ndarray, values: Values, errors: Values, z: str, text: str
) -> xr.DataTree:
    """The arrays: every recorded quantity over cases and times, with standard errors where a case has them."""
    names = [case.name for case in scenario.cases]
    variables: dict[str, Variable] = {
        name: (("case", "time", *dimensions), np.stack([values[case][name] for case in names]), "1", definition)
        for name, (dimensions, definition) in _DEFINITIONS.items()
    }
    for name, (dimensions, definition) in _DEFINITIONS.items():
        if any(errors.values()):
            spread = [errors[case].get(name, np.full_like(values[case][name], np.nan)) for case in names]
            variables[f"{name}_standard_error"] = (
                ("case", "time", *dimensions),
                np.stack(spread),
                "1",
                f"standard error over the paths of: {definition}; NaN where the case has no paths",
            )
    theory = dataset(variables, {"case": names, "time": times, "part": list(EIGENSPACES)})
    theory = theory.assign_coords(model=("case", [case.model.kind for case in scenario.cases]))
    theory["time"].attrs.update(units=f"gradient-flow time ({z})", long_name="time since the initial state")
    return xr.DataTree.from_dict(
        {
            "/theory": theory,
            "/scenario": scenario_group(
                kind="relaxation", name=scenario.name, seed=scenario.seed, loss_scale=z, text=text
            ),
        }
    )


def relaxation_summary(
    scenario: schema.RelaxationScenario,
    values: Values,
    errors: Values,
    effects: Mapping[str, float | None],
    z: str,
    seconds: float,
) -> Summary:
    """The headline: a row for each case, and what it may be compared with."""
    problem, names = scenario.problem, [case.name for case in scenario.cases]
    laws = {name: values[name]["invariant_law_error"] for name in names}
    known = [float(law.max()) for law in laws.values() if np.isfinite(law).all()]
    statements = [
        f"{len(names)} cases from one initial state ({scenario.initial.kind}), C = {problem.classes}, "
        f"m = {problem.samples_per_class}, n = {problem.features}, {z}; integrated to t = {scenario.time.end:g} in "
        f"{seconds:.1f} s.",
        *_statements(scenario, values, effects),
    ]
    quantities = ()
    if known:
        quantities = (
            Quantity(
                "largest error of an invariant's law",
                max(known),
                "1",
                "Over all cases with a law and all times: ‖E(t) − E(0) − what the law gives‖_F over the sum of the "
                "norms of both sides at t = 0; the law gives 0 where E is conserved. This is the integration's own "
                "error.",
            ),
        )
    return Summary(
        title=scenario.name,
        kind="relaxation",
        statements=((scenario.description.strip(),) if scenario.description.strip() else ()) + tuple(statements),
        quantities=quantities,
        tables=(_ends(scenario, values, laws), *_noise(scenario, values, errors, effects)),
        warnings=(),
    )


def _statements(scenario: schema.RelaxationScenario, values: Values, effects: Mapping[str, float | None]) -> list[str]:
    found, names = [], {kind: [] for kind in ("unequal_classes", "cross_entropy", "weight_decay", "noisy")}
    for case in scenario.cases:
        names.setdefault(case.model.kind, []).append(case.name)
    if names["unequal_classes"]:
        found.append(
            f"{_listed(names['unequal_classes'])}: W, b, the class means and, as far as a class has samples enough, "
            "the class covariances are those of the common initial state; metrics are of the class means and "
            f"covariances, each class counting alike; {_listed(NEEDS_ONE_SIZE)} is left out where sizes differ. "
            "Z is that of the scenario's problem."
        )
    if names["cross_entropy"]:
        found.append(f"{_listed(names['cross_entropy'])}: R is softmax(WH + b1ᵀ) − Y, and the loss has no minimum.")
    if names["noisy"]:
        found.append(
            f"{_listed(names['noisy'])}: numbers are means over independent paths; Stratonovich's integral. Nothing "
            "else was repeated: the standard errors say nothing about other initial states."
        )
    without = [name for name in values if not np.isfinite(values[name]["invariant_change"]).all()]
    if without:
        found.append(f"{_listed(without)}: no invariant is known.")
    return found


def _ends(scenario: schema.RelaxationScenario, values: Values, laws: Mapping[str, np.ndarray]) -> Table:
    columns = (
        Column("case", "", "Name of the relaxed system."),
        Column("model", "", "What is relaxed."),
        Column(
            "‖R‖ final", "1", "Root of the sum of the squared norms of the residual's three parts at the last time."
        ),
        *(Column(label, "1", METRICS[name] + " At the last time.") for label, name in _SHOWN),
        Column("‖E‖ at 0", "1", "‖E‖_F over the sum of the norms of the invariant's two sides, at t = 0."),
        Column("‖E‖ final", "1", "The same at the last time."),
        Column("E moved", "1", "‖E(t) − E(0)‖_F at the last time over the sum of the norms of both sides at t = 0."),
        Column("law error", "1", "Largest ‖E(t) − E(0) − what the case's law gives‖_F over the same sum."),
    )
    rows = []
    for case in scenario.cases:
        seen = values[case.name]
        norms = np.linalg.norm(seen["residual_norm"][-1])
        numbers = [norms, *(seen[name][-1] for _, name in _SHOWN)]
        numbers += [seen["invariant_relative_norm"][0], seen["invariant_relative_norm"][-1]]
        numbers += [seen["invariant_change"][-1], laws[case.name].max()]
        rows.append((case.name, case.model.kind, *(_cell(number) for number in numbers)))
    return Table(
        "What each relaxation leads to",
        columns,
        tuple(rows),
        "Means over the paths for noisy models; – where undefined.",
    )


def _noise(
    scenario: schema.RelaxationScenario, values: Values, errors: Values, effects: Mapping[str, float | None]
) -> tuple[Table, ...]:
    noisy = {case.name: case.model.paths for case in scenario.cases if isinstance(case.model, schema.NoisyModel)}
    if not noisy:
        return ()
    columns = (
        Column("case", "", "Name of the noisy system."),
        Column("paths", "1", "Independent paths."),
        *(
            column
            for label, _ in NOISE_SHOWN
            for column in (
                Column(label, "1", f"Mean over the paths of “{label}” at the last time."),
                Column(f"± {label}", "1", "Its standard error: the standard deviation over the paths over √paths."),
            )
        ),
        Column(
            "step effect",
            "1",
            "Largest change of one of these means if the step is doubled on the same paths, in its standard errors. "
            "The step is small enough where this is well below 1.",
        ),
    )
    rows = []
    for case, paths in noisy.items():
        pairs = ((values[case][name][-1], errors[case][name][-1]) for _, name in NOISE_SHOWN)
        numbers = [_cell(number) for pair in pairs for number in pair]
        rows.append((case, paths, *numbers, effects[case]))
    return (Table("Noise: means and standard errors", columns, tuple(rows)),)


def _cell(value: np.ndarray | float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names)
