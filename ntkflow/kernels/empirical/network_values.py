"""Measured block values of a network, with what they mean and how far they may be off."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Float

from ntkflow.kernels.class_estimates import ClassBlockEstimate, estimate_class_values
from ntkflow.kernels.empirical.network_program import Of
from ntkflow.kernels.estimates import BlockEstimate
from ntkflow.kernels.intervals import draws_interval, skewed_interval, skewness_of, third_cumulant_of_mean
from ntkflow.kernels.sample_sums import SampleSums


@dataclasses.dataclass(frozen=True)
class NetworkBlockValues:
    """(d, c, n) of a network's traced kernel and two errors: of random outputs, and of the draw of samples.

    The first says how far the values are from those of all outputs on these very samples, and is 0 where all outputs
    were taken. The second is how far another draw of samples would move them, a jackknife.

    Attributes:
        estimate: the values as a :class:`BlockKernel`, and their jackknife covariance.
        draws: the values of each random combination of outputs, whose mean is the estimate; ``None`` for all outputs.
        sums: the kernel's sums over classes that all of this is made of.
        of: "logits" or "features".
        trace: "mean" or "sum" over the outputs.
        outputs: their number.
        how: passes and memory.
    """

    estimate: BlockEstimate
    draws: Float[np.ndarray, "draws 3"] | None
    sums: SampleSums
    of: Of
    trace: Literal["mean", "sum"]
    outputs: int
    how: str

    @property
    def values(self) -> Float[np.ndarray, "3"]:
        """d, c, n."""
        return self.estimate.values

    @property
    def output_covariance(self) -> Float[np.ndarray, "3 3"]:
        """Covariance of d, c, n over draws of random outputs, on these samples; 0 for all outputs."""
        if self.draws is None:
            return np.zeros((3, 3))
        return np.cov(self.draws, rowvar=False) / len(self.draws)

    @property
    def sample_covariance(self) -> Float[np.ndarray, "3 3"]:
        """Jackknife covariance of d, c, n over draws of samples; NaN for m < 3."""
        return self.estimate.covariance

    @property
    def covariance(self) -> Float[np.ndarray, "3 3"]:
        """Of d, c, n as estimates for the population: both kinds of draws, which are independent.

        What both do together is in both of them, so that this is a little too large rather than too small.
        """
        return self.output_covariance + self.sample_covariance

    @property
    def degrees_of_freedom(self) -> Float[np.ndarray, "3"]:
        """Of the variances of d, c, n for the population, sums of two that are estimated apart (Satterthwaite)."""
        if self.draws is None:
            return self.estimate.degrees_of_freedom
        of_outputs, of_samples = np.diagonal(self.output_covariance), np.diagonal(self.sample_covariance)
        shares = of_outputs**2 / (len(self.draws) - 1) + of_samples**2 / self.estimate.degrees_of_freedom
        return np.where(shares > 0, (of_outputs + of_samples) ** 2 / np.where(shares > 0, shares, 1.0), 1.0)

    def interval(self, level: float = 0.95) -> Float[np.ndarray, "3 2"]:
        """Intervals for d, c, n of all outputs on these samples; of no width where all outputs were taken.

        Student's t with r − 1 degrees of freedom, corrected for skewness
        (:func:`ntkflow.kernels.intervals.draws_interval`). Raises ``ValueError`` for a level outside (0, 1).
        """
        if self.draws is None:
            return np.stack([self.values, self.values], axis=-1)
        return draws_interval(self.draws, level)

    def population_interval(self, level: float = 0.95) -> Float[np.ndarray, "3 2"]:
        """Intervals for d, c, n of the population that the samples were drawn from; NaN for m < 3.

        Student's t on the root of the summed variances, with Satterthwaite's degrees of freedom and corrected for the
        skewness of both (:func:`ntkflow.kernels.intervals.skewed_interval`). Raises ``ValueError`` for a level outside
        (0, 1).
        """
        if self.draws is None:
            return self.estimate.interval(level)
        cumulants = third_cumulant_of_mean(self.draws) + self.estimate.jackknife.third_cumulants
        errors = np.sqrt(np.diagonal(self.covariance))
        return skewed_interval(self.values, errors, skewness_of(cumulants, errors), self.degrees_of_freedom, level)

    def by_class(self) -> ClassBlockEstimate:
        """d and c of each class, n of each pair of classes; over the random outputs, if these were taken."""
        return estimate_class_values(self.sums)

    def __str__(self) -> str:
        kernel = self.estimate.kernel
        which = "all" if self.draws is None else f"{len(self.draws)} random ±1 combinations of"
        lines = [
            f"NetworkBlockValues of {self.of}, {self.trace} over {which} {self.outputs} outputs, "
            f"on {kernel.classes} classes of {kernel.per_class} samples"
        ]
        outputs = np.sqrt(np.diagonal(self.output_covariance))
        samples = np.sqrt(np.diagonal(self.sample_covariance))
        meanings = ("a sample and itself", "two samples of one class", "two classes")
        for name, meaning, value, o, s in zip("dcn", meanings, self.values, outputs, samples, strict=True):
            of_outputs = "exact on these samples" if self.draws is None else f"± {o:.2g} by random outputs"
            of_samples = "no error over samples for m < 3" if np.isnan(s) else f"± {s:.2g} by another draw of samples"
            lines.append(f"  {name} = {value:.6g} ({meaning}): {of_outputs}, {of_samples}")
        return "\n".join([*lines, f"  {self.how}"])


@dataclasses.dataclass(frozen=True)
class OutputBlockValues:
    """(d, c, n) of Θ_{k,k} for every output k, exact on the samples.

    Attributes:
        values: d, c, n of each.
        covariance: their jackknife covariance over draws of samples; NaN for m < 3.
        sums: the sums over classes of every Θ_{k,k}.
        of: "logits" or "features".
        how: passes and memory.
    """

    values: Float[np.ndarray, "outputs 3"]
    covariance: Float[np.ndarray, "outputs 3 3"]
    sums: SampleSums
    of: Of
    how: str

    @property
    def standard_errors(self) -> Float[np.ndarray, "outputs 3"]:
        """Jackknife standard errors over draws of samples."""
        return np.sqrt(np.diagonal(self.covariance, axis1=-2, axis2=-1))

    def __str__(self) -> str:
        low, high = self.values.min(axis=0), self.values.max(axis=0)
        ranges = ", ".join(f"{name} in [{a:.4g}, {b:.4g}]" for name, a, b in zip("dcn", low, high, strict=True))
        return f"OutputBlockValues of {len(self.values)} {self.of}: {ranges}\n  {self.how}"
