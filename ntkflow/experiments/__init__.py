"""One module a scenario kind: turns a scenario into results by calling the rooms below."""

from ntkflow.experiments.compare_arrays import compare_arrays
from ntkflow.experiments.compare_network import Comparison, compare
from ntkflow.experiments.compare_results import compare_results
from ntkflow.experiments.estimate import Estimate, estimate
from ntkflow.experiments.estimate_kernels import KernelCost, KernelEstimate, estimate_kernels
from ntkflow.experiments.measured_file import read_measured_run
from ntkflow.experiments.outcome import Outcome
from ntkflow.experiments.run import experiment, run_scenario
from ntkflow.experiments.trust import Trust, trust

__all__ = [
    "Comparison",
    "Estimate",
    "KernelCost",
    "KernelEstimate",
    "Outcome",
    "Trust",
    "compare",
    "compare_arrays",
    "compare_results",
    "estimate",
    "estimate_kernels",
    "experiment",
    "read_measured_run",
    "run_scenario",
    "trust",
]
