"""Kernels of infinitely wide networks, by recursion over layers."""

from ntkflow.kernels.infinite.angle import angle_of_gap
from ntkflow.kernels.infinite.convolutional import ConvolutionalKernel, Head
from ntkflow.kernels.infinite.dual_activation import AbstractDualActivation, PairMoments
from ntkflow.kernels.infinite.erf import Erf
from ntkflow.kernels.infinite.fully_connected import ACCEPTED_ERROR, FullyConnectedKernel
from ntkflow.kernels.infinite.gelu import GELU
from ntkflow.kernels.infinite.kernel_pair import KernelPair
from ntkflow.kernels.infinite.kinked import KinkedDual
from ntkflow.kernels.infinite.leaky_relu import LeakyReLU
from ntkflow.kernels.infinite.quadrature_dual import AbstractQuadratureDual
from ntkflow.kernels.infinite.sine import Sine
from ntkflow.kernels.infinite.smooth import SmoothDual
from ntkflow.kernels.infinite.step import Step
from ntkflow.kernels.infinite.wide_pairs import WidePairs

__all__ = [
    "ACCEPTED_ERROR",
    "GELU",
    "AbstractDualActivation",
    "AbstractQuadratureDual",
    "ConvolutionalKernel",
    "Erf",
    "FullyConnectedKernel",
    "Head",
    "KernelPair",
    "KinkedDual",
    "LeakyReLU",
    "PairMoments",
    "Sine",
    "SmoothDual",
    "Step",
    "WidePairs",
    "angle_of_gap",
]
