"""What moves: one Equinox module a dynamical system, its states, its invariant, and `solve`."""

from ntkflow.flows.abstract import AbstractFlow, AbstractSquaredErrorFlow
from ntkflow.flows.class_means import ClassFlow
from ntkflow.flows.frozen import FrozenKernelFlow
from ntkflow.flows.initial_states import random_state, zero_invariant_state
from ntkflow.flows.invariant import InvariantSides
from ntkflow.flows.loss_scale import NamedLossScale, describe_loss_scale, loss_scale_value
from ntkflow.flows.residual import ResidualFlow
from ntkflow.flows.sample import SampleFlow, sample_residual
from ntkflow.flows.solve import Integration, Trajectory, integrate, solve
from ntkflow.flows.solvers import RKC2
from ntkflow.flows.states import ClassState, SampleState, within_basis

__all__ = [
    "RKC2",
    "AbstractFlow",
    "AbstractSquaredErrorFlow",
    "ClassFlow",
    "ClassState",
    "FrozenKernelFlow",
    "Integration",
    "InvariantSides",
    "NamedLossScale",
    "ResidualFlow",
    "SampleFlow",
    "SampleState",
    "Trajectory",
    "describe_loss_scale",
    "integrate",
    "loss_scale_value",
    "random_state",
    "sample_residual",
    "solve",
    "within_basis",
    "zero_invariant_state",
]
