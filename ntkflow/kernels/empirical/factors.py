"""Factors of gradients, and the kernels that they contract to.

For one parameter array the gradients of outputs r at samples i are ∇_{ir} = Σ_t δ_{irt} ⊗ a_{it}
(:mod:`ntkflow.kernels.empirical.sites`). Their inner products can be taken in two orders,

    ⟨∇_{ir}, ∇_{js}⟩ = Σ_{t,u} ⟨a_{it}, a_{ju}⟩ ⟨δ_{irt}, δ_{jsu}⟩,

or through the gradients themselves. For one position t, a dense layer, the first order is always the cheaper one: it is
the layer-wise formula (⟨a, a'⟩ + 1) ⟨δ, δ'⟩ of the NTK. For convolutions it depends on the sizes.

Where a layer and the scales and shifts after it are one place, one pair of factors stands for several parameter arrays
(:mod:`ntkflow.kernels.empirical.neurons`).
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.kernels.empirical.neurons import Neurons

_SMALL = 1024
"""Parameters of an array whose gradients are joined with others'."""


class Factors(eqx.Module):
    """Gradients of some outputs at some samples with respect to one parameter array, as factors.

    Attributes:
        left: a; ``None`` where there is one position and a = 1, so that ``right`` is the gradient itself.
        right: δ, positions last.
        neurons: of a folded layer, whose factors stand for several arrays: left is then a, or [a, 1], and right is
            ∂f/∂y. To be taken apart, by :meth:`apart` or :meth:`gradients`, before anything is contracted.
    """

    left: Float[Array, "samples positions inputs"] | None
    right: Float[Array, "samples outputs neurons positions"]
    neurons: Neurons | None = None

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Numbers of positions, inputs and neurons."""
        inputs = 1 if self.left is None else self.left.shape[2] if self.neurons is None else self.neurons.inputs
        return self.right.shape[3], inputs, self.right.shape[2]

    def apart(self) -> list[Factors]:
        """Factors of one array each, and gains and shifts of a folded layer as one array."""
        if self.neurons is None or self.left is None:
            return [self]
        left, rows = self.left[:, :, : self.neurons.inputs], self._rows
        right = self.neurons.of_layer(rows).reshape(self.right.shape)
        return [Factors(left, right), self._gradient(self.neurons.of_positions(left, rows))]

    def gradients(self) -> list[Factors]:
        """The same as gradients, Σ_t δ_t ⊗ a_t: one matrix product a sample."""
        if self.left is None:
            return [self]
        if self.neurons is None:
            return [self._gradient(_products(self._rows, self.left))]
        inputs = self.neurons.inputs
        if self.left.shape[2] == inputs:
            layer, others = self.apart()
            return [*layer.gradients(), others]
        sums = _products(self._rows, self.left)
        others = self.neurons.of_sums(sums[:, :, :inputs], sums[:, :, inputs])
        return [self._gradient(self.neurons.of_layer(sums[:, :, :inputs])), self._gradient(others)]

    @property
    def _rows(self) -> Float[Array, "samples rows positions"]:
        samples, outputs, neurons, positions = self.right.shape
        return self.right.reshape(samples, outputs * neurons, positions)

    def _gradient(self, values: Float[Array, "samples ..."]) -> Factors:
        return Factors(None, values.reshape(*self.right.shape[:2], -1, 1))

    def traced(self, columns: Factors) -> Float[Array, "rows columns"]:
        """Σ_r ⟨∇_{ir}, ∇_{jr}⟩."""
        if self.left is None or columns.left is None:
            return _flat(self.right) @ _flat(columns.right).T
        if self.right.shape[3] == 1:
            return (_flat(self.right) @ _flat(columns.right).T) * (self.left[:, 0] @ columns.left[:, 0].T)
        inputs = jnp.einsum("itk,juk->itju", self.left, columns.left)
        derivatives = jnp.einsum("irmt,jrmu->itju", self.right, columns.right)
        return (inputs * derivatives).sum((1, 3))

    def by_output(self, columns: Factors) -> Float[Array, "outputs rows columns"]:
        """⟨∇_{ir}, ∇_{jr}⟩ for every output r."""

        def one(
            rows: Float[Array, "rows neurons positions"], others: Float[Array, "columns neurons positions"]
        ) -> Float[Array, "rows columns"]:
            return Factors(self.left, rows[:, None]).traced(Factors(columns.left, others[:, None]))

        return jax.vmap(one, in_axes=(1, 1))(self.right, columns.right)

    def pairs(self, columns: Factors) -> Float[Array, "rows outputs columns outputs"]:
        """⟨∇_{ir}, ∇_{js}⟩ for all pairs of outputs."""
        rows, outputs, neurons, positions = self.right.shape
        others = columns.right.shape[0]
        if self.left is None or columns.left is None or positions == 1:
            flat = self.right.reshape(rows * outputs, -1) @ columns.right.reshape(others * outputs, -1).T
            kernel = flat.reshape(rows, outputs, others, outputs)
            if self.left is None or columns.left is None:
                return kernel
            return kernel * (self.left[:, 0] @ columns.left[:, 0].T)[:, None, :, None]
        # ⟨a_t, a'_u⟩ is applied to one side's δ; then one product of size neurons × positions for a pair of samples.
        inputs = jnp.einsum("itk,juk->jiut", self.left, columns.left)
        flat = columns.right.reshape(others, outputs * neurons, positions)
        by_column = inputs.transpose(0, 2, 1, 3).reshape(others, positions, rows * positions)
        moved = jax.lax.dot_general(flat, by_column, (((2,), (1,)), ((0,), (0,))))
        moved = moved.reshape(others, outputs, neurons, rows, positions).transpose(3, 0, 1, 2, 4)
        return jax.lax.dot_general(
            self.right.reshape(rows, outputs, -1),
            moved.reshape(rows, others * outputs, -1),
            (((2,), (2,)), ((0,), (0,))),
        ).reshape(rows, outputs, others, outputs)


def contraction_cost(
    sizes: tuple[int, int, int], outputs: int, pairs: int, samples: int, *, traced: bool
) -> tuple[float, float]:
    """Multiplications of one parameter array's kernel: from factors, and through gradients.

    Args:
        sizes: numbers of positions, inputs and neurons.
        outputs: number of outputs.
        pairs: number of pairs of samples.
        samples: number of samples whose gradients would have to be formed.
        traced: whether only pairs of equal outputs are wanted.
    """
    positions, inputs, neurons = sizes
    forming = float(samples * outputs * positions * inputs * neurons)
    if traced:
        factored = positions**2 * (inputs + outputs * neurons)
        direct = outputs * inputs * neurons
    else:
        moved = positions**2 * outputs * neurons if positions > 1 else 0
        factored = positions**2 * inputs + moved + outputs**2 * positions * neurons
        direct = outputs**2 * inputs * neurons
    return float(pairs * factored), forming + pairs * direct


def prepared(factors: list[Factors], pairs: int, samples: int, *, traced: bool) -> list[Factors]:
    """Each array's factors, or its gradients where a kernel costs less from them; small gradients as one array.

    Rows and columns of one kernel are prepared alike, from the same numbers.
    """
    large, small = [], []
    for item in factors:
        factored, direct = contraction_cost(item.sizes, item.right.shape[1], pairs, samples, traced=traced)
        for part in item.gradients() if direct < factored else item.apart():
            # Biases and gains are many, and a product of few columns is slow; the large ones are not worth a copy.
            (small if part.left is None and part.right.shape[2] <= _SMALL else large).append(part)
    return [*large, Factors(None, jnp.concatenate([item.right for item in small], axis=2))] if small else large


def _products(
    rows: Float[Array, "samples rows positions"], left: Float[Array, "samples positions inputs"]
) -> Float[Array, "samples rows inputs"]:
    return jax.lax.dot_general(rows, left, (((2,), (1,)), ((0,), (0,))))


def _flat(right: Float[Array, "samples outputs neurons positions"]) -> Float[Array, "samples all"]:
    return right.reshape(right.shape[0], -1)
