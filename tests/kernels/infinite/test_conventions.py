"""The recursions as the sources print them, in NumPy, against ours with the arguments that docs/theory names."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np

from ntkflow.kernels.infinite import FullyConnectedKernel, LeakyReLU

X = np.random.default_rng(4).standard_normal((5, 3))


def moments(sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """E[φφ] and E[φ'φ'] of ReLU under a covariance matrix (Cho and Saul 2009)."""
    size = np.sqrt(np.diag(sigma))
    theta = np.arccos(np.clip(sigma / np.outer(size, size), -1, 1))
    np.fill_diagonal(theta, 0.0)
    values = np.outer(size, size) * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / (2 * np.pi)
    return values, (np.pi - theta) / (2 * np.pi)


def test_slides_003_and_jacot() -> None:
    """Σ^(1) = x·x'/d + β², Σ^(l+1) = E[σσ] + β², Θ^(l+1) = Θ^(l) Σ̇^(l+1) + Σ^(l+1): σ_w = 1, σ_b = β, depth L."""
    beta, depth = 0.3, 4
    sigma = X @ X.T / X.shape[1] + beta**2
    theta = sigma
    for _ in range(depth - 1):
        values, slopes = moments(sigma)
        sigma = values + beta**2
        theta = theta * slopes + sigma
    found = FullyConnectedKernel(LeakyReLU(), depth, 1.0, beta).kernels(jnp.asarray(X))
    np.testing.assert_allclose(found.nngp, sigma, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.ntk, theta, rtol=1e-12, atol=1e-14)


def test_slides_002_and_arora() -> None:
    """(7)–(9) with L hidden layers and c_σ: depth L + 1, σ_w² = c_σ, no bias, inputs times √(d/c_σ)."""
    c, hidden = 2.0, 3
    sigmas, dots = [X @ X.T], []
    for _ in range(hidden):
        values, slopes = moments(sigmas[-1])
        sigmas.append(c * values)
        dots.append(c * slopes)
    dots.append(np.ones_like(dots[0]))  # Σ̇^(L+1) = 1
    theta = sum(sigmas[h - 1] * np.prod(dots[h - 1 :], axis=0) for h in range(1, hidden + 2))
    kernel = FullyConnectedKernel(LeakyReLU(), hidden + 1, math.sqrt(c))
    found = kernel.kernels(jnp.asarray(math.sqrt(X.shape[1] / c) * X))
    np.testing.assert_allclose(found.nngp, sigmas[-1], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.ntk, theta, rtol=1e-12, atol=1e-14)


def test_thesis() -> None:
    """(2.30) with q^0 = x·x'/n_0, and (2.55) corrected, Σ_ℓ Σ^ℓ ∏_{ℓ'=ℓ}^{L−1} σ_w² Σ̇^{ℓ'}: the numbers of ours."""
    sw, sb, depth = 1.3, 0.4, 4
    q = X @ X.T / X.shape[1]
    sigmas, dots = [], []
    for _ in range(depth):
        sigmas.append(sw**2 * q + sb**2)
        q, slopes = moments(sigmas[-1])
        dots.append(sw**2 * slopes)
    theta = sum(sigmas[k] * np.prod(dots[k : depth - 1], axis=0) for k in range(depth))
    found = FullyConnectedKernel(LeakyReLU(), depth, sw, sb).kernels(jnp.asarray(X))
    np.testing.assert_allclose(found.nngp, sigmas[-1], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.ntk, theta, rtol=1e-12, atol=1e-14)
