"""A network's outputs as a function of its parameters, and their gradients in factors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.kernels.empirical.factors import Factors
from ntkflow.kernels.empirical.neurons import Neurons
from ntkflow.kernels.empirical.reading import Met, Reading
from ntkflow.kernels.empirical.sites import AbstractSite

Of = Literal["logits", "features"]
Trace = Literal["sum", "mean", "outputs"] | None
"""Σ_k Θ_{k,k}, its mean over the outputs k, every Θ_{k,k}, or (``None``) all pairs Θ_{k,s}."""
ParameterFilter = Callable[[Any], bool] | Any
"""What ``equinox.partition`` takes: a function of a leaf, or a tree of booleans of the network's shape."""


class NetworkProgram:
    """f(θ, x) of any Equinox network, with θ the list of its parameter arrays.

    Args:
        network: a callable of one sample that returns its logits, or that has ``features(x)``.
        sample: one sample, or its shape and dtype.
        of: which outputs.
        parameters: which leaves are θ; all floating-point arrays unless told.

    Raises:
        ValueError: if the network has no such outputs, or no parameters.
    """

    def __init__(self, network: Any, sample: Any, of: Of, parameters: ParameterFilter = eqx.is_inexact_array) -> None:
        outputs = outputs_of(network, of)
        trainable, rest = eqx.partition(network, parameters)
        self.leaves: list[Array]
        self.leaves, tree = jax.tree.flatten(trainable)
        if not self.leaves:
            raise ValueError("the network has no floating-point arrays among the chosen parameters: its kernel is 0")

        def function(leaves: Sequence[Array], x: Array) -> Float[Array, " outputs"]:
            return jnp.ravel(outputs(eqx.combine(jax.tree.unflatten(tree, leaves), rest), x))

        self.function = function
        self.reading = Reading(function, self.leaves, sample)
        self.outputs = self.reading.outputs

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(leaf.size for leaf in self.leaves)

    def factors(
        self, inputs: Float[Array, "samples ..."], combinations: Float[Array, "combinations outputs"]
    ) -> list[Factors]:
        """∇⟨v, f(xᵢ)⟩ for each combination v of outputs and each sample, one ``Factors`` a parameter array or layer.

        One forward pass a sample, one backward pass a sample and combination, and no gradient of any weight.
        """
        return joined(self.reading.places.sites, *self.derivatives(inputs, combinations))

    def passed(self, inputs: Float[Array, "samples ..."], combinations: Float[Array, "combinations outputs"]) -> Passed:
        """The forward pass alone; of the combinations only their number counts."""
        _, backward, met = jax.linearize(lambda v: self.derivatives(inputs, v), combinations, has_aux=True)
        return Passed(backward, met, self.reading.places.sites)

    def derivatives(
        self, inputs: Float[Array, "samples ..."], combinations: Float[Array, "combinations outputs"]
    ) -> tuple[list[Array], list[Met | None]]:
        """Right factors, and what the left ones are made of; ``None`` for what is no site."""
        places = self.reading.places
        taps = [jnp.zeros(site.shape, self.leaves[site.leaf].dtype) for site in places.sites]

        def one(x: Array) -> tuple[list[Array], list[Array], list[Neurons | None]]:
            def tapped(taps: list[Array], opaque: list[Array]) -> tuple[Array, tuple[Met, ...]]:
                leaves = list(self.leaves)
                for leaf, value in zip(places.opaque, opaque, strict=True):
                    leaves[leaf] = value
                return self.reading(leaves, x, taps)

            own = [self.leaves[leaf] for leaf in places.opaque]
            values, backward, met = jax.vjp(tapped, taps, own, has_aux=True)
            deltas, opaque = jax.vmap(backward)(combinations.astype(values.dtype))
            rights = [
                jax.vmap(site.right, in_axes=(None, 0))(operand, delta)
                for site, (operand, _), delta in zip(places.sites, met, deltas, strict=True)
            ]
            rights += [gradient.reshape(gradient.shape[0], -1, 1) for gradient in opaque]
            return rights, [operand for operand, _ in met], [neurons for _, neurons in met]

        if not places.sites and not places.opaque:
            # Outputs that no parameter moves.
            nothing = jnp.zeros((inputs.shape[0], 1, 1), self.leaves[0].dtype)
            return [nothing[:, None] * combinations[:, :1, None]], [None]
        rights, operands, neurons = jax.vmap(one, out_axes=(0, 0, None))(inputs)
        return rights, [*zip(operands, neurons, strict=True), *(None for _ in places.opaque)]

    def jacobian(
        self, inputs: Float[Array, "samples ..."], combinations: Float[Array, "combinations outputs"]
    ) -> list[Factors]:
        """The same gradients by reverse mode, held whole."""

        def one(x: Array) -> Array:
            values, backward = jax.vjp(lambda leaves: self.function(leaves, x), self.leaves)
            (gradients,) = jax.vmap(backward)(combinations.astype(values.dtype))
            flat = [gradient.reshape(combinations.shape[0], -1) for gradient in gradients]
            return jnp.concatenate(flat, axis=1)[:, :, None]

        return [Factors(None, jax.vmap(one)(inputs))]


class Passed(eqx.Module):
    """A forward pass over samples: what the factors of any combinations of outputs are made of.

    Attributes:
        backward: right factors from combinations; linear.
        met: what the left factors are made of.
        sites: where.
    """

    backward: Callable[[Array], list[Array]]
    met: list[Met | None]
    sites: tuple[AbstractSite, ...] = eqx.field(static=True)

    def factors(self, combinations: Float[Array, "combinations outputs"]) -> list[Factors]:
        """As :meth:`NetworkProgram.factors`."""
        return joined(self.sites, self.backward(combinations), self.met)


def joined(
    sites: tuple[AbstractSite, ...],
    rights: list[Array],
    met: list[Met | None],
) -> list[Factors]:
    """Factors from right ones and what the left ones are made of."""
    found = []
    for place, (right, of_left) in enumerate(zip(rights, met, strict=True)):
        if of_left is None:
            found.append(Factors(None, right))
            continue
        operand, neurons = of_left
        left = jax.vmap(sites[place].left)(operand)
        # A factor of one position and one input is a number: the gradient is its multiple.
        number = left.shape[1:] == (1, 1) and neurons is None
        found.append(Factors(None, right * left[:, None]) if number else Factors(left, right, neurons))
    return found


def outputs_of(network: Any, of: Of) -> Callable[[Any, Array], Array]:
    """The outputs of one sample as a function of (network, sample).

    Raises:
        ValueError: if the network is not callable, or has no features.
    """
    if of == "features":
        if not callable(getattr(network, "features", None)):
            raise ValueError(
                f"{type(network).__name__} has no method features(x): its last-layer features are not known. "
                'Give it one, or ask for the kernel of its logits (of="logits")'
            )
        return lambda network, x: network.features(x)
    if of != "logits":
        raise ValueError(f'a kernel is of="logits" or of="features", not {of!r}')
    if not callable(network):
        raise ValueError(f"{type(network).__name__} cannot be called with one sample")
    return lambda network, x: network(x)
