"""The kernel of a Jacobian averaged over a few steps of training: what samples that slide along a kink feel."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.kernels.operator import AbstractKernelOperator
from ntkflow.kernels.tangent import Of, SampleNetwork, TangentKernel, output_matrix


class MeanTangentKernel(AbstractKernelOperator):
    """J̄ J̄ᵀ with the mean J̄ of the Jacobians at several parameters, as those of consecutive steps.

    A unit whose derivative jumps, as ReLU's does at 0, can be driven to the jump from both sides. The sample then stays
    there: descent crosses the jump every few steps, the flow slides along it, and what moves its output is the mean of
    the derivative over the crossings (Filippov). The kernel of a single moment has the derivative of one side, however
    often it is measured. For differentiable networks J̄ differs from J by what the parameters moved.

    Applying it costs as much as so many :class:`ntkflow.kernels.TangentKernel`, one after the other, and the memory of
    one.

    Args:
        networks: one network, each parameter with a leading axis of the moments.
        inputs: N samples.
        of: features (Θʰ) or logits (Θ).

    Raises:
        ValueError: parameters without a common leading axis.
    """

    networks: SampleNetwork
    inputs: Float[Array, "samples ..."]
    of: Of = eqx.field(static=True)

    def __check_init__(self) -> None:
        sizes = {leaf.shape[:1] for leaf in jax.tree.leaves(eqx.filter(self.networks, eqx.is_inexact_array))}
        if len(sizes) != 1 or () in sizes or (0,) in sizes:
            raise ValueError("MeanTangentKernel: every parameter needs the same leading axis, one entry a moment")

    def apply(self, array: Float[Array, "neurons samples"]) -> Float[Array, "neurons samples"]:
        """J̄ J̄ᵀ array."""
        parameters, rest = eqx.partition(self.networks, eqx.is_inexact_array)
        count = jax.tree.leaves(parameters)[0].shape[0]

        def outputs(at: SampleNetwork) -> Float[Array, "neurons samples"]:
            return output_matrix(eqx.combine(at, rest), self.inputs, self.of)

        def backward(total: SampleNetwork, at: SampleNetwork) -> tuple[SampleNetwork, None]:
            (found,) = jax.vjp(outputs, at)[1](array)
            return jax.tree.map(jnp.add, total, found), None

        direction, _ = jax.lax.scan(
            backward, jax.tree.map(lambda leaf: jnp.zeros_like(leaf[0]), parameters), parameters
        )
        direction = jax.tree.map(lambda leaf: leaf / count, direction)

        def forward(total: Array, at: SampleNetwork) -> tuple[Array, None]:
            return total + jax.jvp(outputs, (at,), (direction,))[1], None

        product, _ = jax.lax.scan(forward, jnp.zeros_like(array), parameters)
        return product / count

    def output_shape(self) -> tuple[int, int]:
        """(neurons, samples)."""
        one = jax.tree.map(lambda leaf: leaf[0] if eqx.is_inexact_array(leaf) else leaf, self.networks)
        return TangentKernel(one, self.inputs, self.of).output_shape()
