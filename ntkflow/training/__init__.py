"""Real training: gradient descent, exact gradient flow, mini-batches, ensembles, with what is measured on the way."""

from ntkflow.training.checkpoint_series import CheckpointSeries, Found
from ntkflow.training.descent_ensemble import (
    DIVERGED,
    GOES_ON,
    STOPPED,
    DescentEnsemble,
    descend_together,
    look,
)
from ntkflow.training.devices import device_mesh, replicate, split_batches, split_members
from ntkflow.training.ensemble import (
    EnsembleRecord,
    member,
    run_ensemble_steps,
    stack_members,
    train_ensemble_epoch,
)
from ntkflow.training.epochs import StepRecord, run_steps, train_epoch
from ntkflow.training.given_history import network_history
from ntkflow.training.gradient_descent import descend, descent_path, record_steps, train_by_gradient_descent
from ntkflow.training.gradient_flow import ParameterFlow, record_times, train_by_gradient_flow
from ntkflow.training.history import Checkpoint, History
from ntkflow.training.loop_form import Loop, chosen_loop, inside_loops
from ntkflow.training.measured_moment import MeasuredMoment, given_snapshot
from ntkflow.training.objective import AbstractObjective, CrossEntropy, SquaredError
from ntkflow.training.optimizer import SGD, AbstractOptimizer, Adam, Decay, Decayed
from ntkflow.training.problem import Problem, accuracy, residual_matrix
from ntkflow.training.programs import CHUNK
from ntkflow.training.recipe import Recipe, StepValues, copy_state, training_logits
from ntkflow.training.schedule import AbstractSchedule, Constant, Steps, step_times
from ntkflow.training.snapshot import KernelMeasurement, Snapshot, instantaneous_rates, measure_snapshot
from ntkflow.training.snapshot_kernels import (
    FORMS,
    WORDS,
    AbstractSnapshotKernels,
    Form,
    GivenKernels,
    NetworkKernels,
)
from ntkflow.training.state import TrainingState
from ntkflow.training.stopping import AbstractStoppingRule, LossBelow, StalledLoss, first_stop, train_until

__all__ = [
    "CHUNK",
    "DIVERGED",
    "FORMS",
    "GOES_ON",
    "SGD",
    "STOPPED",
    "WORDS",
    "AbstractObjective",
    "AbstractOptimizer",
    "AbstractSchedule",
    "AbstractSnapshotKernels",
    "AbstractStoppingRule",
    "Adam",
    "Checkpoint",
    "CheckpointSeries",
    "Constant",
    "CrossEntropy",
    "Decay",
    "Decayed",
    "DescentEnsemble",
    "EnsembleRecord",
    "Form",
    "Found",
    "GivenKernels",
    "History",
    "KernelMeasurement",
    "Loop",
    "LossBelow",
    "MeasuredMoment",
    "NetworkKernels",
    "ParameterFlow",
    "Problem",
    "Recipe",
    "Snapshot",
    "SquaredError",
    "StalledLoss",
    "StepRecord",
    "StepValues",
    "Steps",
    "TrainingState",
    "accuracy",
    "chosen_loop",
    "copy_state",
    "descend",
    "descend_together",
    "descent_path",
    "device_mesh",
    "first_stop",
    "given_snapshot",
    "inside_loops",
    "instantaneous_rates",
    "look",
    "measure_snapshot",
    "member",
    "network_history",
    "record_steps",
    "record_times",
    "replicate",
    "residual_matrix",
    "run_ensemble_steps",
    "run_steps",
    "split_batches",
    "split_members",
    "stack_members",
    "step_times",
    "train_by_gradient_descent",
    "train_by_gradient_flow",
    "train_ensemble_epoch",
    "train_epoch",
    "train_until",
    "training_logits",
]
