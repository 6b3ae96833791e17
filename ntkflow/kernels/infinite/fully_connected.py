"""NNGP and NTK of infinitely wide fully connected networks, by recursion over layers."""

from __future__ import annotations

import math
from typing import Literal, final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ntkflow.kernels.infinite.dual_activation import AbstractDualActivation
from ntkflow.kernels.infinite.kernel_pair import KernelPair
from ntkflow.kernels.infinite.quadrature_dual import AbstractQuadratureDual
from ntkflow.kernels.infinite.recursion import LayerScales, diagonals, matrices, quadrature_error

Parametrization = Literal["ntk", "standard"]

ACCEPTED_ERROR = 1e-6
"""The largest estimate of a quadrature's error with which kernels are given out."""


@final
class FullyConnectedKernel(eqx.Module):
    """Kernels of f(x) = z^L with z^ℓ = σ_w W^ℓ a^{ℓ−1}/√n_{ℓ−1} + σ_b b^ℓ, a^ℓ = φ(z^ℓ), a⁰ = x, n₀ = d.

    All W, b are N(0, 1), the widths n₁, …, n_{L−1} → ∞. L counts layers of weights, so that there are L − 1 hidden
    ones. For a pair of inputs (u, v) ~ N(0, K^ℓ) in layer ℓ:

    K¹ = σ_w² ⟨x, x'⟩/d + σ_b², K^{ℓ+1} = σ_w² E[φ(u)φ(v)] + σ_b²,
    Θ¹ = K¹, Θ^{ℓ+1} = K^{ℓ+1} + σ_w² Θ^ℓ E[φ'(u)φ'(v)].

    In the standard parametrisation the parameters are the weights and biases themselves, drawn as σ_w W/√n and σ_b b:
    the NNGP is the same, and Θ¹ = ⟨x, x'⟩ + 1, Θ^{ℓ+1} = n_ℓ E[φ(u)φ(v)] + 1 + σ_w² Θ^ℓ E[φ'(u)φ'(v)], where the
    widths are to be said. It is what the kernel of a wide network is near to, relative to its size.

    Sources: thesis (2.30), Jacot et al. (2018), Lee et al. (2019); how their conventions hang together is in
    docs/theory/infinite-width.md.

    Args:
        activation: the dual of φ.
        depth: L ≥ 1.
        sigma_w: σ_w > 0.
        sigma_b: σ_b ≥ 0.
        parametrization: ``"ntk"``, or ``"standard"``.
        widths: n₁, …, n_{L−1}, for ``"standard"`` only.
        biases: whether biases are parameters; without them, ``"standard"`` has no 1 in Θ, and σ_b has to be 0.
        tile: rows and columns that are computed at a time; without effect on the numbers.

    Raises:
        ValueError: an argument outside its range, or widths that do not fit.
    """

    activation: AbstractDualActivation
    depth: int = eqx.field(static=True)
    sigma_w: float = eqx.field(static=True)
    sigma_b: float = eqx.field(static=True, default=0.0)
    parametrization: Parametrization = eqx.field(static=True, default="ntk", kw_only=True)
    widths: tuple[int, ...] = eqx.field(static=True, default=(), kw_only=True)
    biases: bool = eqx.field(static=True, default=True, kw_only=True)
    tile: int = eqx.field(static=True, default=128, kw_only=True)

    def __check_init__(self) -> None:
        if self.depth < 1 or self.tile < 1:
            raise ValueError(f"depth and tile must be at least 1, not {self.depth} and {self.tile}")
        if not 0 < self.sigma_w < math.inf or not 0 <= self.sigma_b < math.inf:
            raise ValueError(f"sigma_w must be positive and sigma_b not negative, not {self.sigma_w}, {self.sigma_b}")
        if self.parametrization not in ("ntk", "standard"):
            raise ValueError(f"parametrization must be 'ntk' or 'standard', not {self.parametrization!r}")
        needed = self.depth - 1 if self.parametrization == "standard" else 0
        if len(self.widths) != needed or any(width < 1 for width in self.widths):
            raise ValueError(
                f"a network of depth {self.depth} in the {self.parametrization} parametrization needs {needed} "
                f"positive widths, not {self.widths}"
            )
        if not self.biases and self.sigma_b > 0:
            raise ValueError(f"without biases sigma_b must be 0, not {self.sigma_b}")

    def kernels(self, rows: Float[Array, "rows ..."], columns: Float[Array, "columns ..."] | None = None) -> KernelPair:
        """Both kernels of all pairs, (rows, columns); without ``columns``, of the rows among themselves.

        In the precision of the inputs, whose other axes are flattened. Then only half the pairs are computed.

        Raises:
            ValueError: inputs that are not finite, do not fit each other, or are 0 where there is no bias. Inside
                ``jax.jit`` values are not looked at.
        """
        x, y = self._flat(rows, columns)
        return matrices(self.activation, self._scales(x), x, y, tile=self.tile, every=False)

    def nngp(
        self, rows: Float[Array, "rows ..."], columns: Float[Array, "columns ..."] | None = None
    ) -> Float[Array, "rows columns"]:
        """The covariance alone; see :meth:`kernels`."""
        return self.kernels(rows, columns).nngp

    def ntk(
        self, rows: Float[Array, "rows ..."], columns: Float[Array, "columns ..."] | None = None
    ) -> Float[Array, "rows columns"]:
        """Θ alone; see :meth:`kernels`."""
        return self.kernels(rows, columns).ntk

    def every_depth(
        self, rows: Float[Array, "rows ..."], columns: Float[Array, "columns ..."] | None = None
    ) -> KernelPair:
        """Both kernels of the networks of depth 1, …, L, (L, rows, columns), for the price of the deepest."""
        x, y = self._flat(rows, columns)
        return matrices(self.activation, self._scales(x), x, y, tile=self.tile, every=True)

    def diagonals(self, inputs: Float[Array, "samples ..."]) -> KernelPair:
        """Both kernels of every input with itself, (samples,), without the matrices."""
        x, _ = self._flat(inputs, None)
        return diagonals(self.activation, self._scales(x), x)

    def error_estimate(self, inputs: Float[Array, "samples ..."]) -> float:
        """The largest error of the activation's quadrature over the layers, estimated; 0 for closed forms.

        At the smallest and the largest variance that these inputs have in each layer.
        """
        x, _ = self._flat(inputs, None)
        return self._quadrature_error(x)

    def _flat(self, rows: Array, columns: Array | None) -> tuple[Array, Array | None]:
        """Both sets as matrices, checked."""
        given = {"rows": rows} if columns is None else {"rows": rows, "columns": columns}
        flat = {}
        for name, inputs in given.items():
            if inputs.ndim < 2 or inputs.size == 0:
                raise ValueError(
                    f"{name} must hold samples of at least one number, not an array of shape {inputs.shape}"
                )
            flat[name] = inputs.reshape(inputs.shape[0], -1)
        x, y = flat["rows"], flat.get("columns")
        if y is not None and (x.shape[1], x.dtype) != (y.shape[1], y.dtype):
            raise ValueError(
                f"rows and columns must be of one kind: {x.shape[1]} numbers of {x.dtype} are not "
                f"{y.shape[1]} numbers of {y.dtype}"
            )
        for name, inputs in flat.items():
            if not isinstance(inputs, Tracer):
                self._require(name, np.asarray(inputs))
        if isinstance(self.activation, AbstractQuadratureDual) and not isinstance(x, Tracer):
            for inputs in flat.values():
                error = self._quadrature_error(inputs)
                if not error <= ACCEPTED_ERROR:
                    raise ValueError(
                        f"the activation's quadrature is off by {error:.1e} at the variances of these inputs: give it "
                        "more nodes and terms, or the places of its kinks"
                    )
        return x, y

    def _require(self, name: str, inputs: np.ndarray) -> None:
        bad = np.flatnonzero(~np.isfinite(inputs).all(axis=1))
        if bad.size:
            raise ValueError(f"{name}: {bad.size} samples have values that are NaN or infinite, the first is {bad[0]}")
        zero = np.flatnonzero(~(np.sum(inputs**2, axis=1) > 0)) if self.sigma_b == 0 else np.zeros(0)
        if zero.size:
            raise ValueError(
                f"{name}: {zero.size} samples are 0, the first is {zero[0]}; without biases their variance is 0 and "
                "their correlations are undefined"
            )

    def _quadrature_error(self, inputs: Array) -> float:
        if not isinstance(self.activation, AbstractQuadratureDual) or self.depth == 1:
            return 0.0
        return float(quadrature_error(self.activation, self._scales(inputs), inputs))

    def _scales(self, inputs: Array) -> LayerScales:
        weight, bias = self.sigma_w**2, self.sigma_b**2
        own_weight: tuple[float, ...] = (weight,) * self.depth
        if self.parametrization == "standard":
            own_weight, bias_in_theta = (inputs.shape[1], *self.widths), float(self.biases)
        else:
            bias_in_theta = bias
        return LayerScales(*(jnp.asarray(value, inputs.dtype) for value in (weight, bias, own_weight, bias_in_theta)))
