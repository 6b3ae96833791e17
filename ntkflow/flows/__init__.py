"""What moves: one Equinox module a dynamical system, its states, its invariant, and `solve`."""

from ntkflow.flows.abstract import AbstractBlockFlow, AbstractFlow, AbstractSquaredErrorFlow
from ntkflow.flows.block_modes import BlockModes
from ntkflow.flows.choice import choose_method, expected_work
from ntkflow.flows.class_blocks import AbstractClassBlockFlow
from ntkflow.flows.class_means import ClassFlow
from ntkflow.flows.class_values import ClassValuesFlow
from ntkflow.flows.conjugate_gradients import ConjugateGradients
from ntkflow.flows.cross_entropy import CrossEntropyFlow, CrossEntropyOutputFlow
from ntkflow.flows.dense_modes import DenseModes
from ntkflow.flows.ensemble import Ensemble, free_memory, solve_ensemble
from ntkflow.flows.frame import Frame, compress
from ntkflow.flows.frozen import FrozenKernelFlow
from ntkflow.flows.hand_over import HandOver, hand_over
from ntkflow.flows.hyperbola import Hyperbola
from ntkflow.flows.hyperbolic import HyperbolicFlow, HyperbolicState
from ntkflow.flows.initial_states import random_state, unbalanced_state, zero_invariant_state
from ntkflow.flows.invariant import InvariantSides
from ntkflow.flows.invariant_law import AbstractInvariantLawFlow, AccountedFlow, AccountedState
from ntkflow.flows.kernel_classification import KernelClassificationFlow
from ntkflow.flows.kernel_modes import AbstractKernelModes
from ntkflow.flows.kernel_regression import KernelRegressionFlow, RegressionOutputs
from ntkflow.flows.linearized import LinearizedFlow
from ntkflow.flows.loss_scale import NamedLossScale, describe_loss_scale, loss_scale_value
from ntkflow.flows.low_rank_modes import LowRankModes, nystrom_error_bound
from ntkflow.flows.matrix_blocks import MatrixBlockFlow
from ntkflow.flows.method import Integration, Method
from ntkflow.flows.noisy import (
    AbstractNoisyFlow,
    CorrelatedNoiseFlow,
    NoisyFlow,
    OffsetState,
    invariant_response,
)
from ntkflow.flows.reduced import InvariantFlow, InvariantState
from ntkflow.flows.representation import Representation, choose_representation, represent
from ntkflow.flows.residual import ResidualFlow
from ntkflow.flows.riccati import GramPair, gram_pair_at, gram_pair_limit
from ntkflow.flows.sample import SampleFlow, sample_residual
from ntkflow.flows.solve import Trajectory, integrate, solve
from ntkflow.flows.solve_sde import NoisyPaths, brownian_paths, solve_paths
from ntkflow.flows.solvers import RKC2, NewtonKrylov, SpectrumEstimate, estimate_spectrum, kvaerno5_krylov
from ntkflow.flows.spectral_factors import (
    descent_factors,
    descent_step_limit,
    descent_sums,
    descent_time,
    flow_factors,
    flow_sums,
)
from ntkflow.flows.states import ClassState, SampleState, within_basis
from ntkflow.flows.tiled_regression import RegressionLimit, RegressionMoments, TiledRegression
from ntkflow.flows.unequal_classes import UnequalClassFlow
from ntkflow.flows.varying_kernel import VaryingKernelFlow
from ntkflow.flows.varying_values import VaryingValuesFlow
from ntkflow.flows.weight_decay import WeightDecayFlow
from ntkflow.flows.wide_ensemble import EnsembleOutputs, WideEnsemble

__all__ = [
    "RKC2",
    "AbstractBlockFlow",
    "AbstractClassBlockFlow",
    "AbstractFlow",
    "AbstractInvariantLawFlow",
    "AbstractKernelModes",
    "AbstractNoisyFlow",
    "AbstractSquaredErrorFlow",
    "AccountedFlow",
    "AccountedState",
    "BlockModes",
    "ClassFlow",
    "ClassState",
    "ClassValuesFlow",
    "ConjugateGradients",
    "CorrelatedNoiseFlow",
    "CrossEntropyFlow",
    "CrossEntropyOutputFlow",
    "DenseModes",
    "Ensemble",
    "EnsembleOutputs",
    "Frame",
    "FrozenKernelFlow",
    "GramPair",
    "HandOver",
    "Hyperbola",
    "HyperbolicFlow",
    "HyperbolicState",
    "Integration",
    "InvariantFlow",
    "InvariantSides",
    "InvariantState",
    "KernelClassificationFlow",
    "KernelRegressionFlow",
    "LinearizedFlow",
    "LowRankModes",
    "MatrixBlockFlow",
    "Method",
    "NamedLossScale",
    "NewtonKrylov",
    "NoisyFlow",
    "NoisyPaths",
    "OffsetState",
    "RegressionLimit",
    "RegressionMoments",
    "RegressionOutputs",
    "Representation",
    "ResidualFlow",
    "SampleFlow",
    "SampleState",
    "SpectrumEstimate",
    "TiledRegression",
    "Trajectory",
    "UnequalClassFlow",
    "VaryingKernelFlow",
    "VaryingValuesFlow",
    "WeightDecayFlow",
    "WideEnsemble",
    "brownian_paths",
    "choose_method",
    "choose_representation",
    "compress",
    "descent_factors",
    "descent_step_limit",
    "descent_sums",
    "descent_time",
    "describe_loss_scale",
    "estimate_spectrum",
    "expected_work",
    "flow_factors",
    "flow_sums",
    "free_memory",
    "gram_pair_at",
    "gram_pair_limit",
    "hand_over",
    "integrate",
    "invariant_response",
    "kvaerno5_krylov",
    "loss_scale_value",
    "nystrom_error_bound",
    "random_state",
    "represent",
    "sample_residual",
    "solve",
    "solve_ensemble",
    "solve_paths",
    "unbalanced_state",
    "within_basis",
    "zero_invariant_state",
]
