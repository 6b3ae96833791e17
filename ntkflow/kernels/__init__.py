"""What couples samples: block kernels as operators, empirical kernels of networks, estimates of their structure."""

from ntkflow.kernels.alignment import (
    centred_kernel,
    centred_kernel_alignment,
    centred_label_alignment,
    kernel_alignment,
    label_alignment,
    own_class_alignment,
)
from ntkflow.kernels.alignment_estimate import AlignmentEstimate, estimate_label_alignment
from ntkflow.kernels.block import BlockKernel, block_values, rates, step_limit
from ntkflow.kernels.block_ratios import BLOCK_RATIOS, BlockRatios, estimate_block_ratios, ratios_of
from ntkflow.kernels.change import (
    EigenspaceRotation,
    TopEigenspace,
    class_space_overlap,
    eigenspace_rotation,
    kernel_distance,
    kernel_rotation,
    relative_change,
    top_eigenspace,
)
from ntkflow.kernels.class_block import ClassBlockKernel
from ntkflow.kernels.class_estimates import ClassBlockEstimate, estimate_class_values
from ntkflow.kernels.classical import linear_kernel, rbf_kernel
from ntkflow.kernels.commutant import Commutant
from ntkflow.kernels.eigenspaces import EIGENSPACES, EigenspaceSplit, split_eigenspaces
from ntkflow.kernels.elasticity import (
    LocalElasticity,
    elasticity_of,
    local_elasticity,
    relative_similarity,
    step_similarity,
)
from ntkflow.kernels.empirical import (
    EmpiricalKernel,
    NetworkBlockValues,
    OutputBlockValues,
    OutputPairs,
    empirical_ntk,
    network_block_values,
    network_output_pairs,
    network_output_values,
)
from ntkflow.kernels.estimates import BLOCK_VALUES, BlockEstimate, estimate_block_values
from ntkflow.kernels.infinite import (
    GELU,
    AbstractDualActivation,
    AbstractQuadratureDual,
    ConvolutionalKernel,
    Erf,
    FullyConnectedKernel,
    KernelPair,
    KinkedDual,
    LeakyReLU,
    PairMoments,
    Sine,
    SmoothDual,
    Step,
    WidePairs,
)
from ntkflow.kernels.matrix_block import MatrixBlockKernel
from ntkflow.kernels.mean_tangent import MeanTangentKernel
from ntkflow.kernels.neuron_diagonal import IsotropicKernel, NeuronDiagonalKernel, with_block_means
from ntkflow.kernels.nystrom import NystromKernel
from ntkflow.kernels.operator import AbstractKernelOperator
from ntkflow.kernels.pair_kernel import AbstractPairKernel, GaussianPairs
from ntkflow.kernels.sample_sums import SampleSums
from ntkflow.kernels.spectrum import SubspaceSpectrum, effective_rank, participation_ratio, subspace_spectrum
from ntkflow.kernels.structure import (
    StructureShares,
    block_share,
    class_block_share,
    nearest_block_matrix,
    pair_norms,
    structure_shares,
)
from ntkflow.kernels.tangent import SampleNetwork, TangentKernel, apply_compiled, stable_step_limit, top_eigenvalue
from ntkflow.kernels.tiled_kernel import TiledKernel
from ntkflow.kernels.whole import ReadoutKernel, WholeKernel

__all__ = [
    "BLOCK_RATIOS",
    "BLOCK_VALUES",
    "EIGENSPACES",
    "GELU",
    "AbstractDualActivation",
    "AbstractKernelOperator",
    "AbstractPairKernel",
    "AbstractQuadratureDual",
    "AlignmentEstimate",
    "BlockEstimate",
    "BlockKernel",
    "BlockRatios",
    "ClassBlockEstimate",
    "ClassBlockKernel",
    "Commutant",
    "ConvolutionalKernel",
    "EigenspaceRotation",
    "EigenspaceSplit",
    "EmpiricalKernel",
    "Erf",
    "FullyConnectedKernel",
    "GaussianPairs",
    "IsotropicKernel",
    "KernelPair",
    "KinkedDual",
    "LeakyReLU",
    "LocalElasticity",
    "MatrixBlockKernel",
    "MeanTangentKernel",
    "NetworkBlockValues",
    "NeuronDiagonalKernel",
    "NystromKernel",
    "OutputBlockValues",
    "OutputPairs",
    "PairMoments",
    "ReadoutKernel",
    "SampleNetwork",
    "SampleSums",
    "Sine",
    "SmoothDual",
    "Step",
    "StructureShares",
    "SubspaceSpectrum",
    "TangentKernel",
    "TiledKernel",
    "TopEigenspace",
    "WholeKernel",
    "WidePairs",
    "apply_compiled",
    "block_share",
    "block_values",
    "centred_kernel",
    "centred_kernel_alignment",
    "centred_label_alignment",
    "class_block_share",
    "class_space_overlap",
    "effective_rank",
    "eigenspace_rotation",
    "elasticity_of",
    "empirical_ntk",
    "estimate_block_ratios",
    "estimate_block_values",
    "estimate_class_values",
    "estimate_label_alignment",
    "kernel_alignment",
    "kernel_distance",
    "kernel_rotation",
    "label_alignment",
    "linear_kernel",
    "local_elasticity",
    "nearest_block_matrix",
    "network_block_values",
    "network_output_pairs",
    "network_output_values",
    "own_class_alignment",
    "pair_norms",
    "participation_ratio",
    "rates",
    "ratios_of",
    "rbf_kernel",
    "relative_change",
    "relative_similarity",
    "split_eigenspaces",
    "stable_step_limit",
    "step_limit",
    "step_similarity",
    "structure_shares",
    "subspace_spectrum",
    "top_eigenspace",
    "top_eigenvalue",
    "with_block_means",
]
