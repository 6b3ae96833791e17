"""Samples of Θ for a grid of initialisations at once, with common random numbers, as many as a precision takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray

from ntkflow.errors import UserError
from ntkflow.initialization.conditioned import Ensemble, sample_ntk, sample_ntk_pair
from ntkflow.initialization.estimate import DispersionEstimate, estimate_dispersion
from ntkflow.initialization.layer_numbers import checked_sigma, checked_widths
from ntkflow.initialization.relu_chain import sample_relu_ntk
from ntkflow.networks import Activation

ROUND = 4096
"""Draws of a round of :func:`sample_until`."""
_MEMORY = 2**27
"""Bytes that what is kept between the two passes may take."""


class NTKSamples(NamedTuple):
    """Θ(x, x), Θ(x, x̃), Θ(x̃, x̃) of random networks; of one input, the first alone.

    Attributes:
        logs: ln|Θ|.
        signs: of Θ.
    """

    logs: Float[np.ndarray, "draws sigmas elements"]
    signs: Float[np.ndarray, "draws sigmas elements"]


def draw_ntk(
    widths: Sequence[int],
    sigma_w: Sequence[float] | Float[np.ndarray, " sigmas"],
    *,
    sigma_b: float = 0.0,
    activation: Activation = "relu",
    cosine: float | None = None,
    draws: int,
    seed: int,
    first: int = 0,
    longest: int | None = None,
    widest: int | None = None,
    input_norm_squared: float = 1.0,
) -> NTKSamples:
    """Θ of independent random networks for several σ_w, exact in distribution.

    All σ_w, and all depths of one ``widest`` and seed, see the same random numbers, so that curves over a grid are
    smoother than their error bars. ReLU on one input without biases takes the chain of norms
    (:func:`~ntkflow.initialization.sample_relu_ntk`), everything else conditioned weights
    (:func:`~ntkflow.initialization.sample_ntk`).

    Args:
        widths: (n_0, …, n_{L−1}); the output dimension is 1.
        sigma_w: standard deviations σ_w of √n_{l−1} W^l.
        sigma_b: σ_b.
        activation: φ.
        cosine: of the angle between two inputs of one norm; one input unless told.
        draws: how many networks.
        seed: of everything random.
        first: number of the first draw, a multiple of 4096.
        longest: the largest depth of a grid, so that its members share a compiled program.
        widest: the largest hidden width of a grid, likewise.
        input_norm_squared: ‖x‖².

    Raises:
        UserError: widths, standard deviations or a cosine that no network has; numbers beyond float64.
    """
    n, sigmas = checked_widths(widths), np.atleast_1d(checked_sigma(np.asarray(sigma_w, float)))
    bias = float(checked_sigma(sigma_b))
    if cosine is not None and not -1 <= cosine <= 1:
        raise UserError(f"a cosine is in [-1, 1], not {cosine:g}", place="cosine", remedy="Give ⟨x, x̃⟩/(‖x‖‖x̃‖).")
    if activation == "relu" and bias == 0 and cosine is None:
        logs = sample_relu_ntk(
            widths, sigmas, draws=draws, seed=seed, first=first, input_norm_squared=input_norm_squared
        )[..., None]
        return NTKSamples(logs, np.ones_like(logs))
    depth = len(n)
    length, size = max(longest or depth, depth), max(widest or 1, int(max(n[1:], default=1)))
    padded = np.ones(length, int)
    padded[:depth] = n
    ensemble = Ensemble(
        jnp.asarray(padded), jnp.asarray(depth), jnp.asarray(sigmas), jnp.asarray(bias), activation, size
    )
    base = jax.random.key(seed)
    keys = jax.vmap(lambda index: jax.random.fold_in(base, index))(jnp.arange(first, first + draws))
    arrays = 16 if cosine is None else 32
    batch = max(1, min(draws, 64, _MEMORY // (arrays * length * size * len(sigmas))))
    if cosine is None:
        logs = np.asarray(_one_input(ensemble, keys, jnp.asarray(float(input_norm_squared)), batch))[..., None]
        found = NTKSamples(logs, np.ones_like(logs))
    else:
        gram = input_norm_squared * jnp.array([1.0, cosine, 1.0])
        found = NTKSamples(*map(np.asarray, _two_inputs(ensemble, keys, gram, batch)))
    if np.any(np.isnan(found.logs)) or np.any(np.isposinf(found.logs)):
        raise UserError(
            f"numbers left float64 in a {activation} network of depth {depth}",
            place=f"σ_w = {', '.join(f'{value:g}' for value in sigmas)}",
            remedy="Take a smaller depth or σ_w; for relu and linear every depth stays within the range.",
        )
    return found


def sample_until(
    draw: Callable[[int, int], Float[np.ndarray, " draws"]], *, precision: float, maximum: int, seed: int = 0
) -> DispersionEstimate:
    """Draw in rounds of 4096 until the ratio's relative standard error is small enough, or ``maximum`` is reached.

    It does not stop on an estimate that one sample dominates: there the error is not to be believed.

    Args:
        draw: given the number of the first draw and how many, ln Θ of those.
        precision: wanted standard error over value.
        maximum: most draws.
        seed: of the bootstrap.
    """
    logs = np.empty(0)
    while True:
        count = min(ROUND, maximum - len(logs))
        logs = np.concatenate([logs, draw(len(logs), count)])
        found = estimate_dispersion(logs, seed=seed)
        if len(logs) >= maximum or (found.standard_error <= precision * found.value and found.reliable):
            return found


@eqx.filter_jit
def _one_input(
    ensemble: Ensemble, keys: Key[Array, " draws"], squared: Float[Array, ""], batch: int
) -> Float[Array, "draws sigmas"]:
    def over_sigmas(key: PRNGKeyArray) -> Float[Array, " sigmas"]:
        return jax.vmap(lambda sigma: sample_ntk(_at(ensemble, sigma), key, squared))(ensemble.sigma_w)

    return jax.lax.map(over_sigmas, keys, batch_size=batch)


@eqx.filter_jit
def _two_inputs(
    ensemble: Ensemble, keys: Key[Array, " draws"], gram: Float[Array, "3"], batch: int
) -> tuple[Float[Array, "draws sigmas 3"], Float[Array, "draws sigmas 3"]]:
    def over_sigmas(key: PRNGKeyArray) -> tuple[Array, Array]:
        found = jax.vmap(lambda sigma: sample_ntk_pair(_at(ensemble, sigma), key, gram))(ensemble.sigma_w)
        return found.logs, found.signs

    return jax.lax.map(over_sigmas, keys, batch_size=batch)


def _at(ensemble: Ensemble, sigma: Float[Array, ""]) -> Ensemble:
    return Ensemble(ensemble.widths, ensemble.depth, sigma, ensemble.sigma_b, ensemble.activation, ensemble.widest)
