"""How programs of training are compiled: with what buffers given away, and by which of XLA's libraries."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.core

# On CPUs, XLA of jaxlib 0.9 and later gives convolutions to the library YNNPACK, which makes the gradient of a
# convolution's weights (a convolution with a window as large as the image) in twice the time that Eigen takes. Products
# and sums stay with it: this is the list of what it may still do.
_WITHOUT_YNNPACK_CONVOLUTIONS: dict[str, str | bool] = {
    "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"
}


@functools.cache
def compiler_options() -> dict[str, str | bool] | None:
    """Options for compiling a training step here, or None: nothing for devices that are no CPUs.

    An experimental option may be gone from the next jaxlib, so it is tried on a program that does nothing. It changes
    what is fast, and rounding; never what is computed.
    """
    if jax.default_backend() != "cpu":
        return None
    try:
        jax.jit(lambda: 0).lower().compile(compiler_options=_WITHOUT_YNNPACK_CONVOLUTIONS)
    except jax.errors.JaxRuntimeError:
        return None
    return _WITHOUT_YNNPACK_CONVOLUTIONS


def training_program(function: Callable[..., Any]) -> Callable[..., Any]:
    """``eqx.filter_jit`` that keeps its first argument, donates the rest, and compiles by :func:`compiler_options`."""

    # At the first call, not where the function is defined: importing must not start JAX's devices.
    @functools.cache
    def program(*, inside: bool) -> Callable[..., Any]:
        # What it does not know it hands on to jax.jit, which takes options for the outermost program only.
        jitted: Any = eqx.filter_jit
        options = None if inside else compiler_options()
        return jitted(function, donate="all-except-first", compiler_options=options)

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        inside = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(arguments))
        return program(inside=inside)(*arguments)

    return call
