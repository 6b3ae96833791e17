"""Dispersion of Θ(x, x): norms of layers beside Jacobians, of the same real draws, and samplers without weights.

    python benchmarks/dispersion.py            # 500 initialisations of 50 layers of 200
    python benchmarks/dispersion.py --smoke    # seconds

Jacobians are timed on fewer draws, for they take all of them alike; what is quoted is seconds a draw.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkflow.initialization import Ensemble, LayeredNetwork, draw_ntk, drawn_network, real_ntk, sample_relu_ntk


def main() -> None:
    """Print one line for each way."""
    jax.config.update("jax_enable_x64", True)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="a small case")
    parser.add_argument("--jacobians", type=int, default=10, help="draws whose Jacobians are computed")
    parser.add_argument("--real", type=int, default=50, help="draws of real weights by norms")
    asked = parser.parse_args()
    depth, width, draws = (5, 20, 50) if asked.smoke else (50, 200, 500)
    widths = (width,) * depth
    ensemble = Ensemble(
        jnp.full(depth, width), jnp.asarray(depth), jnp.asarray(2**0.5), jnp.asarray(0.0), "relu", width
    )
    inputs = jnp.zeros(width).at[0].set(1.0)
    keys = jax.random.split(jax.random.key(0), asked.real)

    norms = jax.jit(lambda some: jax.lax.map(lambda key: real_ntk(ensemble, key, inputs), some))

    @jax.jit
    def squared_gradient(network: LayeredNetwork) -> jax.Array:
        leaves = jax.tree.leaves(jax.grad(lambda net: net(inputs))(network))
        return jnp.log(sum((jnp.sum(leaf**2) for leaf in leaves), jnp.asarray(0.0)))

    make = jax.jit(lambda key: drawn_network(ensemble, key))

    def jacobians() -> list[float]:
        return [float(squared_gradient(make(key))) for key in keys[: asked.jacobians]]

    ways: dict[str, tuple[int, Callable[[], Any]]] = {
        "chain of norms (relu)": (draws, lambda: sample_relu_ntk(widths, 2**0.5, draws=draws, seed=0)),
        "conditioned weights": (draws, lambda: draw_ntk(widths, [2**0.5], sigma_b=1e-12, draws=draws, seed=0).logs),
        "real weights, norms": (asked.real, lambda: np.asarray(norms(keys))),
        "real weights, Jacobians": (asked.jacobians, jacobians),
    }
    found: dict[str, float] = {}
    for name, (count, run) in ways.items():
        run()
        times = []
        for _ in range(3):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        found[name] = sorted(times)[1] / count
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{name}: {1e3 * found[name]:.3g} ms a draw, {draws} take {draws * found[name]:.3g} s; peak {peak:.0f} MiB"
        )
    difference = np.abs(np.asarray(norms(keys))[: asked.jacobians] - np.array(jacobians())).max()
    print(f"norms against Jacobians of the same draws: ln Θ differs by {difference:.1e} at most")
    for name, seconds in found.items():
        print(f"Jacobians over {name}: {found['real weights, Jacobians'] / seconds:.3g}")


if __name__ == "__main__":
    main()
