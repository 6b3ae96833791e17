"""The headline of a plane of networks."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from ntkflow.experiments.kernel_change_run import KernelChangeRun
from ntkflow.experiments.kernel_change_tree import CHANGE, KERNELS
from ntkflow.results import Cell, Column, Quantity, Summary, Table, format_number
from ntkflow.training import DIVERGED, GOES_ON, STOPPED

_SE = "Standard error over seeds; none where fewer than two networks are left."


def kernel_change_summary(run: KernelChangeRun) -> Summary:
    """Statements, the largest changes on both sides of the border, tables by width and depth, warnings."""
    scenario, data, found = run.scenario, run.dataset, run.found
    description, network = scenario.description.strip(), scenario.network
    what = (
        f"{data.name}: {data.inputs.shape[0]} training samples, {data.per_class} of each of {data.classes} classes. "
        f"{found['end'].size} {network.activation} networks in the standard parametrisation, σ_b² = "
        f"{network.sigma_b2:g}: {len(scenario.sigma_w2)} values of σ_w² from {scenario.sigma_w2[0]:g} to "
        f"{scenario.sigma_w2[-1]:g}, L = {', '.join(map(str, scenario.depths))}, M = "
        f"{', '.join(map(str, scenario.widths))}, {scenario.seeds} seeds. Full-batch steps of {scenario.step_size:g}, "
        f"loss ‖R‖²/(2Z), {run.z}; at most {scenario.steps} of them, and none after {scenario.stopping.patience} "
        f"without a decrease by {scenario.stopping.least_decrease:g}."
    )
    return Summary(
        title=scenario.name,
        kind="kernel_change",
        statements=(
            *([description] if description else []),
            what,
            f"{CHANGE}: {KERNELS[scenario.kernel]}.",
            *run.messages,
        ),
        quantities=_quantities(run),
        tables=(
            _table(
                run,
                "Change of the kernel at the end",
                found["change"][..., -1],
                f"Mean over seeds of {CHANGE} at the end of training, of networks that did not diverge",
            ),
            _table(
                run,
                "Minimal loss",
                found["least_loss"],
                "Mean over seeds of the smallest finite ‖R‖²/(2Z) of a training",
            ),
            _ends(run),
        ),
        warnings=_warnings(run),
    )


def _quantities(run: KernelChangeRun) -> tuple[Quantity, ...]:
    values, change = np.array(run.scenario.sigma_w2), run.found["change"][..., -1]
    found: list[Quantity] = []
    if run.border is not None:
        found.append(
            Quantity(
                "border of the phases",
                run.border,
                "1",
                "σ_w² at which χ₁ = σ_w² E[φ'(√q z)²] is 1, q at its fixed point (paper 1, section 2).",
            )
        )
        for side, inside in (("ordered", values < run.border), ("chaotic", values > run.border)):
            finite = change[:, :, inside][np.isfinite(change[:, :, inside])]
            if finite.size:
                where = "below" if side == "ordered" else "above"
                found.append(
                    Quantity(
                        f"largest change, {side} phase",
                        float(finite.max()),
                        "1",
                        f"Largest {CHANGE} at the end over all networks with σ_w² {where} the border that did not "
                        "diverge.",
                    )
                )
    found.append(
        Quantity(
            "smallest step limit",
            float(run.found["step_limit"].min()),
            f"gradient-flow time ({run.z})",
            "Smallest 2Z/λ_max(Θ) at the start, Θ of all pairs of outputs, over all networks.",
        )
    )
    return tuple(found)


def shown_values(run: KernelChangeRun) -> tuple[int, ...]:
    """Indices of three σ_w²: the smallest, the nearest to the border, or the middle one, and the largest."""
    values = np.array(run.scenario.sigma_w2)
    middle = len(values) // 2 if run.border is None else int(np.argmin(np.abs(values - run.border)))
    return tuple(sorted({0, middle, len(values) - 1}))


def _table(run: KernelChangeRun, title: str, values: Float[np.ndarray, "..."], words: str) -> Table:
    shown, scenario = shown_values(run), run.scenario
    columns = [Column("M", "1", "Neurons of every hidden layer."), Column("L", "1", "Layers with weights.")]
    for order, index in enumerate(shown):
        value = scenario.sigma_w2[index]
        columns += [
            Column(f"σ_w² = {value:g}", "1", f"{words}; σ_w² = {value:g}."),
            Column("±" + " " * order, "1", _SE),
        ]
    rows: list[tuple[Cell, ...]] = []
    for i, width in enumerate(scenario.widths):
        for j, depth in enumerate(scenario.depths):
            cells = [cell for index in shown for cell in _mean(values[i, j, index])]
            rows.append((str(width), str(depth), *cells))
    return Table(title, tuple(columns), tuple(rows), "All values of σ_w² are in the results and in the figures.")


def _mean(values: Float[np.ndarray, " seeds"]) -> tuple[Cell, Cell]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None, None
    return float(finite.mean()), float(finite.std(ddof=1) / math.sqrt(finite.size)) if finite.size > 1 else None


def _ends(run: KernelChangeRun) -> Table:
    scenario = run.scenario
    rows: list[tuple[Cell, ...]] = []
    for i, width in enumerate(scenario.widths):
        for j, depth in enumerate(scenario.depths):
            ends = run.found["end"][i, j]
            counts = [int((ends == kind).sum()) for kind in (STOPPED, GOES_ON, DIVERGED)]
            beyond = int((scenario.step_size > run.found["step_limit"][i, j]).sum())
            rows.append((str(width), str(depth), *counts, float(np.median(run.found["steps"][i, j])), beyond))
    return Table(
        "How trainings ended",
        (
            Column("M", "1", "Neurons of every hidden layer."),
            Column("L", "1", "Layers with weights."),
            Column(
                "stopped early",
                "1",
                f"Networks, over all σ_w² and seeds, whose loss did not fall by {scenario.stopping.least_decrease:g} "
                f"in {scenario.stopping.patience} consecutive steps.",
            ),
            Column("step limit", "1", f"Networks that took all {scenario.steps} steps."),
            Column("diverged", "1", "Networks whose loss left the finite numbers."),
            Column("steps", "1", "Median of the steps taken."),
            Column("step too large", "1", "Networks with η > 2Z/λ_max(Θ) at the start."),
        ),
        tuple(rows),
    )


def _warnings(run: KernelChangeRun) -> tuple[str, ...]:
    scenario, limits = run.scenario, run.found["step_limit"]
    messages: list[str] = []
    beyond = int((scenario.step_size > limits).sum())
    if beyond:
        messages.append(
            f"The step {scenario.step_size:g} is above 2Z/λ_max(Θ) at the start of {beyond} of {limits.size} networks, "
            f"down to {format_number(float(limits.min()), 3)}: these do not follow gradient flow, and their kernels "
            "change because of the step too."
        )
    if run.border is None:
        messages.append("No border of the phases was found for this activation and σ_b²; none is drawn.")
    return tuple(messages)
