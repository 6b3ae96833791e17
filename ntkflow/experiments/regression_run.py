"""What a kernel regression found: errors and accuracies of its outputs at times, after steps and in the limit."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow import scenario as schema
from ntkflow.data import Dataset
from ntkflow.flows import KernelRegressionFlow, RegressionOutputs, TiledRegression
from ntkflow.kernels import split_eigenspaces

_OUTSIDE = 1e-20
"""Of the targets' squared norm, more than this outside a kernel's range is not rounding."""


@dataclasses.dataclass(frozen=True)
class Observed:
    """Errors of outputs at several moments; an axis of two is training, test.

    Attributes:
        squared_error: mean over samples and outputs of (f − y)², (moments, 2).
        squared_error_se: its standard error over the samples of the set, (moments, 2).
        accuracy: share of samples whose largest output is that of their class, (moments, 2).
        loss: the loss of the flow, penalty included, (moments,).
        norms: of the three parts of the training residual, (moments, 3).
    """

    squared_error: np.ndarray
    squared_error_se: np.ndarray
    accuracy: np.ndarray
    loss: np.ndarray
    norms: np.ndarray


@dataclasses.dataclass(frozen=True)
class Fit:
    """Descent: step counts, the gradient-flow time each amounts to, and the errors there."""

    steps: np.ndarray
    times: np.ndarray
    observed: Observed


@dataclasses.dataclass(frozen=True)
class EnsembleVariance:
    """Variance of an output over infinitely wide networks from random starts, mean over samples of training, test.

    Attributes:
        at_times: (times, 2).
        limit: as t → ∞, (2,).
    """

    at_times: np.ndarray
    limit: np.ndarray


@dataclasses.dataclass(frozen=True)
class DepthLimit:
    """Of a network of infinite width with another number of hidden layers: errors as t → ∞, one moment, and rank."""

    hidden_layers: int
    limit: Observed
    rank: int


@dataclasses.dataclass(frozen=True)
class LowRank:
    """The kernel of low rank, as model or as preconditioner.

    Attributes:
        rank: pivots that there are.
        trace_share: tr(Θ − Θ̃)/tr Θ.
        limit_bound: no further is the root mean square over training samples and outputs of the limit with Θ̃ from that
            with Θ; None for a preconditioner.
    """

    rank: int
    trace_share: float
    limit_bound: float | None


@dataclasses.dataclass(frozen=True)
class Iterations:
    """What conjugate gradients and Lanczos' method did.

    Attributes:
        iterations: of conjugate gradients, the most of any output.
        residual: ‖(Θ + ρ)a − (Y − f₀(X))‖/‖Y − f₀(X)‖, the largest of any output.
        steps: of Lanczos' method.
        bounds: of the root mean square error of the outputs at times, (times, 2).
        scale: root mean square of Y − f₀(X).
    """

    iterations: int
    residual: float
    steps: int
    bounds: np.ndarray
    scale: float


@dataclasses.dataclass(frozen=True)
class RegressionRun:
    """Everything a regression found.

    Attributes:
        scenario: what was asked for.
        dataset: the samples; only those tested on as test samples.
        flow: the regression in closed form; None where the kernel was applied and not stored.
        z: "Z = N = 80".
        times: of the flow.
        at_times: errors there.
        limit: errors as t → ∞, one moment.
        descent: errors after steps, if asked for.
        distance_from_shared: ‖Θ − I ⊗ K‖_F/‖Θ‖_F of an empirical kernel, K the mean over outputs of Θ_kk.
        ensemble: of an infinitely wide network; None for other kernels, and where the kernel was not stored.
        depths: of infinitely wide networks of other depths, if asked for.
        low_rank: of solvers that have one.
        iterations: of the solver that iterates.
    """

    scenario: schema.RegressionScenario
    dataset: Dataset
    flow: KernelRegressionFlow | None
    z: str
    times: np.ndarray
    at_times: Observed
    limit: Observed
    descent: Fit | None
    distance_from_shared: float | None
    ensemble: EnsembleVariance | None = None
    depths: tuple[DepthLimit, ...] = ()
    low_rank: LowRank | None = None
    iterations: Iterations | None = None

    @property
    def closed_form(self) -> KernelRegressionFlow:
        """The flow, where there is one."""
        assert self.flow is not None
        return self.flow

    @property
    def eigenvalues(self) -> np.ndarray:
        """λ, the largest first."""
        return np.sort(np.asarray(self.closed_form.kernel.eigenvalues))[::-1]

    @property
    def energies(self) -> np.ndarray:
        """Shares of ‖Y − f₀(X)‖² in each mode, in the order of ``eigenvalues``; they add up to 1."""
        order = np.argsort(np.asarray(self.closed_form.kernel.eigenvalues))[::-1]
        shares = np.asarray(
            self.closed_form.kernel.energies(self.closed_form.targets - self.closed_form.initial.train)
        )[order]
        return shares / shares.sum()

    @property
    def bound(self) -> float:
        """√(2 Σ_k y_kᵀΘ⁻¹y_k/N), the leading term of thesis (2.62) for outputs that start at 0; infinite where Y is not
        in Θ's range."""
        values, squares = self.eigenvalues, self.energies * float(np.sum(np.square(self.closed_form.targets)))
        outside = squares[values == 0].sum() > _OUTSIDE * squares.sum()
        moved = values > 0
        return math.inf if outside else math.sqrt(2 * float(np.sum(squares[moved] / values[moved])) / self.samples)

    @property
    def samples(self) -> int:
        """N."""
        return self.dataset.inputs.shape[0]

    @property
    def effective_rank(self) -> float:
        """exp(−Σ p log p) with p = λ/Σλ (Roy and Vetterli, 2007); 0 for a kernel that is 0."""
        there = self.eigenvalues[self.eigenvalues > 0]
        shares = there / there.sum()
        return float(np.exp(-np.sum(shares * np.log(shares)))) if there.size else 0.0


def joined(moments: Sequence[Observed]) -> Observed:
    """Several moments as one."""
    names = [field.name for field in dataclasses.fields(Observed)]
    return Observed(*(np.concatenate([getattr(one, name) for one in moments]) for name in names))


def observe(flow: KernelRegressionFlow, data: Dataset, outputs: RegressionOutputs) -> Observed:
    """Errors of outputs whose leading axis is moments, on the device and brought to the host once."""
    return _observed(data, outputs, _losses(flow, outputs))


@eqx.filter_jit
def _losses(flow: KernelRegressionFlow, outputs: RegressionOutputs) -> Float[Array, " moments"]:
    return jax.vmap(flow.loss)(outputs)


def observe_tiled(
    regression: TiledRegression, data: Dataset, outputs: RegressionOutputs, coefficients: Float[Array, "moments _ _2"]
) -> Observed:
    """The same of a regression that is not in closed form, whose loss needs the coefficients."""
    return _observed(data, outputs, regression.losses(outputs, coefficients))


def _observed(data: Dataset, outputs: RegressionOutputs, losses: Float[Array, " moments"]) -> Observed:
    test_targets = data.targets[:, data.test_labels]
    labels = data.labels, data.test_labels
    found = _measured(outputs, (data.target_matrix, test_targets), labels, classes=data.classes)
    error, deviation, accuracy, norms = (np.asarray(item) for item in found)
    return Observed(error, deviation, accuracy, np.asarray(losses), norms)


@eqx.filter_jit
def _measured(
    outputs: RegressionOutputs,
    targets: tuple[Float[Array, "outputs _"], Float[Array, "outputs _"]],
    labels: tuple[Array, Array],
    *,
    classes: int,
) -> tuple[Array, ...]:
    columns = []
    for values, wanted, right in zip((outputs.train, outputs.test), targets, labels, strict=True):
        of_sample = jnp.mean((values - wanted) ** 2, axis=1)
        deviation = jnp.std(of_sample, axis=1, ddof=1) / math.sqrt(right.size)
        share = jnp.mean(jnp.argmax(values, axis=1) == right, axis=1, dtype=values.dtype)
        columns.append((jnp.mean(of_sample, axis=1), deviation, share))
    pairs = [jnp.stack(pair, axis=1) for pair in zip(*columns, strict=True)]
    norms = jax.vmap(lambda train: split_eigenspaces(train - targets[0], classes).norms())(outputs.train)
    return *pairs, norms
