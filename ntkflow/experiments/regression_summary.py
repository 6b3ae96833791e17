"""The headline of a kernel regression."""

from __future__ import annotations

import math

import numpy as np

from ntkflow import scenario as schema
from ntkflow.experiments.regression_kernel import infinite_in_words
from ntkflow.experiments.regression_run import Observed, RegressionRun
from ntkflow.experiments.regression_solver_summary import solver_in_words, solver_quantities, solver_warnings
from ntkflow.results import Cell, Column, Quantity, Summary, Table

ILL_CONDITIONED = 1e10
"""Condition beyond which the limit is warned about: what is known of targets and kernel to ten digits is lost in it."""


def regression_summary(run: RegressionRun) -> Summary:
    """Statements, numbers with definitions and standard errors, moments and eigenspaces, warnings."""
    description = run.scenario.description.strip()
    return Summary(
        title=run.scenario.name,
        kind="regression",
        statements=((description,) if description else ()) + (_what(run),),
        quantities=_quantities(run),
        tables=(_moments(run), *_depths(run)),
        warnings=(*_warnings(run), *solver_warnings(run)),
    )


def _what(run: RegressionRun) -> str:
    data = run.dataset
    kernel = run.scenario.kernel
    match kernel:
        case schema.EmpiricalKernel(outputs="coupled"):
            named = "the empirical tangent kernel of a network at initialisation, every pair of outputs kept"
        case schema.EmpiricalKernel():
            named = "the empirical tangent kernel of a network at initialisation, averaged over outputs"
        case schema.RBFKernel():
            named = f"the Gaussian kernel with length scale {kernel.length_scale:g}"
        case schema.LinearKernel():
            named = f"the linear kernel with bias {kernel.bias:g}"
        case schema.InfiniteMLP() | schema.InfiniteCNN():
            named = infinite_in_words(kernel)
    start = "0" if run.scenario.initial == "zero" else "the network's own outputs"
    return (
        f"{data.name}: {data.inputs.shape[0]} training samples, {data.per_class} of each of {data.classes} classes, "
        f"and {data.test_labels.size} test samples; {run.z}, ridge {run.scenario.ridge:g}. Regression with {named}, "
        f"from {start}; {solver_in_words(run.scenario.solver)}."
    )


def _quantities(run: RegressionRun) -> tuple[Quantity, ...]:
    return *_errors(run), *solver_quantities(run), *_spectral(run)


def _errors(run: RegressionRun) -> tuple[Quantity, ...]:
    test = run.limit
    return (
        Quantity(
            "test accuracy in the limit",
            float(test.accuracy[0, 1]),
            "1",
            "Share of test samples whose largest output is that of their class, as t → ∞. " + _SPREAD,
            _accuracy_error(test, run.dataset.test_labels.size)[0],
        ),
        Quantity(
            "test error in the limit",
            float(test.squared_error[0, 1]),
            "1",
            "Mean over test samples and outputs of (f − y)², as t → ∞. " + _SPREAD,
            float(test.squared_error_se[0, 1]),
        ),
    )


def _spectral(run: RegressionRun) -> tuple[Quantity, ...]:
    """What the eigenspaces say, where they are known."""
    if run.flow is None:
        return ()
    values, momentum = run.eigenvalues, _momentum(run)
    moved = values[values > 0]
    found = [
        Quantity(
            "what no kernel of this rank can fit",
            float(run.energies[values == 0].sum()),
            "1",
            "Share of ‖Y − f₀(X)‖² outside the range of the kernel: what of it stays as t → ∞ without ridge.",
        ),
        Quantity(
            "rank",
            float(moved.size),
            "1",
            f"Eigenvalues above rounding, of {run.flow.kernel.multiplicities.sum():.0f}: ten times the size times the "
            "machine precision times the largest; the others count as 0.",
        ),
        Quantity(
            "effective rank",
            run.effective_rank,
            "1",
            "exp(−Σ p log p) with p = λ/Σλ (Roy and Vetterli 2007): of as many equal eigenvalues it would be the rank.",
        ),
        Quantity(
            "condition",
            float((moved[0] + run.scenario.ridge) / (moved[-1] + run.scenario.ridge)) if moved.size else math.nan,
            "1",
            "(λ_max + ρ)/(λ_min + ρ) with the smallest eigenvalue above rounding: ratio of the fastest rate to the "
            "slowest.",
        ),
        Quantity(
            "largest stable step",
            run.flow.step_limit(momentum),
            "time",
            f"2(1 + β)Z/(λ_max + ρ) with β = {momentum:g}; {run.z}. Descent with a larger step diverges.",
        ),
    ]
    if run.scenario.initial == "zero":
        found.append(
            Quantity(
                "leading term of (2.62)",
                run.bound,
                "1",
                "√(2 Σ_k y_kᵀΘ⁻¹y_k/N) over the outputs k; infinite if the kernel cannot fit Y. Thesis (2.62) bounds "
                "the risk by it for one output, a hidden layer of ReLU, inputs of norm 1 and a bounded loss; here it "
                "orders kernels on the same data, and bounds nothing.",
            )
        )
    if run.ensemble is not None:
        for name, value in (
            ("at the end of the flow", run.ensemble.at_times[-1]),
            ("in the limit", run.ensemble.limit),
        ):
            found.append(
                Quantity(
                    f"spread over random starts {name}",
                    math.sqrt(float(value[1])),
                    "1",
                    "Root of the variance of an output over infinitely wide networks that start at random, mean over "
                    "test samples (Lee et al. 2019). Errors here are those of their mean; a single network's squared "
                    "error is larger by the square of this.",
                )
            )
    if run.distance_from_shared is not None:
        found.append(
            Quantity(
                "distance from a shared kernel",
                run.distance_from_shared,
                "1",
                "‖Θ − I ⊗ K‖_F/‖Θ‖_F over the training samples, K the mean over outputs of Θ_kk: 0 at infinite width.",
            )
        )
    return tuple(found)


_SPREAD = (
    "The standard error is over test samples, with the training samples and the kernel as they are; another draw of "
    "those would add to it."
)


def _moments(run: RegressionRun) -> Table:
    best = int(np.argmin(run.at_times.squared_error[:, 1]))
    rows = [
        _row("start", 0.0, run.at_times, 0, run),
        _row("least test error", float(run.times[best]), run.at_times, best, run),
        _row("end of the flow", float(run.times[-1]), run.at_times, -1, run),
    ]
    if run.descent is not None:
        label = f"after {run.descent.steps[-1]} steps"
        rows.append(_row(label, float(run.descent.times[-1]), run.descent.observed, -1, run))
    rows.append(_row("limit", math.inf, run.limit, 0, run))
    return Table(
        "Errors",
        (
            Column(
                "moment",
                "",
                "Of the gradient flow; least test error: among the saved times, chosen by looking at the test samples, "
                "so too good by that choice; after … steps: of gradient descent; limit: t → ∞.",
            ),
            Column("time", "time", f"Gradient-flow time, {run.z}; for descent the time its steps amount to."),
            Column("loss", "1", "[‖f(X) − Y‖² + ρ‖f − f₀‖²]/(2Z) on the training samples."),
            Column("train error", "1", "Mean over training samples and outputs of (f − y)²."),
            Column("test error", "1", "The same over test samples."),
            Column("± test error", "1", "Its standard error over test samples."),
            Column("train accuracy", "1", "Share of training samples whose largest output is that of their class."),
            Column("test accuracy", "1", "The same of test samples. Where all outputs are equal, class 0 is chosen."),
            Column("± test accuracy", "1", "Its standard error √(p(1 − p)/M) over M test samples."),
        ),
        tuple(rows),
    )


def _row(label: str, time: float, observed: Observed, index: int, run: RegressionRun) -> tuple[Cell, ...]:
    errors, accuracies = observed.squared_error[index], observed.accuracy[index]
    return (
        label,
        time,
        float(observed.loss[index]),
        float(errors[0]),
        float(errors[1]),
        float(observed.squared_error_se[index, 1]),
        float(accuracies[0]),
        float(accuracies[1]),
        _accuracy_error(observed, run.dataset.test_labels.size)[index],
    )


def _depths(run: RegressionRun) -> tuple[Table, ...]:
    """Of networks of other depths, if asked for."""
    if not run.depths:
        return ()
    tests = run.dataset.test_labels.size
    rows = tuple(
        (
            str(one.hidden_layers),
            float(one.limit.squared_error[0, 0]),
            float(one.limit.squared_error[0, 1]),
            float(one.limit.squared_error_se[0, 1]),
            float(one.limit.accuracy[0, 1]),
            _accuracy_error(one.limit, tests)[0],
            float(one.rank),
        )
        for one in run.depths
    )
    return (
        Table(
            "By depth, in the limit",
            (
                Column("hidden layers", "", "Of the network of infinite width; all else is as above."),
                Column("train error", "1", "Mean over training samples and outputs of (f − y)², as t → ∞."),
                Column("test error", "1", "The same over test samples."),
                Column("± test error", "1", "Its standard error over test samples."),
                Column("test accuracy", "1", "Share of test samples whose largest output is that of their class."),
                Column("± test accuracy", "1", "Its standard error √(p(1 − p)/M) over M test samples."),
                Column(
                    "rank",
                    "1",
                    "Eigenvalues above rounding: below the number of training samples depth has made samples alike.",
                ),
            ),
            rows,
            "All depths see the same samples, so they differ by less than these errors suggest.",
        ),
    )


def _accuracy_error(observed: Observed, samples: int) -> list[float]:
    shares = observed.accuracy[:, 1]
    return [float(value) for value in np.sqrt(shares * (1 - shares) / samples)]


def _momentum(run: RegressionRun) -> float:
    return 0.0 if run.scenario.descent is None else run.scenario.descent.momentum


def _warnings(run: RegressionRun) -> tuple[str, ...]:
    if run.flow is None:
        return ()
    values, descent, found = run.eigenvalues, run.scenario.descent, []
    limit = run.flow.step_limit(_momentum(run))
    if descent is not None and run.descent is not None and descent.step_size > limit:
        text = f"η = {descent.step_size:g} is above the largest stable step {limit:.4g}: descent diverges"
        last = int(run.descent.steps[-1])
        found.append(f"{text}." if last == descent.steps else f"{text}, and is shown until step {last}.")
    moved = values[values > 0]
    if moved.size and (moved[0] + run.scenario.ridge) / (moved[-1] + run.scenario.ridge) > ILL_CONDITIONED:
        found.append(
            f"The smallest eigenvalue above rounding is {moved[-1]:.3g} beside the largest {moved[0]:.3g}: the limit "
            "divides by it and keeps few digits of its mode. Outputs at finite times do not suffer; a ridge mends it."
        )
    return tuple(found)
