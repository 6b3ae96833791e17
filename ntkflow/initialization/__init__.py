"""Networks at initialisation: how random their NTK is, exactly where it can be known, sampled where not."""

from ntkflow.initialization.activations import ACTIVATIONS, Activation
from ntkflow.initialization.conditioned import Ensemble, PairSample, sample_ntk, sample_ntk_pair
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
from ntkflow.initialization.moments import NTKMoments, ntk_moments
from ntkflow.initialization.monte_carlo import NTKSamples, draw_ntk, sample_until
from ntkflow.initialization.off_diagonal import (
    OFF_DIAGONAL_BOUNDS,
    correlation_map,
    off_diagonal_dispersion_bound,
    off_diagonal_ratio,
)
from ntkflow.initialization.published import published_moments
from ntkflow.initialization.real_weights import drawn_network, real_ntk
from ntkflow.initialization.relu_chain import sample_relu_ntk

__all__ = [
    "ACTIVATIONS",
    "OFF_DIAGONAL_BOUNDS",
    "Activation",
    "DispersionEstimate",
    "Ensemble",
    "ExpectedFirstStep",
    "LayeredNetwork",
    "NTKMoments",
    "NTKSamples",
    "PairSample",
    "correlation_map",
    "dispersion_limit",
    "draw_ntk",
    "drawn_network",
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
]
