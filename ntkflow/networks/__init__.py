"""Networks with a feature/readout split, their activations and initialisations."""

from ntkflow.networks.activations import ACTIVATIONS, HOMOGENEOUS, Activation
from ntkflow.networks.affine import AbstractAffine, Dense, NTKDense
from ntkflow.networks.batch_classifier import (
    AbstractBatchClassifier,
    require_statistics,
    running_average,
    with_statistics_of,
)
from ntkflow.networks.batch_mode import BatchMode, as_trained, unwrapped
from ntkflow.networks.batch_norm import BatchNorm
from ntkflow.networks.checkpoint import (
    CheckpointHeader,
    encode_checkpoint,
    load_checkpoint,
    read_header,
    save_checkpoint,
)
from ntkflow.networks.classifier import AbstractClassifier, Readout
from ntkflow.networks.convolution import (
    AbstractConvolution,
    Convolution,
    NormalizedConvolution,
    ProductConvolution,
    with_product_convolutions,
)
from ntkflow.networks.densenet import DenseLayer, DenseNet, PreactivatedConvolution
from ntkflow.networks.expansions import LazyNetwork, LinearizedNetwork, displacement_of
from ntkflow.networks.frozen_equinox import FrozenNetwork, freeze
from ntkflow.networks.initializers import (
    Initialization,
    gaussian,
    initial_bias,
    initial_weight,
    normal_weight,
    unit_normal,
)
from ntkflow.networks.mlp import MLP, Parametrization
from ntkflow.networks.normalized_dense import NormalizedDense
from ntkflow.networks.pooling import average_pool, global_average_pool, max_pool
from ntkflow.networks.precision import in_precision
from ntkflow.networks.resnet import ResidualBlock, ResNet, Shortcut
from ntkflow.networks.statistics import BatchAxis, Statistics
from ntkflow.networks.stored import Stored
from ntkflow.networks.vgg import VGG

__all__ = [
    "ACTIVATIONS",
    "HOMOGENEOUS",
    "MLP",
    "VGG",
    "AbstractAffine",
    "AbstractBatchClassifier",
    "AbstractClassifier",
    "AbstractConvolution",
    "Activation",
    "BatchAxis",
    "BatchMode",
    "BatchNorm",
    "CheckpointHeader",
    "Convolution",
    "Dense",
    "DenseLayer",
    "DenseNet",
    "FrozenNetwork",
    "Initialization",
    "LazyNetwork",
    "LinearizedNetwork",
    "NTKDense",
    "NormalizedConvolution",
    "NormalizedDense",
    "Parametrization",
    "PreactivatedConvolution",
    "ProductConvolution",
    "Readout",
    "ResNet",
    "ResidualBlock",
    "Shortcut",
    "Statistics",
    "Stored",
    "as_trained",
    "average_pool",
    "displacement_of",
    "encode_checkpoint",
    "freeze",
    "gaussian",
    "global_average_pool",
    "in_precision",
    "initial_bias",
    "initial_weight",
    "load_checkpoint",
    "max_pool",
    "normal_weight",
    "read_header",
    "require_statistics",
    "running_average",
    "save_checkpoint",
    "unit_normal",
    "unwrapped",
    "with_product_convolutions",
    "with_statistics_of",
]
