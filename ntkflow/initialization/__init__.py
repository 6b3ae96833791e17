"""Networks before training: mean-field theory over depth, phases, and how random their NTK is."""

from ntkflow.initialization.conditioned import Ensemble, PairSample, sample_ntk, sample_ntk_pair
from ntkflow.initialization.depth_profile import DepthProfile, depth_profile
from ntkflow.initialization.edge_of_chaos import edge_at_depth, edge_of_chaos
from ntkflow.initialization.equicorrelated import EquicorrelatedKernel, trained_variance
from ntkflow.initialization.estimate import (
    DispersionEstimate,
    estimate_dispersion,
    jackknife_ratio,
    plain_ratio,
    published_ratio,
)
from ntkflow.initialization.first_step import ExpectedFirstStep, expected_first_step, first_step_change
from ntkflow.initialization.layered_network import LayeredNetwork
from ntkflow.initialization.limits import dispersion_limit, published_dispersion_limit
from ntkflow.initialization.mean_field import MeanField, PairStep
from ntkflow.initialization.moments import NTKMoments, ntk_moments
from ntkflow.initialization.monte_carlo import NTKSamples, draw_ntk, sample_until
from ntkflow.initialization.off_diagonal import (
    OFF_DIAGONAL_BOUNDS,
    correlation_map,
    off_diagonal_dispersion_bound,
    off_diagonal_ratio,
)
from ntkflow.initialization.phases import EDGE_TOLERANCE, TRAINABLE_LENGTHS, DeepLimit, Phase, chi_at_limit, deep_limit
from ntkflow.initialization.published import published_moments
from ntkflow.initialization.real_weights import drawn_network, real_ntk
from ntkflow.initialization.relu_chain import sample_relu_ntk
from ntkflow.initialization.tangent_kernel import TangentByDepth, tangent_by_depth
from ntkflow.initialization.variance_limit import VarianceFixedPoint, variance_fixed_points, variance_limit

__all__ = [
    "EDGE_TOLERANCE",
    "OFF_DIAGONAL_BOUNDS",
    "TRAINABLE_LENGTHS",
    "DeepLimit",
    "DepthProfile",
    "DispersionEstimate",
    "Ensemble",
    "EquicorrelatedKernel",
    "ExpectedFirstStep",
    "LayeredNetwork",
    "MeanField",
    "NTKMoments",
    "NTKSamples",
    "PairSample",
    "PairStep",
    "Phase",
    "TangentByDepth",
    "VarianceFixedPoint",
    "chi_at_limit",
    "correlation_map",
    "deep_limit",
    "depth_profile",
    "dispersion_limit",
    "draw_ntk",
    "drawn_network",
    "edge_at_depth",
    "edge_of_chaos",
    "estimate_dispersion",
    "expected_first_step",
    "first_step_change",
    "jackknife_ratio",
    "ntk_moments",
    "off_diagonal_dispersion_bound",
    "off_diagonal_ratio",
    "plain_ratio",
    "published_dispersion_limit",
    "published_moments",
    "published_ratio",
    "real_ntk",
    "sample_ntk",
    "sample_ntk_pair",
    "sample_relu_ntk",
    "sample_until",
    "tangent_by_depth",
    "trained_variance",
    "variance_fixed_points",
    "variance_limit",
]
