"""A small tanh network in NumPy with complex-step derivatives: exact to rounding, no formula assumed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STEP = 1e-30


def jacobian(function, point):
    """Derivatives of a real-analytic array function, shape (*values, parameters)."""
    columns = [function(point + 1j * STEP * unit).imag / STEP for unit in np.eye(point.size)]
    return np.stack(columns, axis=-1)


def directional(function, point, direction):
    """Derivative of an array function along a direction, in one evaluation."""
    return function(point + 1j * STEP * direction).imag / STEP


@dataclass(frozen=True)
class TanhNetwork:
    """d inputs, one hidden tanh layer, n tanh features, C logits; all parameters in one vector."""

    C: int = 3
    m: int = 2
    n: int = 5
    d: int = 4
    hidden: int = 6
    seed: int = 31

    @property
    def N(self):
        return self.C * self.m

    @property
    def X(self):
        return np.random.default_rng(self.seed).standard_normal((self.d, self.N))

    @property
    def Y(self):
        return np.kron(np.eye(self.C), np.ones((1, self.m)))

    @property
    def shapes(self):
        """Lower layers, then the readout W and b."""
        return (self.hidden, self.d), (self.n, self.hidden), (self.C, self.n), (self.C, 1)

    def start(self):
        rng = np.random.default_rng(self.seed + 1)
        return np.concatenate([rng.standard_normal(s).ravel() / np.sqrt(s[1]) for s in self.shapes])

    def parts(self, w):
        sizes = np.cumsum([np.prod(s) for s in self.shapes])[:-1]
        return [part.reshape(s) for part, s in zip(np.split(w, sizes), self.shapes, strict=True)]

    def features(self, w):
        first, second, _, _ = self.parts(w)
        return np.tanh(second @ np.tanh(first @ self.X))

    def logits(self, w):
        _, _, W, b = self.parts(w)
        return W @ self.features(w) + b

    def loss(self, w):
        """Equation (4)."""
        return np.sum((self.logits(w) - self.Y) ** 2) / 2

    def loss_of_one(self, w, i):
        return np.sum((self.logits(w) - self.Y)[:, i] ** 2) / 2

    def feature_kernel(self, w):
        """Equation (3), shape (n, N, n, N)."""
        jac = jacobian(self.features, w)
        return np.einsum("piw,qjw->piqj", jac, jac)

    def output_kernel(self, w):
        """Equation (2), shape (C, N, C, N)."""
        jac = jacobian(self.logits, w)
        return np.einsum("kiw,sjw->kisj", jac, jac)
