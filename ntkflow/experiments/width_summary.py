"""The headline of a study of widths."""

from __future__ import annotations

import math

import numpy as np

from ntkflow.comparison import PowerLaw
from ntkflow.experiments.width_run import DISTANCES, WidthRun
from ntkflow.results import Cell, Column, Quantity, Summary, Table, format_number

EXPECTED = -0.5
"""The exponent in the width that slides 003 give as a bound of every distance (Lee et al. 2019)."""


def width_summary(run: WidthRun) -> Summary:
    """Statements, exponents with intervals, accuracies with errors over seeds, warnings."""
    scenario, data = run.scenario, run.dataset
    description = scenario.description.strip()
    network = scenario.network
    layers = f"{network.hidden_layers} hidden layers" if network.hidden_layers > 1 else "one hidden layer"
    what = (
        f"{data.name}: {data.inputs.shape[0]} training samples, {data.per_class} of each of {data.classes} classes, "
        f"and {data.test_labels.size} test samples. {scenario.seeds} {network.activation} networks with {layers} for "
        f"each of {len(scenario.widths)} widths from {scenario.widths[0]} to {scenario.widths[-1]}, NTK "
        f"parametrisation, σ_w = {network.sigma_w:.4g}, σ_b = {network.sigma_b:.4g}; {scenario.steps} full-batch "
        f"steps of {scenario.step_size:g}, loss ‖R‖²/(2Z), {run.z}."
    )
    return Summary(
        title=scenario.name,
        kind="width",
        statements=(*([description] if description else []), what, _statement(run)),
        quantities=tuple(_quantity(name, law) for name, law in run.laws.items()),
        tables=(_exponents(run), _distances(run), _accuracies(run)),
        warnings=_warnings(run),
    )


def _named(name: str) -> str:
    return name.replace("_", " ")


def _statement(run: WidthRun) -> str:
    """Which distances are of the order of the bound, which keep it with room, and which do not keep it here."""
    places: dict[str, list[str]] = {"on": [], "below": [], "above": []}
    for name, law in run.laws.items():
        low, high = law.interval
        places["below" if high < EXPECTED else "above" if low > EXPECTED else "on"].append(_named(name))
    said = {
        "on": "holds −1/2 for {}",
        "below": "is below it for {}, which fall faster than the bound m^(−1/2) asks",
        "above": "is above it for {}, which these widths do not show to keep the bound",
    }
    parts = [said[place].format(", ".join(names)) for place, names in places.items() if names]
    return f"The 95 % interval of the exponent {'; '.join(parts)}."


def _quantity(name: str, law: PowerLaw) -> Quantity:
    return Quantity(
        f"exponent of the {_named(name)}",
        law.exponent,
        "1",
        f"p of c·mᵖ in the width m, least squares in logarithms over all networks. The distance: {DISTANCES[name]}.",
        law.standard_error,
    )


def _exponents(run: WidthRun) -> Table:
    rows = tuple(
        (
            _named(name),
            law.exponent,
            law.standard_error,
            law.interval[0],
            law.interval[1],
            None if math.isnan(law.curvature) else law.curvature,
        )
        for name, law in run.laws.items()
    )
    return Table(
        "How distances fall with the width",
        (
            Column("distance", "", ". ".join(f"{_named(name)}: {words}" for name, words in DISTANCES.items()) + "."),
            Column("exponent", "1", "p of c·mᵖ, least squares in logarithms; every network is a point."),
            Column("±", "1", "Its standard error, from the scatter about the line."),
            Column("from", "1", "95 % interval by Student's t."),
            Column("to", "1", "The same."),
            Column(
                "curvature",
                "1",
                "p over the upper half of the widths less p over the lower half: away from 0 the widths are too small "
                "for a power law, or steps and seeds too few.",
            ),
        ),
        rows,
        "Slides 003 bound all of them by O(m^(−1/2)) (Lee et al. 2019), the curves because the outputs are. The "
        "kernel at the start and the parameters are of that order; the change of the kernel, and with it of outputs "
        "and curves, falls faster for large m, up to 1/m for a smooth activation (Dyer and Gur-Ari 2020).",
    )


def _distances(run: WidthRun) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for index, width in enumerate(run.scenario.widths):
        cells: list[Cell] = [str(width)]
        for name in DISTANCES:
            values = run.distances(name)[index]
            cells += [float(values.mean()), _error(values)]
        rows.append(tuple(cells))
    columns = [Column("width", "", "Neurons of every hidden layer.")]
    for index, (name, words) in enumerate(DISTANCES.items()):
        columns += [
            Column(_named(name), "1", f"Mean over seeds: {words}."),
            Column("±" + " " * index, "1", "Its standard error over seeds."),
        ]
    return Table("Distances by width", tuple(columns), tuple(rows))


def _accuracies(run: WidthRun) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for width, row in zip(run.scenario.widths, run.finite, strict=True):
        trained = np.array([one.accuracy[-1] for one in row])
        linear = np.array([one.linear_accuracy for one in row])
        kernel = np.array([one.kernel_accuracy for one in row])
        wrong = np.array([one.squared_error[1, -1] for one in row])
        columns = (trained, linear, kernel, wrong)
        rows.append((str(width), *(cell for values in columns for cell in (float(values.mean()), _error(values)))))
    infinite = run.infinite
    single = float(infinite.squared_error[1, -1] + infinite.variance[1, -1])
    rows.append(("∞", None, None, None, None, float(infinite.accuracy[-1]), None, single, None))
    samples = run.dataset.test_labels.size
    return Table(
        "Test samples after the last step",
        (
            Column("width", "", "Neurons of every hidden layer. ∞: networks of infinite width."),
            Column(
                "accuracy",
                "1",
                "Share of test samples whose largest output is that of their class, mean over seeds, of the trained "
                f"networks. Over another draw of the {samples} test samples it would vary by √(p(1 − p)/{samples}) "
                "besides.",
            ),
            Column("±", "1", "Standard error over seeds."),
            Column(
                "linearised",
                "1",
                "The same of each network's linearisation from its start, f₀ and all.",
            ),
            Column("± ", "1", "Standard error over seeds."),
            Column(
                "kernel",
                "1",
                "The same of kernel regression from outputs 0, after as many steps, by each network's kernel at its "
                "start; ∞: by the kernel of infinite width, which is the mean over infinitely many networks.",
            ),
            Column("±   ", "1", "Standard error over seeds."),
            Column(
                "squared error",
                "1",
                "Mean over test samples and outputs of (f − y)² of single networks; ∞: expected of one, with its "
                "variance over starts.",
            ),
            Column("±  ", "1", "Standard error over seeds."),
        ),
        tuple(rows),
    )


def _error(values: np.ndarray) -> float:
    """Standard error of a mean over seeds."""
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def _warnings(run: WidthRun) -> tuple[str, ...]:
    found = []
    limit = run.infinite.step_limit
    if run.scenario.step_size > limit:
        found.append(
            f"The step {run.scenario.step_size:g} is above the largest stable one at infinite width, "
            f"{format_number(limit, 3)}: linearised networks diverge, and real ones leave the regime of the theory."
        )
    bent = [_named(name) for name, law in run.laws.items() if abs(law.curvature) > law.interval[1] - law.interval[0]]
    if bent:
        found.append(
            f"No power law over these widths: {', '.join(bent)}. The exponent changes from the lower to the upper "
            "half by more than its interval is wide; take larger widths."
        )
    return tuple(found)
