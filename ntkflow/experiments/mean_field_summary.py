"""The headline of a mean-field scenario."""

from __future__ import annotations

import math

from ntkflow.experiments.mean_field_run import Followed, MeanFieldRun
from ntkflow.initialization import EDGE_TOLERANCE
from ntkflow.results import Cell, Column, Summary, Table


def mean_field_summary(run: MeanFieldRun) -> Summary:
    """Statements, a table of limits at infinite depth, a table of kernels at the largest depth, warnings."""
    scenario = run.scenario
    description = scenario.description.strip()
    what = (
        f"Fully connected {scenario.activation} networks of infinite width with up to {scenario.depth} layers of "
        "weights; weights of variance σ_w²/fan-in, biases of variance σ_b², inputs with ‖x‖² = input dimension."
    )
    return Summary(
        title=scenario.name,
        kind="mean_field",
        statements=(*([description] if description else []), what, _edge_statement(run)),
        tables=(_limits(run), _kernels(run)),
        warnings=_warnings(run),
    )


def _edge_statement(run: MeanFieldRun) -> str:
    edges, biases = run.plane.edge, run.plane.sigma_b2
    if all(math.isnan(edge) for edge in edges):
        return "No edge of chaos on this plane."
    return (
        f"Edge of chaos: σ_w² = {edges[0]:.6g} at σ_b² = {biases[0]:g} and {edges[-1]:.6g} at σ_b² = {biases[-1]:g}, "
        f"where χ₁ = 1 at infinite depth; over the layers of depth {run.scenario.depth} it is "
        f"{run.plane.edge_at_depth[0]:.6g} and {run.plane.edge_at_depth[-1]:.6g}."
    )


def _name(one: Followed) -> str:
    return f"({one.sigma_w2:.5g}, {one.sigma_b2:.5g})"


def _limits(run: MeanFieldRun) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for one in run.followed:
        limit = one.limit
        values = (
            limit.variance,
            limit.chi_1,
            limit.correlation,
            limit.variance_length,
            limit.correlation_length,
            limit.trainability_depth,
        )
        rows.append((_name(one), limit.phase, *(None if math.isnan(value) else value for value in values)))
    return Table(
        "At infinite depth",
        (
            Column("(σ_w², σ_b²)", "", "Variances of weights times fan-in and of biases."),
            Column("phase", "", f"Ordered: χ₁ < 1, chaotic: χ₁ > 1, edge: within {EDGE_TOLERANCE:g} of 1."),
            Column("q*", "1", "Limit of the variance of pre-activations from q = 1; ∞: it diverges."),
            Column("χ₁", "1", "σ_w² E[φ'(u)²] at q*: factor of the variance of gradients a layer."),
            Column("c*", "1", "Limit of correlations c ≥ 0; none where a layer leaves every correlation as it is."),
            Column("ξ_q", "1", "Layers over which q − q* falls by e; none where q* is 0 or ∞."),
            Column("ξ_c", "1", "Layers over which c − c* falls by e; ∞ where it falls like a power of the depth."),
            Column(
                "trainable to",
                "1",
                "6 ξ_c, the depth to which tanh networks were seen to be trainable (Schoenholz et al. 2017); where q* "
                "is 0 or ∞, 6/|ln χ₁|.",
            ),
        ),
        tuple(rows),
    )


def _kernels(run: MeanFieldRun) -> Table:
    scenario = run.scenario
    rows: list[tuple[Cell, ...]] = []
    for one in run.followed:
        kernel = one.data_kernel
        if kernel is None:
            rows.append((_name(one), None, None, None, None, None))
            continue
        ratio = kernel.diagonal / kernel.off_diagonal if kernel.off_diagonal else math.inf
        rows.append(
            (
                _name(one),
                ratio,
                kernel.condition_number,
                kernel.step_limit(run.loss_scale),
                one.data_variance,
                one.trained_variance,
            )
        )
    return Table(
        f"Kernel at depth {scenario.depth}",
        (
            Column("(σ_w², σ_b²)", "", "Variances of weights times fan-in and of biases."),
            Column("κ̄₁/κ̄₂", "1", "Θ̄* on its diagonal over Θ̄* beside it, gradients of biases included."),
            Column("condition", "1", "Largest over smallest eigenvalue of Θ̄*; above 10¹⁴ it is rounding."),
            Column(
                "largest step",
                f"gradient-flow time ({run.z})",
                f"2Z/λ_max of Θ̄* in the standard parametrisation, widths {scenario.width}.",
            ),
            Column("q^L", "1", "Variance of an output at the start (Lemma 1)."),
            Column("after training", "1", "Variance of an output after training to t → ∞ with Θ̄* (Theorem 3)."),
        ),
        tuple(rows),
        f"Θ̄* is the kernel of {scenario.samples} inputs, each two of which have the correlation "
        f"{scenario.data_correlation:g}. Real networks of this depth and width differ from it the more, the larger "
        "depth over width, above all in the chaotic phase.",
    )


def _warnings(run: MeanFieldRun) -> tuple[str, ...]:
    beyond = [_name(one) for one in run.followed if one.data_kernel is None]
    if not beyond:
        return ()
    return (
        f"At depth {run.scenario.depth} the numbers of {', '.join(beyond)} are beyond what float64 can hold (10^±308); "
        "correlations and ratios are not affected, and results hold logarithms.",
    )
