"""What gradient flow and gradient descent, with and without momentum, do to one mode of a quadratic loss.

A mode has the eigenvalue μ of the loss's Hessian times Z, the rate μ/Z and, for the step size η, the number x = ημ/Z.
Two functions of it describe everything linear. The *factor* is what multiplies the distance from the mode's fixed
point. The *sum* is what multiplies the constant force of a mode that starts at rest: ∫₀ᵗ exp(−rate·s) ds for the flow,
and q_k = (1 − p_k)/x for k steps with the factor p_k. Sums are finite at μ = 0, where a quotient would be 0/0.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def flow_factors(rate: Float[Array, "*modes"], time: float | Float[Array, ""]) -> Float[Array, "*modes"]:
    """exp(−rate·t)."""
    return jnp.exp(-time * rate)


def flow_sums(rate: Float[Array, "*modes"], time: float | Float[Array, ""]) -> Float[Array, "*modes"]:
    """∫₀ᵗ exp(−rate·s) ds = (1 − exp(−rate·t))/rate, which is t where the rate is 0. For finite t."""
    exponent = rate * time
    zero = exponent == 0
    return time * jnp.where(zero, 1.0, -jnp.expm1(-exponent) / jnp.where(zero, 1.0, exponent))


def descent_factors(
    x: Float[Array, "*modes"], steps: int | Float[Array, ""], momentum: float = 0.0
) -> Float[Array, "*modes"]:
    """p_k: what k steps of heavy-ball descent multiply a mode by, in closed form.

    The iteration v ← βv − η∇L, θ ← θ + v from v = 0 gives p_{k+1} = (1 + β − x) p_k − β p_{k−1}, p₀ = p_{−1} = 1. Let r
    and r' be the roots of r² − (1 + β − x) r + β = 0, |r| ≥ |r'|. With (rᵏ − r'ᵏ)/(r − r') = rᵏ⁻¹g and ϱ = r'/r,

        p_k = rᵏ [(1 − r') g + ϱᵏ],  g = (1 − ϱᵏ)/(1 − ϱ),

    whose terms have one sign while the roots are real. Between x = (1 − √β)² and (1 + √β)² they are a pair √β exp(±iδ)
    and p_k = βᵏᐟ² [cos kδ + (1 − β − x)/(2√β) sin kδ/sin δ]. At the double roots, g = sin kδ/sin δ = k.
    β = 0 is (1 − x)ᵏ.

    Args:
        x: ημ/Z of each mode; may be negative, which grows.
        steps: k ≥ 0.
        momentum: β.

    Raises:
        ValueError: a β outside [0, 1).
    """
    beta, k = _checked(momentum), jnp.asarray(steps, dtype=float)
    root = beta**0.5
    squared, trace = _discriminant(x, beta), 1 + beta - x
    sign = jnp.where((trace < 0) & (k % 2 == 1), -1.0, 1.0)

    real = jnp.sqrt(jnp.maximum(squared, 0.0))
    _, distance, _ = _distances(x, beta)
    logarithm = jnp.where(trace < 0, jnp.log(jnp.where(trace < 0, (real - trace) / 2, 1.0)), jnp.log1p(-distance))
    # ϱ = exp(−2ω). Where β = 0 the floor makes it 1e-300, as good as 0, and keeps 0·ω a number.
    omega = jnp.arcsinh(real / (2 * max(root, 1e-150)))
    small = jnp.where(trace < 0, -1.0, 1.0) * root * jnp.exp(-omega)
    overdamped = _power(logarithm, k) * ((1 - small) * _ratio(omega, k) + jnp.exp(-2 * omega * k))

    imaginary = jnp.sqrt(jnp.maximum(-squared, 0.0))
    safe = jnp.where(imaginary > 0, imaginary, 1.0)
    angle = jnp.arctan2(imaginary, jnp.abs(trace))
    sine = jnp.where(trace < 0, -1.0, 1.0) * (1 - beta - x) * jnp.sin(k * angle) / safe
    # The sign of a root to the power k is in `sign`: angles near π would lose the digits of π − δ.
    underdamped = root**k * (jnp.cos(k * angle) + sine)
    return sign * jnp.where(squared < 0, underdamped, overdamped)


def descent_sums(
    x: Float[Array, "*modes"], steps: int | Float[Array, ""], momentum: float = 0.0
) -> Float[Array, "*modes"]:
    """q_k = (1 − p_k)/x, the displacement of a mode after k steps for a unit force and a unit step.

    At x = 0 that is k/(1 − β) − β(1 − βᵏ)/(1 − β)². For small x the quotient would cancel; there, with G(r) = 1 + r + …
    + rᵏ⁻¹ = (1 − rᵏ)/(1 − r), it is [r G(r) − r' G(r')]/(r − r').

    Args:
        x: ημ/Z of each mode.
        steps: k ≥ 0.
        momentum: β.

    Raises:
        ValueError: a β outside [0, 1).
    """
    beta, k = _checked(momentum), jnp.asarray(steps, dtype=float)
    # Below half the first double root: real roots that are apart.
    slow = x < _critical(beta) / 2
    near = jnp.where(slow, x, 0.0)
    gap, distance, other = _distances(near, beta)
    zero = distance == 0
    first = jnp.where(zero, k, -jnp.expm1(k * jnp.log1p(-distance)) / jnp.where(zero, 1.0, distance))
    root = 1 - distance
    second = (1 - (beta / root) ** k) / other
    far = jnp.where(slow, 1.0, x)
    return jnp.where(slow, (root * first - beta / root * second) / gap, (1 - descent_factors(far, k, beta)) / far)


def descent_time(step_size: float, steps: int | Float[Array, ""], momentum: float = 0.0) -> Float[Array, ""]:
    """The gradient-flow time that k steps amount to, to first order in x: η q_k(0).

    ηk without momentum; with it η[k/(1 − β) − β(1 − βᵏ)/(1 − β)²], which is the usual ηk/(1 − β) less a lag of
    ηβ/(1 − β)² that builds up in the first 1/(1 − β) steps.
    """
    return step_size * descent_sums(jnp.zeros(()), steps, momentum)


def descent_step_limit(top: float, loss_scale: float, momentum: float = 0.0) -> float:
    """2(1 + β)Z/μ_max: the step at which a root of the fastest mode reaches −1; infinite where no mode moves."""
    return float("inf") if top <= 0 else 2 * (1 + _checked(momentum)) * loss_scale / top


def _checked(momentum: float) -> float:
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be at least 0 and below 1, not {momentum}")
    return float(momentum)


def _critical(beta: float) -> float:
    """(1 − √β)², the x of critical damping."""
    return ((1 - beta) / (1 + beta**0.5)) ** 2


def _discriminant(x: Float[Array, "*modes"], beta: float) -> Float[Array, "*modes"]:
    """(1 + β − x)² − 4β as a product, accurate near both double roots."""
    return (x - _critical(beta)) * (x - (1 + beta**0.5) ** 2)


def _distances(
    x: Float[Array, "*modes"], beta: float
) -> tuple[Float[Array, "*modes"], Float[Array, "*modes"], Float[Array, "*modes"]]:
    """r − r', 1 − r and 1 − r' of positive real roots: they solve u² − (1 − β + x) u + x = 0, the first without loss of
    digits at small x. Elsewhere numbers without meaning, all finite."""
    gap = jnp.sqrt(jnp.maximum(_discriminant(x, beta), 0.0))
    both = 1 - beta + x + gap
    distance = 2 * x / jnp.where(both == 0, 1.0, both)
    return gap, jnp.minimum(distance, 1.0), both / 2


def _power(logarithm: Float[Array, "*modes"], k: Float[Array, ""]) -> Float[Array, "*modes"]:
    """exp(k·logarithm), 1 for k = 0 even where the logarithm is −∞."""
    return jnp.where(k == 0, 1.0, jnp.exp(jnp.where(k == 0, 1.0, k) * logarithm))


def _ratio(omega: Float[Array, "*modes"], k: Float[Array, ""]) -> Float[Array, "*modes"]:
    """(1 − ϱᵏ)/(1 − ϱ) with ϱ = exp(−2ω), which is k at ω = 0."""
    zero = omega == 0
    return jnp.where(zero, k, jnp.expm1(-2 * omega * k) / jnp.expm1(jnp.where(zero, -1.0, -2 * omega)))
