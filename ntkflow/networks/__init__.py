"""Networks with a feature/readout split, their activations and initialisations."""

from ntkflow.networks.activations import ACTIVATIONS, Activation
from ntkflow.networks.batch_classifier import (
    AbstractBatchClassifier,
    require_statistics,
    running_average,
    with_statistics_of,
)
from ntkflow.networks.batch_norm import BatchNorm
from ntkflow.networks.checkpoint import (
    CheckpointHeader,
    encode_checkpoint,
    load_checkpoint,
    read_header,
    save_checkpoint,
)
from ntkflow.networks.classifier import AbstractClassifier, Readout
from ntkflow.networks.convolution import Convolution, NormalizedConvolution
from ntkflow.networks.frozen_equinox import FrozenNetwork, freeze
from ntkflow.networks.initializers import Initialization, initial_bias, initial_weight, normal_weight
from ntkflow.networks.mlp import MLP, Dense
from ntkflow.networks.pooling import average_pool, global_average_pool, max_pool
from ntkflow.networks.resnet import ResidualBlock, ResNet, Shortcut
from ntkflow.networks.statistics import BatchAxis, Statistics
from ntkflow.networks.stored import Stored

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "AbstractBatchClassifier",
    "AbstractClassifier",
    "Activation",
    "BatchAxis",
    "BatchNorm",
    "CheckpointHeader",
    "Convolution",
    "Dense",
    "FrozenNetwork",
    "Initialization",
    "NormalizedConvolution",
    "Readout",
    "ResNet",
    "ResidualBlock",
    "Shortcut",
    "Statistics",
    "Stored",
    "average_pool",
    "encode_checkpoint",
    "freeze",
    "global_average_pool",
    "initial_bias",
    "initial_weight",
    "load_checkpoint",
    "max_pool",
    "normal_weight",
    "read_header",
    "require_statistics",
    "running_average",
    "save_checkpoint",
    "with_statistics_of",
]
