"""Whether the theory of a fixed, deterministic NTK can be trusted for a network: phase, randomness, change, depth."""

from __future__ import annotations

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ntkflow.errors import UserError
from ntkflow.experiments.regression_kernel import dual_of
from ntkflow.initialization import (
    DeepLimit,
    Ensemble,
    MeanField,
    deep_limit,
    draw_ntk,
    drawn_network,
    edge_of_chaos,
    expected_first_step,
    first_step_change,
    ntk_moments,
    sample_until,
)
from ntkflow.networks import Activation
from ntkflow.progress import Progress, silent
from ntkflow.results import Quantity, Summary

TRUSTED = 0.1
"""Relative spread of Θ and change of Θ up to which the verdict calls the theory trustworthy: a choice, said with it."""
_PRECISION = 0.02
_NETWORKS = 200
_WEIGHTS = 2**22
"""Networks with more are not drawn whole: the first step is then known for ReLU without biases alone."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """A number, its standard error where it was sampled, and whether that error can be believed."""

    value: float
    standard_error: float | None = None
    reliable: bool = True
    networks: int = 0


@dataclasses.dataclass(frozen=True)
class Trust:
    """What is known beforehand of fully connected networks of one kind at initialisation. Print it.

    Attributes:
        activation: φ.
        depth: L, layers of weights.
        width: M of the hidden layers.
        inputs: n₀; inputs have mean square 1, ‖x‖² = n₀.
        sigma_w: weights are N(0, σ_w²/fan-in), standard parametrisation.
        sigma_b: biases are N(0, σ_b²).
        limit: phase, fixed points, lengths of infinite width.
        edge: σ_w² of the edge of chaos at this σ_b; NaN if there is none.
        dispersion: E Θ²/E² Θ of Θ(x, x).
        first_step: E ΔΘ/E Θ of Θ(x, x), to first order in η, of a step of gradient descent on (x, 0) with the loss
            f²/2 and η = 1/E Θ; None where it is not computed.
    """

    activation: Activation
    depth: int
    width: int
    inputs: int
    sigma_w: float
    sigma_b: float
    limit: DeepLimit
    edge: float
    dispersion: Measured
    first_step: Measured | None

    @property
    def spread(self) -> float:
        """√(E Θ²/E² Θ − 1), the standard deviation of Θ(x, x) over its mean."""
        return math.sqrt(max(self.dispersion.value - 1, 0.0))

    @property
    def verdict(self) -> str:
        """In words, by the thresholds that it names."""
        against = []
        if not self.spread <= TRUSTED:
            against.append(f"Θ is random, its standard deviation {self.spread:.2g} of its mean")
        if self.first_step is not None and not abs(self.first_step.value) <= TRUSTED:
            against.append(f"Θ changes by {self.first_step.value:+.2g} of itself in one step")
        if self.depth > self.limit.trainability_depth:
            against.append(
                f"it is deeper than {self.limit.trainability_depth:.3g} layers, beyond which signals are lost"
            )
        if not self.dispersion.reliable:
            against.append("the estimate of the dispersion is not to be believed, its tail is too heavy")
        if against:
            return f"A fixed, deterministic NTK is not to be trusted for this network: {'; '.join(against)}."
        known = "spread and first change of Θ are" if self.first_step is not None else "the spread of Θ is"
        return (
            f"A fixed, deterministic NTK can be trusted for this network at the start: {known} below {TRUSTED:g} of "
            "its mean, and signals reach its depth."
        )

    def summary(self) -> Summary:
        """The numbers with their definitions."""
        name = (
            f"Fully connected {self.activation} network, {self.depth} layers of weights, width {self.width}, "
            f"{self.inputs} inputs"
        )
        what = (
            f"σ_w² = {self.sigma_w**2:.4g}, σ_b² = {self.sigma_b**2:.4g}, standard parametrisation, one output, "
            f"inputs of mean square 1. "
            f"{self.limit.phase.capitalize()}{' of chaos' if self.limit.phase == 'edge' else ' phase'}."
        )
        notes = (
            []
            if self.first_step is not None
            else [
                "The change in the first step is computed for ReLU without biases, and else for networks of up to "
                f"{_WEIGHTS} weights."
            ]
        )
        return Summary(
            title=name,
            kind="trust",
            statements=(what, self.verdict),
            quantities=tuple(self._quantities()),
            warnings=tuple(notes),
        )

    def _quantities(self) -> list[Quantity]:
        limit = self.limit
        sampled = f" From {self.dispersion.networks} random networks." if self.dispersion.networks else " Exact."
        found = [
            Quantity(
                "χ₁",
                limit.chi_1,
                "1",
                "σ_w² E[φ'(√q* z)²] at the variance q* that infinitely wide networks tend to with depth: below 1 the "
                "ordered phase, above it the chaotic one (paper 1, section 2).",
            ),
            Quantity(
                "edge of chaos", self.edge, "1", "σ_w² at which χ₁ = 1, for this φ and σ_b; NaN if there is none."
            ),
            Quantity(
                "correlation length",
                limit.correlation_length,
                "layers",
                "Over which the correlation of two inputs comes nearer its fixed point by a factor e; infinite where "
                "it does so like a power.",
            ),
            Quantity(
                "trainability depth",
                limit.trainability_depth,
                "layers",
                "Six correlation lengths (Schoenholz et al. 2017, seen with tanh networks), or, where there are none, "
                "six lengths of gradients, by analogy.",
            ),
            Quantity(
                "dispersion of Θ(x, x)",
                self.dispersion.value,
                "1",
                f"E Θ²/E² Θ over random starts at this depth and width (paper 2).{sampled}",
                self.dispersion.standard_error,
            ),
            Quantity("spread of Θ(x, x)", self.spread, "1", "√(dispersion − 1): standard deviation over mean."),
        ]
        if self.first_step is not None:
            how = f" From {self.first_step.networks} random networks." if self.first_step.networks else " Exact."
            found.append(
                Quantity(
                    "change of Θ(x, x) in the first step",
                    self.first_step.value,
                    "1",
                    "E ΔΘ/E Θ to first order in η, of a step of gradient descent on (x, y = 0) with the loss f²/2 and "
                    f"η = 1/E Θ, which a linear model would fit the sample with (paper 2, (21)–(22)).{how}",
                    self.first_step.standard_error,
                )
            )
        return found


def trust(
    *,
    activation: Activation = "relu",
    depth: int,
    width: int,
    sigma_w: float,
    sigma_b: float = 0.0,
    inputs: int | None = None,
    samples: int = 8192,
    seed: int = 0,
    progress: Progress = silent,
) -> Trust:
    """Phase, randomness and first change of the NTK of fully connected networks, before any is trained.

    Args:
        activation: φ.
        depth: L ≥ 1, layers of weights.
        width: M ≥ 1 of the L − 1 hidden layers.
        sigma_w: σ_w > 0.
        sigma_b: σ_b ≥ 0.
        inputs: n₀, M unless told.
        samples: most random networks for the dispersion where no formula has it; fewer where 2 % are reached.
        seed: of everything random.
        progress: told from stage to stage.

    Raises:
        UserError: numbers that no network has, or that leave float64.
    """
    for name, count in (("depth", depth), ("width", width), ("inputs", inputs or 1), ("samples", samples)):
        if count < 1:
            raise UserError(f"{name} must be at least 1, not {count}", place=name, remedy="Give a larger number.")
    for name, value, low in (("sigma_w", sigma_w, True), ("sigma_b", sigma_b, False)):
        if not (math.isfinite(value) and (value > 0 if low else value >= 0)):
            kind = "positive" if low else "at least 0"
            raise UserError(f"{name} must be {kind}, not {value:g}", place=name, remedy="Give σ, not σ².")
    first = width if inputs is None else inputs
    widths = (first, *(width,) * (depth - 1))
    dual = dual_of(activation)
    progress("mean field", 0, 1)
    limit, edge = deep_limit(MeanField(dual, sigma_w, sigma_b)), float(edge_of_chaos(dual, sigma_b))
    progress("mean field", 1, 1)
    if activation == "relu" and sigma_b == 0:
        moments = ntk_moments(widths, sigma_w, input_norm_squared=float(first))
        rate = float(expected_first_step(widths, sigma_w, input_norm_squared=float(first)).log_relative_rate)
        dispersion = Measured(float(moments.dispersion))
        step: Measured | None = Measured(-math.exp(min(rate - float(moments.log_mean), 700.0)))
    else:
        progress("dispersion", 0, 1)
        found = sample_until(
            lambda start, count: draw_ntk(
                widths,
                [sigma_w],
                sigma_b=sigma_b,
                activation=activation,
                draws=count,
                seed=seed,
                first=start,
                input_norm_squared=float(first),
            ).logs[:, 0, 0],
            precision=_PRECISION,
            maximum=samples,
            seed=seed,
        )
        progress("dispersion", 1, 1)
        dispersion = Measured(found.value, found.standard_error, found.reliable, found.samples)
        step = sampled_first_step(widths, sigma_w, sigma_b, activation, seed=seed, progress=progress)
    return Trust(activation, depth, width, first, sigma_w, sigma_b, limit, edge, dispersion, step)


def sampled_first_step(
    widths: tuple[int, ...],
    sigma_w: float,
    sigma_b: float,
    activation: Activation,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> Measured | None:
    """E ΔΘ/E Θ at η = 1/E Θ over real networks: mean of ΔΘ at a unit step over the square of the mean of Θ.

    None for networks with more than some millions of weights.
    """
    rows = (*widths[1:], 1)
    if sum(one * other for one, other in zip(widths, rows, strict=True)) > _WEIGHTS:
        return None
    progress("first step", 0, 1)
    ensemble = Ensemble(
        jnp.asarray(widths),
        jnp.asarray(len(widths)),
        jnp.asarray(float(sigma_w)),
        jnp.asarray(float(sigma_b)),
        activation,
        max(widths),
    )
    changes, thetas = _steps(ensemble, jax.random.split(jax.random.key(seed), _NETWORKS), widths[0])
    unit, mean = np.asarray(changes), float(np.mean(thetas))
    value = float(unit.mean()) / mean**2
    # The ratio's linearisation: the error of the mean of Θ counts twice.
    apart = (unit - unit.mean()) / mean**2 - 2 * value * (np.asarray(thetas) - mean) / mean
    progress("first step", 1, 1)
    return Measured(value, float(apart.std(ddof=1) / math.sqrt(_NETWORKS)), True, _NETWORKS)


def _steps(ensemble: Ensemble, keys: jax.Array, inputs: int) -> tuple[jax.Array, jax.Array]:
    point = jnp.ones(inputs)

    # Closed over, not passed: the widths have to be numbers while the program is traced.
    @eqx.filter_jit
    def compiled(keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.lax.map(lambda key: first_step_change(drawn_network(ensemble, key), point, 0.0, step_size=1.0), keys)

    return compiled(keys)
