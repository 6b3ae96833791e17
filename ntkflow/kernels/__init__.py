"""What couples samples: block kernels as operators, empirical kernels of networks, estimates of their structure."""

from ntkflow.kernels.alignment import block_share, label_alignment
from ntkflow.kernels.block import BlockKernel, block_values, rates, step_limit
from ntkflow.kernels.class_block import ClassBlockKernel
from ntkflow.kernels.classical import linear_kernel, rbf_kernel
from ntkflow.kernels.commutant import Commutant
from ntkflow.kernels.eigenspaces import EIGENSPACES, EigenspaceSplit, split_eigenspaces
from ntkflow.kernels.estimates import BLOCK_VALUES, BlockEstimate, estimate_block_values
from ntkflow.kernels.layerwise import DenseNetwork, LayerFactors, layer_factors
from ntkflow.kernels.matrix_block import MatrixBlockKernel
from ntkflow.kernels.tangent import SampleNetwork, TangentKernel, stable_step_limit, top_eigenvalue
from ntkflow.kernels.tangent_pairs import tangent_matrix

__all__ = [
    "BLOCK_VALUES",
    "EIGENSPACES",
    "BlockEstimate",
    "BlockKernel",
    "ClassBlockKernel",
    "Commutant",
    "DenseNetwork",
    "EigenspaceSplit",
    "LayerFactors",
    "MatrixBlockKernel",
    "SampleNetwork",
    "TangentKernel",
    "block_share",
    "block_values",
    "estimate_block_values",
    "label_alignment",
    "layer_factors",
    "linear_kernel",
    "rates",
    "rbf_kernel",
    "split_eigenspaces",
    "stable_step_limit",
    "step_limit",
    "tangent_matrix",
    "top_eigenvalue",
]
