"""Where the flow (19) ends from starts of zero (or aligned) invariant: integrated, not constructed."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.linalg import norm, qr
from oracles.block_problem import TIGHT
from scipy.linalg import expm


def rotation(p, seed, centred, angle=0.4):
    """An orthogonal C x C matrix near the identity; `centred` ones leave the all-ones direction alone."""
    X = np.random.default_rng(seed).standard_normal((p.C, p.C))
    if centred:
        X = p.P @ X @ p.P
    return expm(angle * (X - X.T))


@cache
def equal_bias_end(p):
    """End of a flow that starts E = 0, H2 = 0 and symmetric between classes: equal biases, not 1/C."""
    U = qr(np.random.default_rng(5).standard_normal((p.n, p.C)))[0].T
    W = (0.5 * p.P + 0.9 * p.J / p.C) @ U
    H1 = np.sqrt(p.mu_class / p.m) * U.T @ (0.5 * p.P + 0.9 / np.sqrt(1 - p.alpha * p.C) * p.J / p.C)
    H = p.join(H1, np.zeros((p.n, p.N - p.C)))
    assert norm(p.invariant(H, W)) < TIGHT
    H, W, b = p.flow((H, W, 0 * p.one), [0, 30.0])[-1]
    H1 = p.split(H)[0]
    assert norm(p.residual(H1, W, b)) < 1e-8
    assert np.ptp(b) < 1e-8
    beta = b.mean()
    assert abs(beta - 1 / p.C) > 0.05
    return H1, W, beta


@cache
def general_bias_path(p):
    """States at the times 0, 0.1 and 40 of a flow with E = 0, H2 = 0 and nothing symmetric: unequal biases."""
    rng = np.random.default_rng(21)
    W = 0.6 * rng.standard_normal((p.C, p.n))
    w, U = np.linalg.eigh(p.A)
    H1 = np.sqrt(p.mu_class / p.m) * W.T @ rotation(p, 22, centred=False) @ (U / np.sqrt(w)) @ U.T
    H = p.join(H1, np.zeros((p.n, p.N - p.C)))
    assert norm(p.invariant(H, W)) < TIGHT
    states = p.flow((H, W, 0.3 * rng.standard_normal((p.C, 1))), [0, 0.1, 40.0])
    H, W, b = states[-1]
    assert norm(p.residual(p.split(H)[0], W, b)) < 1e-9
    assert np.ptp(b) > 0.1
    return states


@cache
def collapsed_path(p, share=0.6):
    """States at the times 0, 0.1 and 60 under every hypothesis of Theorem 5.2, with within-class scatter and
    1ᵀW = 0, so that no direction decays algebraically."""
    rng = np.random.default_rng(23)
    W = p.P @ rng.standard_normal((p.C, p.n))
    spread = qr(rng.standard_normal((p.N - p.C, p.C)))[0].T
    H1 = share * np.sqrt(p.mu_class / p.m) * W.T @ rotation(p, 24, centred=True)
    H2 = np.sqrt(1 - share**2) * np.sqrt(p.mu_single / p.m) * W.T @ spread
    H = p.join(H1, H2)
    assert norm(p.invariant(H, W)) < TIGHT
    assert norm(H.mean(1)) < TIGHT
    return p.flow((H, W, p.one / p.C), [0, 0.1, 60.0])


@cache
def aligned_end(p, weight=1.5, feature=0.4):
    """End of a symmetric flow whose invariant is proportional to the limit of WᵀW, not zero: H1, W and E."""
    U = qr(np.random.default_rng(25).standard_normal((p.n, p.C)))[0].T
    H = p.join(feature * U.T @ p.P, np.zeros((p.n, p.N - p.C)))
    E = p.invariant(H, weight * p.P @ U)
    H, W, b = p.flow((H, weight * p.P @ U, p.one / p.C), [0, 30.0])[-1]
    H1 = p.split(H)[0]
    assert norm(p.residual(H1, W, b)) < 1e-9
    return H1, W, E
