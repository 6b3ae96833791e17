"""Networks before training: mean-field theory over depth, phases, the edge of chaos."""

from ntkflow.initialization.depth_profile import DepthProfile, depth_profile
from ntkflow.initialization.edge_of_chaos import edge_at_depth, edge_of_chaos
from ntkflow.initialization.equicorrelated import EquicorrelatedKernel, trained_variance
from ntkflow.initialization.mean_field import MeanField, PairStep
from ntkflow.initialization.phases import EDGE_TOLERANCE, TRAINABLE_LENGTHS, DeepLimit, Phase, chi_at_limit, deep_limit
from ntkflow.initialization.tangent_kernel import TangentByDepth, tangent_by_depth
from ntkflow.initialization.variance_limit import VarianceFixedPoint, variance_fixed_points, variance_limit

__all__ = [
    "EDGE_TOLERANCE",
    "TRAINABLE_LENGTHS",
    "DeepLimit",
    "DepthProfile",
    "EquicorrelatedKernel",
    "MeanField",
    "PairStep",
    "Phase",
    "TangentByDepth",
    "VarianceFixedPoint",
    "chi_at_limit",
    "deep_limit",
    "depth_profile",
    "edge_at_depth",
    "edge_of_chaos",
    "tangent_by_depth",
    "trained_variance",
    "variance_fixed_points",
    "variance_limit",
]
