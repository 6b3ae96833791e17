"""Kernels of infinitely wide networks, by recursion over layers."""

from ntkflow.kernels.infinite.angle import angle_of_gap
from ntkflow.kernels.infinite.convolutional import ConvolutionalKernel, Head, NngpAndNtk
from ntkflow.kernels.infinite.dual_activation import AbstractDualActivation, PairMoments
from ntkflow.kernels.infinite.leaky_relu import LeakyReLU

__all__ = [
    "AbstractDualActivation",
    "ConvolutionalKernel",
    "Head",
    "LeakyReLU",
    "NngpAndNtk",
    "PairMoments",
    "angle_of_gap",
]
