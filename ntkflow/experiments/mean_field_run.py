"""What a mean-field scenario computes: the plane of phases, and a few networks followed through their layers."""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
import numpy as np

from ntkflow import scenario as schema
from ntkflow.errors import ScenarioError
from ntkflow.experiments.regression_kernel import dual_of
from ntkflow.initialization import (
    DeepLimit,
    DepthProfile,
    EquicorrelatedKernel,
    MeanField,
    TangentByDepth,
    chi_at_limit,
    deep_limit,
    depth_profile,
    edge_at_depth,
    edge_of_chaos,
    tangent_by_depth,
    trained_variance,
    variance_limit,
)
from ntkflow.kernels.infinite import AbstractDualActivation


@dataclasses.dataclass(frozen=True)
class Plane:
    """Limits on a grid, and the edge of chaos on the axis of σ_b².

    Attributes:
        sigma_w2: values of the first axis.
        sigma_b2: values of the second.
        chi_1: χ₁ at infinite depth, (σ_w², σ_b²).
        variance: q*, the same shape.
        edge_sigma_b2: where on the axis of σ_b² the edge of chaos is given.
        edge: σ_w² with χ₁ = 1 at infinite depth; NaN where there is none.
        edge_at_depth: the same for the product of χ₁ over the layers of the scenario's depth.
    """

    sigma_w2: np.ndarray
    sigma_b2: np.ndarray
    chi_1: np.ndarray
    variance: np.ndarray
    edge_sigma_b2: np.ndarray
    edge: np.ndarray
    edge_at_depth: np.ndarray


@dataclasses.dataclass(frozen=True)
class Followed:
    """One initialisation through the layers.

    Attributes:
        sigma_w2: σ_w², found where the scenario says "edge".
        sigma_b2: σ_b².
        limit: where it goes at infinite depth.
        profile: of all correlations of inputs, the scenario's and the data's last.
        kernel: κ of constant widths, α_l = 1.
        data_kernel: Θ̄* of the scenario's samples at the scenario's width, biases included.
        data_variance: q^L of an output.
        data_covariance: q_sr^L of two samples.
    """

    sigma_w2: float
    sigma_b2: float
    limit: DeepLimit
    profile: DepthProfile
    kernel: TangentByDepth
    data_kernel: EquicorrelatedKernel | None
    data_variance: float
    data_covariance: float

    @property
    def trained_variance(self) -> float:
        """Theorem 3 for the scenario's samples; NaN if the kernel is beyond float64."""
        if self.data_kernel is None:
            return math.nan
        return trained_variance(self.data_kernel, self.data_variance, self.data_covariance)


@dataclasses.dataclass(frozen=True)
class MeanFieldRun:
    """All of it.

    Attributes:
        scenario: what was run.
        z: how Z is called.
        loss_scale: Z.
        plane: phases.
        followed: one a listed initialisation.
    """

    scenario: schema.MeanFieldScenario
    z: str
    loss_scale: float
    plane: Plane
    followed: tuple[Followed, ...]


def phase_plane(scenario: schema.MeanFieldScenario) -> Plane:
    """The phases on the scenario's grid."""
    dual, plane = dual_of(scenario.activation), scenario.plane
    weight, bias = (np.linspace(axis.start, axis.end, axis.points) for axis in (plane.sigma_w2, plane.sigma_b2))
    columns = jnp.asarray(weight)[:, None]
    # Evenly in σ_b: the line of a smooth odd activation leaves the axis like a square root.
    sigma_b = jnp.linspace(math.sqrt(bias[0]), math.sqrt(bias[-1]), bias.size)
    limits = variance_limit(dual, columns, jnp.asarray(bias)[None, :])
    return Plane(
        sigma_w2=weight,
        sigma_b2=bias,
        chi_1=np.asarray(chi_at_limit(dual, columns, limits)),
        variance=np.asarray(limits),
        edge_sigma_b2=np.asarray(sigma_b) ** 2,
        edge=np.asarray(edge_of_chaos(dual, sigma_b)),
        edge_at_depth=np.asarray(edge_at_depth(dual, sigma_b, scenario.depth)),
    )


def follow(scenario: schema.MeanFieldScenario, index: int) -> Followed:
    """One of the listed initialisations.

    Raises:
        ScenarioError: no edge of chaos with this σ_b².
    """
    dual, section = dual_of(scenario.activation), scenario.initializations[index]
    weight = section.sigma_w2
    if weight == "edge":
        weight = _edge(dual, section.sigma_b2, index)
    network = MeanField(dual, math.sqrt(weight), math.sqrt(section.sigma_b2))
    gaps = 1 - jnp.asarray([*scenario.correlations, scenario.data_correlation])
    profile = depth_profile(network, scenario.depth, gap=gaps)
    true = tangent_by_depth(profile, [scenario.width] * scenario.depth, biases=True)
    log_own, together = float(true.log_own_s[-1, -1]), float(true.correlation[-1, -1])
    log_variance, correlation = float(profile.log_variance_s[-1, -1]), float(profile.correlation[-1, -1])
    finite = max(abs(log_own), abs(log_variance)) < 700
    own, variance = (math.exp(log) if finite else math.nan for log in (log_own, log_variance))
    return Followed(
        sigma_w2=weight,
        sigma_b2=section.sigma_b2,
        limit=deep_limit(network),
        profile=profile,
        kernel=tangent_by_depth(profile),
        data_kernel=EquicorrelatedKernel(own, own * together, scenario.samples) if finite else None,
        data_variance=variance,
        data_covariance=variance * correlation,
    )


def _edge(dual: AbstractDualActivation, sigma_b2: float, index: int) -> float:
    edge = float(edge_of_chaos(dual, math.sqrt(sigma_b2)))
    if math.isnan(edge):
        raise ScenarioError(
            f"there is no edge of chaos at sigma_b2 = {sigma_b2:g}",
            place=f"initializations.{index}.sigma_w2",
            remedy="Give sigma_w2 as a number.",
        )
    return edge
