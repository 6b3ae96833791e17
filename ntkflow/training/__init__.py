"""Real training: gradient descent and exact gradient flow, with what is measured on the way."""

from ntkflow.training.gradient_descent import descend, record_steps, train_by_gradient_descent
from ntkflow.training.gradient_flow import ParameterFlow, record_times, train_by_gradient_flow
from ntkflow.training.history import Checkpoint, History
from ntkflow.training.problem import Problem, accuracy, residual_matrix
from ntkflow.training.snapshot import KernelMeasurement, Snapshot, instantaneous_rates, measure_snapshot

__all__ = [
    "Checkpoint",
    "History",
    "KernelMeasurement",
    "ParameterFlow",
    "Problem",
    "Snapshot",
    "accuracy",
    "descend",
    "instantaneous_rates",
    "measure_snapshot",
    "record_steps",
    "record_times",
    "residual_matrix",
    "train_by_gradient_descent",
    "train_by_gradient_flow",
]
