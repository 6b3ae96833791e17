"""How Θ(x, x) changes in the first step of gradient descent: expected of random networks, and exactly of one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, Float

from ntkflow.initialization.layer_numbers import LayerNumbers, Numbers, checked_sigma, checked_widths
from ntkflow.initialization.layered_network import LayeredNetwork
from ntkflow.initialization.moments import ntk_moments


@dataclasses.dataclass(frozen=True)
class ExpectedFirstStep:
    """E ΔΘ(x, x) to first order in η, of a step on (x, y) with the loss (f − y)²/2; it is never positive.

    Attributes:
        log_rate: ln(−E ΔΘ/η).
        log_relative_rate: ln(−E ΔΘ/(η E Θ)).
    """

    log_rate: Numbers
    log_relative_rate: Numbers

    def relative_change(self, step_size: float, *, lazy_scale: float = 1.0) -> Numbers:
        """E ΔΘ/E Θ; −inf where beyond float64.

        Args:
            step_size: η.
            lazy_scale: α of Chizat et al.'s f̃ = α f, L̃ = L/α² with a target of 0, by which the relative change falls
                as 1/α² (paper 2, App. B.3).
        """
        with np.errstate(over="ignore"):
            return -step_size / lazy_scale**2 * np.exp(self.log_relative_rate)


def expected_first_step(
    widths: Sequence[int], sigma_w: Numbers, *, input_norm_squared: float = 1.0
) -> ExpectedFirstStep:
    """E ΔΘ(x, x) of the first step, exactly, for ReLU and σ_b = 0; behind paper 2, (21)–(22).

    With Q_{l,m} = ⟨x^m, (∂x^m/∂h^l) δ^l⟩, ⟨∇Θ, ∇f⟩ = 4 Σ_{l≤m} ‖δ^{m+1}‖² (‖x^{l−1}‖² + 1) Q_{l,m}, and
    ΔΘ = −η (f − y) ⟨∇Θ, ∇f⟩. f is odd in the output weights and Θ even, so y has no part in the expectation. The rest
    factorises as in :func:`~ntkflow.initialization.ntk_moments`, for
    E Q_{l,m} = f ‖x^m‖²/‖x^l‖² + (σ_w²/n_l) (k_l − 1) E Q_{l+1,m} given the forward pass. Time O(L).

    Args:
        widths: (n_0, …, n_{L−1}).
        sigma_w: σ_w, one or an array.
        input_norm_squared: ‖x‖².

    Raises:
        UserError: widths or σ_w that no network has.
    """
    n, sigma = checked_widths(widths), checked_sigma(sigma_w)
    depth, layer, add = len(n), LayerNumbers.of(checked_widths(widths)), np.logaddexp
    with np.errstate(divide="ignore"):
        gain = 2 * np.log(sigma) - np.log(n).reshape(-1, *(1,) * sigma.ndim)
    norm = [np.full_like(sigma, np.log(input_norm_squared))]
    squared = [2 * norm[0]]
    for index in range(1, depth):
        norm.append(norm[-1] + gain[index - 1] + layer.forward[index])
        squared.append(squared[-1] + 2 * gain[index - 1] + layer.forward_squared[index])
    aa, ab = 2 * gain[-1] + np.log(3.0), gain[-1]
    total = mean_c = mean_h = np.full_like(sigma, -np.inf)
    for index in range(depth - 1, 0, -1):
        below, here = gain[index - 1], gain[index]
        mean_c = add(mean_c, ab)
        mean_h = below + add(layer.forward[index] + mean_c, here + layer.both[index] + mean_h)
        total = add(total, mean_h + add(squared[index - 1], norm[index - 1]))
        up_squared = 2 * below + layer.forward_squared[index]
        mean_c = up_squared + mean_c
        aa, ab = up_squared + aa, below + add(layer.forward[index] + aa, here + layer.both[index] + ab)
    rate = np.log(4.0) + total
    return ExpectedFirstStep(rate, rate - ntk_moments(widths, sigma, input_norm_squared=input_norm_squared).log_mean)


def first_step_change(
    network: LayeredNetwork,
    inputs: Float[Array, " features"],
    target: Float[Array, ""] | float,
    *,
    step_size: float,
    at: Float[Array, " features"] | None = None,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """ΔΘ(z, z) of a step on one sample (x, y), to first order in η: −η ⟨∇Θ(z, z), ∇(f(x) − y)²/2⟩, and Θ(z, z).

    One forward derivative of the layer-wise Θ along the gradient; no second derivatives are stored.

    Args:
        network: any activation.
        inputs: x.
        target: y.
        step_size: η.
        at: z; x unless told.
    """
    point = inputs if at is None else at

    def loss(net: LayeredNetwork) -> Float[Array, ""]:
        return (net(inputs) - target) ** 2 / 2

    direction = jax.tree.map(lambda leaf: -step_size * leaf, jax.grad(loss)(network))
    theta, change = jax.jvp(lambda net: net.ntk(point, point), (network,), (direction,))
    return change, theta
