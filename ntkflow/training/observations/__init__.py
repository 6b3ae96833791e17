"""What is measured of a network at chosen epochs of its training, with definitions, errors and costs."""

from ntkflow.training.observations.abstract import AbstractObservation, Arrays
from ntkflow.training.observations.alignments import AlignmentObservation
from ntkflow.training.observations.block_values import BlockValueObservation
from ntkflow.training.observations.collapse import CollapseObservation
from ntkflow.training.observations.curvature import Curvature
from ntkflow.training.observations.forward import Outputs, outputs_of
from ntkflow.training.observations.invariant import InvariantObservation
from ntkflow.training.observations.kernel_method import KernelMethod
from ntkflow.training.observations.lanczos import TopEigenvalue, largest_eigenvalue
from ntkflow.training.observations.losses import SPLITS, LossObservation
from ntkflow.training.observations.moment import Moment
from ntkflow.training.observations.objective import LossName, Objective
from ntkflow.training.observations.observe import (
    References,
    cost_names,
    cost_variable,
    observe,
    references_of,
)
from ntkflow.training.observations.observed import Observed, kernel_sample
from ntkflow.training.observations.record_epochs import Spacing, listed_epochs, record_epochs
from ntkflow.training.observations.residuals import ResidualObservation
from ntkflow.training.observations.shared import SHARED_WORK
from ntkflow.training.observations.sharpness import SharpnessObservation, stability_threshold
from ntkflow.training.observations.variable import Variable

__all__ = [
    "SHARED_WORK",
    "SPLITS",
    "AbstractObservation",
    "AlignmentObservation",
    "Arrays",
    "BlockValueObservation",
    "CollapseObservation",
    "Curvature",
    "InvariantObservation",
    "KernelMethod",
    "LossName",
    "LossObservation",
    "Moment",
    "Objective",
    "Observed",
    "Outputs",
    "References",
    "ResidualObservation",
    "SharpnessObservation",
    "Spacing",
    "TopEigenvalue",
    "Variable",
    "cost_names",
    "cost_variable",
    "kernel_sample",
    "largest_eigenvalue",
    "listed_epochs",
    "observe",
    "outputs_of",
    "record_epochs",
    "references_of",
    "stability_threshold",
]
