"""Θʰ of a residual network applied in a compiled loop, as convolutions and as products: `python benchmarks/loops.py`.

Prints the table of docs/benchmarks.md.
"""

from __future__ import annotations

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from timing import in_turns

from ntkflow.kernels import TangentKernel
from ntkflow.networks import ResNet, as_trained, with_product_convolutions

jax.config.update("jax_enable_x64", True)

APPLICATIONS = 5


@eqx.filter_jit
def looped(kernel: TangentKernel, array: Array, count: Array) -> Float[Array, "features samples"]:
    """Θʰ applied so many times in one compiled loop; scaled, so that nothing overflows."""

    def step(_: Array, now: Array) -> Array:
        product = kernel.apply(now)
        return product / jnp.linalg.norm(product)

    return jax.lax.fori_loop(0, count, step, array)


@eqx.filter_jit
def once(kernel: TangentKernel, array: Array) -> Float[Array, "features samples"]:
    """Θʰ applied once, scaled."""
    product = kernel.apply(array)
    return product / jnp.linalg.norm(product)


def dispatched(kernel: TangentKernel, array: Array) -> Float[Array, "features samples"]:
    """The same number of times from Python."""
    for _ in range(APPLICATIONS):
        array = once(kernel, array)
    return array


def main() -> None:
    """Time and print."""
    print(
        "| network, samples | loop, convolutions | loop, products | from Python, convolutions | from Python, products |"
    )
    print("|---|---|---|---|---|")
    for depth, channels, shape, samples in (
        (8, (8, 16, 32), (1, 8, 8), 500),
        (20, (16, 32, 64), (1, 28, 28), 40),
    ):
        network = ResNet(jax.random.key(0), input_channels=1, outputs=10, depth=depth, channels=channels)
        network = jax.tree.map(lambda leaf: leaf.astype(float) if eqx.is_inexact_array(leaf) else leaf, network)
        inputs = jax.random.normal(jax.random.key(1), (samples, *shape))
        kernels = {
            "convolutions": TangentKernel(as_trained(network), inputs, "features"),
            "products": TangentKernel(as_trained(with_product_convolutions(network)), inputs, "features"),
        }
        array = jax.random.normal(jax.random.key(2), kernels["products"].output_shape())
        results = {name: dispatched(kernel, array) for name, kernel in kernels.items()}
        assert float(jnp.abs(results["products"] - results["convolutions"]).max()) <= 1e-10
        times = in_turns(
            {
                f"{how}, {name}": functools.partial(run, kernel, array, *more)
                for how, run, more in (("loop", looped, (jnp.asarray(APPLICATIONS),)), ("Python", dispatched, ()))
                for name, kernel in kernels.items()
            },
            repeats=5,
        )
        best = times["loop, products"].seconds
        cells = [
            f"{times[name].seconds / APPLICATIONS:.3g} s, {times[name].seconds / best:.2f}"
            for name in ("loop, convolutions", "loop, products", "Python, convolutions", "Python, products")
        ]
        print(f"| ResNet{depth} {channels}, {samples} of {shape[1]}×{shape[2]} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
