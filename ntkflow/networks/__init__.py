"""Networks with a feature/readout split, their activations and initialisations."""

from ntkflow.networks.activations import ACTIVATIONS, Activation
from ntkflow.networks.classifier import AbstractClassifier, Readout
from ntkflow.networks.initializers import Initialization, normal_weight
from ntkflow.networks.mlp import MLP, Dense

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "AbstractClassifier",
    "Activation",
    "Dense",
    "Initialization",
    "Readout",
    "normal_weight",
]
