"""The first two moments of Θ(x, x) over random ReLU networks of any depth and widths, exactly."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ntkflow.initialization.layer_numbers import LayerNumbers, Numbers, checked_sigma, checked_widths

LOG_2 = float(np.log(2.0))


@dataclasses.dataclass(frozen=True)
class NTKMoments:
    """Natural logarithms of the first two moments of Θ = Θ_W + Θ_b at one input; each of the shape of ``sigma_w``.

    Attributes:
        weights: ln E Θ_W.
        biases: ln E Θ_b.
        weights_squared: ln E Θ_W².
        biases_squared: ln E Θ_b².
        product: ln E Θ_W Θ_b.
    """

    weights: Numbers
    biases: Numbers
    weights_squared: Numbers
    biases_squared: Numbers
    product: Numbers

    @property
    def log_mean(self) -> Numbers:
        """ln E Θ."""
        return np.logaddexp(self.weights, self.biases)

    @property
    def log_second(self) -> Numbers:
        """ln E Θ²."""
        return np.logaddexp(np.logaddexp(self.weights_squared, self.biases_squared), self.product + LOG_2)

    @property
    def log_dispersion(self) -> Numbers:
        """ln(E Θ²/E² Θ)."""
        return self.log_second - 2 * self.log_mean

    @property
    def dispersion(self) -> Numbers:
        """E Θ²/E² Θ, at least 1; inf where it is beyond float64 (its logarithm above 709)."""
        with np.errstate(over="ignore"):
            return np.exp(self.log_dispersion)


def ntk_moments(widths: Sequence[int], sigma_w: Numbers, *, input_norm_squared: float = 1.0) -> NTKMoments:
    """Exact moments of Θ(x, x) of fully connected ReLU networks at initialisation, σ_b = 0, standard parametrisation.

    No approximation in the widths: paper 2, Theorem 3.2 has the same quantities up to O(M^(-3/2)) a layer, with
    mistakes that docs/errata.md lists. Time O(L), in logarithms, so that no depth overflows.

    With x^l the activations, δ^l the gradients with respect to the preactivations and k_l the number of active neurons:
    for given x^{l−1} the weights W^l act on x^{l−1} and on its complement independently, and ⟨h^l, δ^l⟩ = f(x) in
    every layer. So ‖x^l‖² = (σ_w²/n_{l−1}) A_l ‖x^{l−1}‖² and
    ‖δ^l‖² = f²/‖x^l‖² + (σ_w²/n_l) B_l ‖δ^{l+1}‖² with A_l ~ χ²_{k_l}, B_l ~ χ²_{k_l−1}, k_l ~ Binomial(n_l, 1/2),
    f = σ_w n_{L−1}^(−1/2) ‖x^{L−1}‖ N(0, 1), all independent but for k_l. The second moments of (f²/‖x^l‖²,
    ‖δ^{l+1}‖²) follow a linear recursion of three numbers from layer to layer. A layer without an active neuron
    leaves Θ = 1, of the output's bias.

    Args:
        widths: (n_0, …, n_{L−1}): input dimension and hidden widths; the output dimension is 1. Depth L = len(widths).
        sigma_w: σ_w, one or an array of them.
        input_norm_squared: ‖x‖².

    Raises:
        UserError: widths or σ_w that no network has.
    """
    n, sigma = checked_widths(widths), checked_sigma(sigma_w)
    depth = len(n)
    layer = LayerNumbers.of(n)
    add = np.logaddexp
    with np.errstate(divide="ignore"):
        gain = 2 * np.log(sigma) - np.log(n).reshape(-1, *(1,) * sigma.ndim)
        start = np.full_like(sigma, np.log(input_norm_squared))
    norm, norm_squared, alive = [start], [2 * start], [np.zeros_like(sigma)]
    for index in range(1, depth):
        step = gain[index - 1]
        norm.append(norm[-1] + step + layer.forward[index])
        norm_squared.append(norm_squared[-1] + 2 * step + layer.forward_squared[index])
        alive.append(alive[-1] + layer.alive[index])

    nothing = np.full_like(sigma, -np.inf)
    # E F², E F D, E D² and E F, E D of F = f²/‖x^l‖², D = ‖δ^{l+1}‖² at l = L − 1.
    aa, ab, bb = 2 * gain[-1] + np.log(3.0), gain[-1], np.zeros_like(sigma)
    a, b = gain[-1], np.zeros_like(sigma)
    # The same of F and D with a D chosen above, all choices together; the second with ‖x‖² up to that layer besides.
    one_f = one_d = two_f = two_d = nothing
    weights = biases = weights_squared = biases_squared = product = nothing
    for index in range(depth - 1, -1, -1):
        weights, biases = add(weights, b + norm[index]), add(biases, b + alive[index])
        weights_squared = add(weights_squared, add(bb, two_d + LOG_2) + norm_squared[index])
        biases_squared = add(biases_squared, add(bb, one_d + LOG_2) + alive[index])
        product = add(product, add(bb, add(one_d, two_d)) + norm[index])
        if index == 0:
            break
        below, here = gain[index - 1], gain[index]
        live, up, up_squared = (
            layer.alive[index],
            below + layer.forward[index],
            2 * below + layer.forward_squared[index],
        )
        down, down_squared = here + layer.backward[index], 2 * here + layer.backward_squared[index]
        both = below + here + layer.both[index]
        one_f, one_d, two_f, two_d = add(one_f, ab), add(one_d, bb), add(two_f, ab), add(two_d, bb)
        one_f, one_d = up + one_f, add(live + one_f, down + one_d)
        two_f, two_d = up_squared + two_f, add(up + two_f, both + two_d)
        aa, ab, bb = (
            up_squared + aa,
            add(up + aa, both + ab),
            add(live + aa, add(down + ab + LOG_2, down_squared + bb)),
        )
        a, b = up + a, add(live + a, down + b)
    dead = _log_dead(layer.alive[1:])
    return NTKMoments(weights, add(biases, dead), weights_squared, add(biases_squared, dead), product)


def _log_dead(alive: Float[np.ndarray, " layers"]) -> float:
    """ln P(some layer has no active neuron)."""
    with np.errstate(divide="ignore"):
        return float(np.log(-np.expm1(alive.sum())))
