"""How fast neural-tangents makes the kernels of issue 4: `python neural_tangents_kernels.py [--smoke] [--case NAME …]`.

For an environment of its own, tests/oracles/neural_tangents/requirements.txt. One line of JSON a case on stdout.
Compiled by jax.jit, with ``vmap_axes=0``, which the library's documentation advises for networks that treat
samples one by one.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import functools

import jax
import jax.numpy as jnp
from jax._src import source_info_util
from jax.interpreters import ad
from peer_networks import mlp, parameters_of, resnet
from peer_problems import Problem, Sizes, mlp_problem, resnet_problem
from peer_timing import Run, command_line

# neural-tangents 0.6.5 reads these two names when it replays a program for structured derivatives; jax took them away.
ad.source_info_util = source_info_util
ad.config = jax.config

import neural_tangents as nt  # noqa: E402

IMPLEMENTATIONS = {
    "structured": nt.NtkImplementation.STRUCTURED_DERIVATIVES,
    "jacobian": nt.NtkImplementation.JACOBIAN_CONTRACTION,
    "ntvp": nt.NtkImplementation.NTK_VECTOR_PRODUCTS,
}


def case(network: str, of: str, trace: str, implementation: str, sizes: Sizes, dtype: str, chunk: int | None) -> Run:
    """One kernel, compiled at its first run."""
    if dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    if chunk is not None:
        raise SystemExit("neural-tangents takes all outputs at once: there is no --chunk here")
    problem: Problem = (mlp_problem if network == "mlp" else resnet_problem)(sizes, dtype)
    kernel = nt.empirical_ntk_fn(
        mlp(of) if network == "mlp" else resnet(problem, of),
        trace_axes=(-1,) if trace == "mean" else (),
        vmap_axes=0,
        implementation=IMPLEMENTATIONS[implementation],
    )
    compiled = jax.jit(lambda x, parameters: kernel(x, None, parameters))
    parameters = parameters_of(problem, of)
    inputs = jnp.asarray(problem.inputs)
    return lambda: compiled(inputs, parameters).block_until_ready()


CASES = {
    f"{network}-{of}-{trace}-{implementation}": functools.partial(case, network, of, trace, implementation)
    for network, of, trace, implementation in (
        ("mlp", "logits", "mean", "structured"),
        ("mlp", "logits", "mean", "jacobian"),
        ("mlp", "logits", "full", "structured"),
        ("mlp", "logits", "full", "jacobian"),
        ("resnet", "logits", "mean", "structured"),
        ("resnet", "logits", "mean", "jacobian"),
        ("resnet", "features", "mean", "structured"),
        ("resnet", "features", "mean", "jacobian"),
        ("resnet", "features", "full", "structured"),
        ("resnet", "features", "full", "jacobian"),
    )
}

if __name__ == "__main__":
    command_line((__doc__ or "").splitlines()[0], CASES, {"neural-tangents": nt.__version__, "jax": jax.__version__})
