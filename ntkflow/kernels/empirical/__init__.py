"""The empirical NTK engine: exact kernels of any Equinox network, in tiles under a memory budget."""

from ntkflow.kernels.empirical.block_values import network_block_values, network_output_values
from ntkflow.kernels.empirical.empirical_ntk import DEFAULT_MEMORY, EmpiricalKernel, empirical_ntk
from ntkflow.kernels.empirical.network_program import Of, ParameterFilter, Trace
from ntkflow.kernels.empirical.network_values import NetworkBlockValues, OutputBlockValues
from ntkflow.kernels.empirical.output_pairs import OutputPairs, network_output_pairs
from ntkflow.kernels.empirical.plan import MethodName

__all__ = [
    "DEFAULT_MEMORY",
    "EmpiricalKernel",
    "MethodName",
    "NetworkBlockValues",
    "Of",
    "OutputBlockValues",
    "OutputPairs",
    "ParameterFilter",
    "Trace",
    "empirical_ntk",
    "network_block_values",
    "network_output_pairs",
    "network_output_values",
]
