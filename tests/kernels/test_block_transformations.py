"""A block kernel under jit, grad and vmap, and in print."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from kernels.dense import block_matrix, relative_difference

from ntkflow.kernels import BlockKernel

VECTOR = np.random.default_rng(2).standard_normal(9)


def quadratic_form(kernel: BlockKernel) -> jax.Array:
    return kernel.apply(jnp.asarray(VECTOR)) @ jnp.asarray(VECTOR)


def test_jit_takes_and_returns_kernels() -> None:
    kernel = BlockKernel(2.0, 1.0, 0.5, classes=3, per_class=3)
    compiled = jax.jit(lambda kernel, time: kernel.exponential(time))(kernel, 0.3)
    assert isinstance(compiled, BlockKernel)
    assert relative_difference(compiled.as_matrix(), kernel.exponential(0.3).as_matrix()) <= 1e-14


def test_grad_with_respect_to_the_three_values() -> None:
    gradient = jax.grad(quadratic_form)(BlockKernel(2.0, 1.0, 0.5, classes=3, per_class=3))
    expected = [VECTOR @ block_matrix(*unit, 3, 3) @ VECTOR for unit in np.eye(3)]
    actual = [gradient.diagonal, gradient.same_class, gradient.different_class]
    assert relative_difference(actual, expected) <= 1e-13


def test_vmap_over_many_kernels() -> None:
    values = np.random.default_rng(3).standard_normal((5, 3))
    kernels = jax.vmap(lambda d, c, n: BlockKernel(d, c, n, classes=3, per_class=3))(*jnp.asarray(values.T))
    expected = [VECTOR @ block_matrix(*triple, 3, 3) @ VECTOR for triple in values]
    assert relative_difference(jax.vmap(quadratic_form)(kernels), expected) <= 1e-13


def test_print() -> None:
    text = str(BlockKernel(2.0, 1.0, 0.5, classes=3, per_class=4))
    assert text == ("BlockKernel(d=2, c=1, n=0.5; C=3, m=4)\n  eigenvalues: global 9 (1), class 3 (2), single 1 (9)")


def test_print_of_traced_and_of_stacked_kernels() -> None:
    seen = []

    def traced(d: jax.Array) -> jax.Array:
        kernel = BlockKernel(d, 1.0, 0.5, classes=3, per_class=4)
        seen.append(str(kernel))
        return kernel.trace()

    jax.jit(traced)(2.0)
    seen.append(str(jax.vmap(lambda d: BlockKernel(d, 1.0, 0.5, classes=3, per_class=4))(jnp.arange(3.0))))
    assert all(text.startswith("BlockKernel(") and "classes=3" in text for text in seen)
