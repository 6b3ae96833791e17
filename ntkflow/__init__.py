"""ntkflow: block-structured neural tangent kernel dynamics, integrated, trained for real, and compared.

`ntkflow.compare` compares a network of yours with the theory, `ntkflow.compare_arrays` a run that is known by arrays.
The rest is in the rooms: `ntkflow.kernels`, `ntkflow.flows`, `ntkflow.collapse`, `ntkflow.networks`, `ntkflow.data`,
`ntkflow.training`, `ntkflow.comparison`, `ntkflow.scenario`, `ntkflow.experiments`, `ntkflow.results`,
`ntkflow.report`. Importing changes no setting of JAX; the flows need float64, which
`jax.config.update("jax_enable_x64", True)` switches on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ntkflow.experiments import compare, compare_arrays, read_measured_run
    from ntkflow.training import MeasuredMoment

__all__ = ["MeasuredMoment", "compare", "compare_arrays", "read_measured_run"]


def __getattr__(name: str) -> Any:
    # Not imported before they are asked for: the command line and the rooms without JAX would have to wait for them.
    if name not in __all__:
        raise AttributeError(f"module 'ntkflow' has no attribute {name!r}")
    from ntkflow import experiments, training

    return getattr(training if name == "MeasuredMoment" else experiments, name)
