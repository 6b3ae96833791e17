"""The full empirical kernel of any network as an operator: one backward and one forward derivative an application."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.sparse.linalg import LinearOperator, eigsh

from ntkflow.kernels.operator import AbstractKernelOperator

Of = Literal["features", "logits"]


@runtime_checkable
class SampleNetwork(Protocol):
    """A network as a function of many samples: see :class:`ntkflow.networks.AbstractClassifier`."""

    def feature_matrix(self, inputs: Float[Array, "samples ..."]) -> Float[Array, "features samples"]:
        """H: features as columns."""
        ...

    def logit_matrix(self, inputs: Float[Array, "samples ..."]) -> Float[Array, "outputs samples"]:
        """f(X): logits as columns."""
        ...


def output_matrix(
    network: SampleNetwork, inputs: Float[Array, "samples ..."], of: Of
) -> Float[Array, "neurons samples"]:
    """H or f(X), samples as columns."""
    return network.feature_matrix(inputs) if of == "features" else network.logit_matrix(inputs)


class TangentKernel(AbstractKernelOperator):
    """Θʰ (of features) or Θ (of logits) of a network at its present parameters, over all of them: J Jᵀ, never formed.

    Applying it costs about three passes of the batch through the network and the memory of one; a dense Θʰ would take
    (nN)² numbers.
    """

    network: SampleNetwork
    inputs: Float[Array, "samples ..."]
    of: Of = eqx.field(static=True)

    def apply(self, array: Float[Array, "neurons samples"]) -> Float[Array, "neurons samples"]:
        """Σ_{q,j} Θ_{p,q}(xᵢ, xⱼ) array_{q,j}."""
        parameters, rest = eqx.partition(self.network, eqx.is_inexact_array)

        def outputs(parameters: SampleNetwork) -> Float[Array, "neurons samples"]:
            return output_matrix(eqx.combine(parameters, rest), self.inputs, self.of)

        _, transposed = jax.vjp(outputs, parameters)
        _, product = jax.jvp(outputs, (parameters,), transposed(array))
        return product

    def output_shape(self) -> tuple[int, int]:
        """(neurons, samples)."""
        method = self.network.feature_matrix if self.of == "features" else self.network.logit_matrix
        return eqx.filter_eval_shape(method, self.inputs).shape


@eqx.filter_jit
def apply_compiled(
    kernel: AbstractKernelOperator, array: Float[Array, "neurons samples"]
) -> Float[Array, "neurons samples"]:
    """The kernel on one array, as a program of its own: whoever calls this shares one compilation."""
    return kernel.apply(array)


def top_eigenvalue(kernel: AbstractKernelOperator, shape: tuple[int, int]) -> float:
    """Largest eigenvalue of the kernel as a matrix over all pairs (neuron, sample), by Lanczos to a relative 1e-6.

    Args:
        kernel: a positive semi-definite operator.
        shape: (neurons, samples).
    """
    size = shape[0] * shape[1]

    def product(vector: np.ndarray) -> np.ndarray:
        return np.asarray(apply_compiled(kernel, jnp.asarray(vector.reshape(shape)))).reshape(-1)

    if size < 3:  # Lanczos needs room for more than one vector.
        return float(np.linalg.eigvalsh(np.stack([product(column) for column in np.eye(size)]))[-1])
    start = np.random.default_rng(0).standard_normal(size)
    if not product(start).any():  # A kernel that is 0, of a network whose features are all dead: Lanczos fails on it.
        return 0.0
    # SciPy's stubs know neither the documented arguments of LinearOperator nor a tolerance that is a float.
    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)  # pyright: ignore[reportCallIssue]
    return float(eigsh(operator, k=1, which="LA", tol=1e-6, v0=start, return_eigenvectors=False)[0])  # pyright: ignore[reportArgumentType]


def stable_step_limit(network: SampleNetwork, inputs: Float[Array, "samples ..."], loss_scale: float) -> float:
    """2Z/λ_max(Θ): the largest step at which gradient descent on ‖R‖²/(2Z) is stable under the present kernel."""
    kernel = TangentKernel(network, inputs, "logits")
    return 2 * loss_scale / top_eigenvalue(kernel, kernel.output_shape())
