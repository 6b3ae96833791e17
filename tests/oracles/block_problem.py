"""The balanced class problem of paper 3 in plain NumPy and SciPy, written from the paper, without ntkflow.

Block values, the flow (19) with a dense kernel matrix, the invariant (26), and states that the checks of printed
formulas need. Loss normalisation Z = 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.linalg import eigh, norm, pinv, qr
from scipy.integrate import solve_ivp
from scipy.linalg import null_space

TIGHT = 1e-9


@dataclass(frozen=True)
class Block:
    """A balanced problem with block values kappa; upper-case names follow the paper."""

    C: int = 3
    m: int = 4
    n: int = 6
    kd: float = 1.9
    kc: float = 1.2
    kn: float = 0.4

    @property
    def N(self):
        return self.C * self.m

    @property
    def mu_single(self):
        return self.kd - self.kc

    @property
    def mu_class(self):
        return self.mu_single + self.m * (self.kc - self.kn)

    @property
    def alpha(self):
        return self.kn * self.m / (self.mu_class + self.C * self.kn * self.m)

    @property
    def eye(self):
        return np.eye(self.C)

    @property
    def one(self):
        return np.ones((self.C, 1))

    @property
    def J(self):
        return np.ones((self.C, self.C))

    @property
    def P(self):
        """Projector off the all-ones direction of R^C."""
        return self.eye - self.J / self.C

    @property
    def A(self):
        return self.eye - self.alpha * self.J

    @property
    def Y(self):
        return np.kron(self.eye, np.ones((1, self.m)))

    @property
    def Q2(self):
        return np.kron(self.eye, null_space(np.ones((1, self.m))))

    @property
    def kernel(self):
        """The N x N kernel of one neuron, written entry by entry."""
        c = np.arange(self.N) // self.m
        same = np.where(c[:, None] == c[None, :], self.kc, self.kn)
        return same + (self.kd - self.kc) * np.eye(self.N)

    def split(self, H):
        return H @ self.Y.T / self.m, H @ self.Q2 / np.sqrt(self.m)

    def join(self, H1, H2):
        return H1 @ self.Y + np.sqrt(self.m) * H2 @ self.Q2.T

    def residual(self, H1, W, b):
        return W @ H1 + b @ self.one.T - self.eye

    def invariant(self, H, W):
        """Equation (26)."""
        H1, H2 = self.split(H)
        return W.T @ W / self.m - H1 @ self.A @ H1.T / self.mu_class - H2 @ H2.T / self.mu_single

    def field(self, H, W, b):
        """Equation (19), with the kernel applied as a dense matrix."""
        R = W @ H + b - self.Y
        return -W.T @ R @ self.kernel, -R @ H.T, -R.sum(1, keepdims=True)

    def flow(self, state, times, at=None):
        """States of (19) at `times`; `at(t)` may make the kernel depend on time."""
        shapes = [x.shape for x in state]
        cuts = np.cumsum([x.size for x in state])[:-1]

        def unpack(z):
            return [part.reshape(shape) for part, shape in zip(np.split(z, cuts), shapes, strict=True)]

        K, Y = self.kernel, self.Y

        def rhs(t, z):
            H, W, b = unpack(z)
            R = W @ H + b - Y
            kernel = K if at is None else at(t).kernel
            return np.concatenate([(-W.T @ (R @ kernel)).ravel(), (-R @ H.T).ravel(), -R.sum(1)])

        z0 = np.concatenate([x.ravel() for x in state])
        sol = solve_ivp(rhs, (0, times[-1]), z0, method="DOP853", rtol=1e-11, atol=1e-13, t_eval=times)
        assert sol.success
        return [unpack(z) for z in sol.y.T]

    def random_state(self, seed, scale=0.5):
        rng = np.random.default_rng(seed)
        shapes = ((self.n, self.N), (self.C, self.n), (self.C, 1))
        return [scale * rng.standard_normal(shape) for shape in shapes]

    def balanced(self, seed, centred=True, scale=0.5, share=0.6):
        """Features H and weights W with E = 0 and a within-class scatter of full rank in the row space of W."""
        rng = np.random.default_rng(seed)
        W = scale * rng.standard_normal((self.C, self.n))
        mix = share * qr(rng.standard_normal((self.C, self.C)))[0] @ (self.P if centred else self.eye)
        H1 = np.sqrt(self.mu_class / self.m) * W.T @ mix @ psd_power(self.A, -0.5)
        spread = qr(rng.standard_normal((self.N - self.C, self.C)))[0].T
        H2 = np.sqrt(self.mu_single / self.m) * W.T @ psd_power(self.eye - mix @ mix.T, 0.5) @ spread
        return self.join(H1, H2), W

    def fixed_point(self, b, seed=0):
        """Class means and weights with R1 = 0, H2 = 0 and E = 0 for the given biases."""
        F = self.eye - b @ self.one.T
        U = qr(np.random.default_rng(seed).standard_normal((self.n, self.C)))[0].T
        k = (self.m / self.mu_class) ** 0.25
        G = F @ self.A @ F.T
        return U.T @ psd_power(G, -0.25) @ F / k, k * psd_power(G, 0.25) @ U


def psd_power(X, power):
    """Power of a p.s.d. matrix; null directions stay null, as in a pseudo-inverse."""
    w, U = eigh((X + X.T) / 2)
    keep = w > 1e-13 * w[-1]
    return (U[:, keep] * w[keep] ** power) @ U[:, keep].T


def scatter(H2):
    return H2 @ H2.T


def close(a, b, tol=TIGHT):
    return norm(a - b) <= tol * max(1.0, norm(b))


def far(a, b, margin=1e-2):
    return norm(a - b) > margin * max(1.0, norm(b))


def e_tilde(p, W, H2):
    return p.mu_single * W.T @ W - p.m * scatter(H2)


def unit_columns(X):
    return X / norm(X, axis=0)


def zero_class_residual(p, seed=7):
    """A state with R1 = 0 and within-class scatter."""
    rng = np.random.default_rng(seed)
    W, b = rng.standard_normal((p.C, p.n)), 0.2 * rng.standard_normal((p.C, 1))
    H1, H2 = pinv(W) @ (p.eye - b @ p.one.T), 0.3 * rng.standard_normal((p.n, p.N - p.C))
    return p.join(H1, H2), W, b


def general_blocks(p, seed=9):
    rng = np.random.default_rng(seed)
    roots = rng.standard_normal((3, p.n, p.n)) / np.sqrt(p.n)
    return [X @ X.T for X in roots]
