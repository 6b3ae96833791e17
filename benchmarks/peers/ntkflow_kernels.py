"""How fast ntkflow makes the kernels that its peers make: `python ntkflow_kernels.py [--smoke] [--case NAME …]`.

In ntkflow's own environment. One line of JSON a case on stdout, as the peers print it. The case ``jacrev`` is what one
would write in plain JAX: the Jacobian of every sample, contracted.
"""

from __future__ import annotations

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import ntkflow_networks
from peer_problems import Sizes, mlp_problem, resnet_problem
from peer_timing import Run, command_line

from ntkflow.kernels import empirical_ntk


def case(network: str, of: str, trace: str, way: str, sizes: Sizes, dtype: str, chunk: int | None) -> Run:
    """One kernel, compiled at its first run."""
    if chunk is not None:
        raise SystemExit("ntkflow chooses how many outputs it takes at once: there is no --chunk here")
    if dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    problem = (mlp_problem if network == "mlp" else resnet_problem)(sizes, dtype)
    net = getattr(ntkflow_networks, network)(problem)
    inputs = jnp.asarray(problem.inputs)
    if way == "jacrev":
        return lambda: jax.block_until_ready(jacrev_kernel(net, inputs, of, traced=trace == "mean"))
    settings: dict[str, Any] = {"of": of, "trace": "mean" if trace == "mean" else None, "method": way}
    return lambda: jax.block_until_ready(empirical_ntk(net, inputs, **settings).values)


@eqx.filter_jit
def jacrev_kernel(network: Any, x: jax.Array, of: str, *, traced: bool) -> jax.Array:
    """The mean over outputs, or all pairs of them, from whole Jacobians."""
    parameters, rest = eqx.partition(network, eqx.is_inexact_array)

    def outputs(parameters: Any, x: jax.Array) -> jax.Array:
        whole = eqx.combine(parameters, rest)
        return whole.features(x) if of == "features" else whole(x)

    jacobians = jax.tree.leaves(jax.vmap(jax.jacrev(outputs), (None, 0))(parameters, x))
    flat = [jacobian.reshape(*jacobian.shape[:2], -1) for jacobian in jacobians]
    if traced:
        return sum(jnp.einsum("ikp,jkp->ij", j, j) for j in flat) / flat[0].shape[1]
    return sum(jnp.einsum("ikp,jsp->kisj", j, j) for j in flat)


CASES = {
    f"{network}-{of}-{trace}-{way}": functools.partial(case, network, of, trace, way)
    for network, of, trace, way in (
        ("mlp", "logits", "mean", "structured"),
        ("mlp", "logits", "mean", "jacrev"),
        ("mlp", "logits", "full", "structured"),
        ("mlp", "logits", "full", "jacrev"),
        ("resnet", "logits", "mean", "structured"),
        ("resnet", "logits", "mean", "jacrev"),
        ("resnet", "features", "mean", "structured"),
        ("resnet", "features", "mean", "jacrev"),
        ("resnet", "features", "full", "structured"),
        ("resnet", "features", "full", "jacrev"),
    )
}

if __name__ == "__main__":
    command_line((__doc__ or "").splitlines()[0], CASES, {"jax": jax.__version__})
