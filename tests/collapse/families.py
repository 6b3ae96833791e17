"""Initial states of every kind that predictions tell apart, in NumPy, and the sample flow (19) integrated by SciPy."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import helmert

from ntkflow.flows import ClassState
from ntkflow.kernels import BlockKernel

FAMILIES = (
    "generic",
    "generic_in_2C_dimensions",
    "generic_in_C+1_dimensions",
    "generic_in_C_dimensions",
    "generic_in_C-1_dimensions",
    "scatter_of_low_rank",
    "theorem_5.2",
    "theorem_5.2_with_column_sums",
    "theorem_5.2_and_spectators",
    "zero_invariant_any_bias",
    "semi_definite",
    "symmetric",
    "symmetric_and_spectators",
    "wrong_orientation",
)


@dataclass(frozen=True)
class Start:
    """A state, its kernel values κ, and its targets, all NumPy."""

    family: str
    kappa: tuple[float, float, float]
    per_class: int
    targets: np.ndarray
    means: np.ndarray
    within: np.ndarray
    weight: np.ndarray
    bias: np.ndarray

    @property
    def classes(self) -> int:
        return self.targets.shape[0]

    @property
    def kernel(self) -> BlockKernel:
        return BlockKernel(*self.kappa, classes=self.classes, per_class=self.per_class)

    @property
    def state(self) -> ClassState:
        return ClassState(*map(jnp.asarray, (self.means, self.within, self.weight, self.bias)))

    @property
    def mu(self) -> tuple[float, float, float]:
        """μ_single, μ_class, μ_global."""
        d, c, n = self.kappa
        m, classes = self.per_class, self.classes
        single = d - c
        return single, single + m * (c - n), single + m * (c - n) + m * classes * n

    def invariant(self) -> np.ndarray:
        """(26) from its definition."""
        single, between, everywhere = self.mu
        alpha = self.kappa[2] * self.per_class / everywhere
        a = np.eye(self.classes) - alpha
        return (
            self.weight.T @ self.weight / self.per_class
            - self.means @ a @ self.means.T / between
            - self.within @ self.within.T / single
        )

    def integrate(self, end: float) -> ClassArrays:
        """(19) with a dense kernel and Z = 1, by LSODA, until a time; back as class means, scatter, W and b."""
        classes, m = self.classes, self.per_class
        samples, features = classes * m, len(self.means)
        label = np.arange(samples) // m
        d, c, n = self.kappa
        kernel = np.where(label[:, None] == label[None, :], c, n) + (d - c) * np.eye(samples)
        one_hot = np.eye(classes)[:, label]
        basis = np.kron(np.eye(classes), helmert(m))
        h = self.means @ one_hot + np.sqrt(m) * self.within @ basis
        goal = self.targets[:, label]
        cut = features * samples

        def field(_: float, flat: np.ndarray) -> np.ndarray:
            h, w = flat[:cut].reshape(features, samples), flat[cut:-classes].reshape(classes, features)
            r = w @ h + flat[-classes:, None] - goal
            return -np.concatenate([(w.T @ (r @ kernel)).ravel(), (r @ h.T).ravel(), r.sum(axis=1)])

        start = np.concatenate([h.ravel(), self.weight.ravel(), self.bias])
        solution = solve_ivp(field, (0.0, end), start, method="LSODA", rtol=1e-11, atol=1e-13)
        assert solution.success
        flat = solution.y[:, -1]
        h, w = flat[:cut].reshape(features, samples), flat[cut:-classes].reshape(classes, features)
        means = h @ one_hot.T / m
        away = h - means @ one_hot
        return ClassArrays(means, away @ away.T / m, w, flat[-classes:])


@dataclass(frozen=True)
class ClassArrays:
    """Class means, S, W and b."""

    means: np.ndarray
    scatter: np.ndarray
    weight: np.ndarray
    bias: np.ndarray

    def grams(self) -> dict[str, np.ndarray]:
        return {
            "WWᵀ": self.weight @ self.weight.T,
            "H₁ᵀH₁": self.means.T @ self.means,
            "WH₁": self.weight @ self.means,
            "S": self.scatter,
            "b": self.bias,
        }


def make(family: str, seed: int, *, classes: int = 3, per_class: int = 4, features: int = 7) -> Start:
    """A random state of a family, with a random kernel; every third one has zero-centred targets."""
    rng = np.random.default_rng([FAMILIES.index(family), seed])
    single, between, across = rng.uniform([0.3, 0.2, 0.05], [2.0, 1.5, 0.6])
    kappa = (single + between + across, between + across, across)
    m, n, columns = per_class, features, classes * (per_class - 1)
    mu_single, mu_class = single, single + m * between
    alpha = across * m / (mu_class + classes * m * across)
    ones = np.full((classes, classes), 1 / classes)
    off = np.eye(classes) - ones

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape)

    def frame(rows: int, cols: int) -> np.ndarray:
        return np.linalg.qr(normal(rows, cols))[0]

    def root(matrix: np.ndarray, power: float = 0.5) -> np.ndarray:
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        return (vectors * np.maximum(values, 0) ** power) @ vectors.T

    a_root = np.eye(classes) + (1 / np.sqrt(1 - alpha * classes) - 1) * ones
    bias = 0.3 * normal(classes)
    within = np.zeros((n, columns))
    dims = {
        "generic": n,
        "generic_in_2C_dimensions": min(n, 2 * classes),
        "generic_in_C+1_dimensions": classes + 1,
        "generic_in_C_dimensions": classes,
        "generic_in_C-1_dimensions": classes - 1,
        "scatter_of_low_rank": n,
    }
    if family in dims:
        d = dims[family]
        space = frame(n, d)
        means, weight = space @ normal(d, classes) * 0.5, normal(classes, d) @ space.T / np.sqrt(d)
        rank = min(d, columns) if family != "scatter_of_low_rank" else 2
        within = space @ (0.5 * normal(d, rank)) @ frame(columns, rank).T
    elif family.startswith(("theorem", "zero_invariant", "semi_definite")):
        # All features in the row space of W: H₁ = √(μ_class/m) Wᵀ mix A^{-1/2}, S from what is left of E.
        weight = 0.7 * normal(classes, n) / np.sqrt(n) * 2
        if family in ("theorem_5.2", "theorem_5.2_and_spectators"):
            weight = off @ weight
        mix = 0.6 * frame(classes, classes) @ (off if "theorem" in family else np.eye(classes))
        if family == "theorem_5.2" or family.endswith("spectators"):
            mix = off @ frame(classes, classes) @ off
            mix = 0.8 * mix / np.linalg.norm(mix, 2)
        share = 0.5 if family == "semi_definite" else 1.0
        means = share * np.sqrt(mu_class / m) * weight.T @ mix @ a_root
        rest = root(np.eye(classes) - mix @ mix.T) @ frame(columns, classes).T
        within = share * np.sqrt(mu_single / m) * weight.T @ rest
        if "theorem" in family:
            bias = np.full(classes, 1 / classes)
    else:
        space = frame(n, classes + 1)
        helm = helmert(classes)
        inner, mean_space = space[:, : classes - 1], space[:, classes - 1 :]
        e = rng.choice([0.0, rng.uniform(-0.3, 0.5)]) if family != "wrong_orientation" else 0.0
        means_in = 0.7 * frame(classes - 1, classes - 1)
        within_in = 0.3 * normal(classes - 1, columns) * (family != "wrong_orientation")
        gram = means_in @ means_in.T / mu_class + within_in @ within_in.T / mu_single + e * np.eye(classes - 1)
        if np.linalg.eigvalsh(gram)[0] < 0:
            gram = gram - e * np.eye(classes - 1)
        turned = frame(classes - 1, classes - 1) @ root(m * gram)
        sign = np.sign(np.linalg.det(turned @ means_in)) * (-1 if family == "wrong_orientation" else 1)
        turned[0] *= sign
        mean_mode = 0.6 * normal(2, 2)
        u = np.full((classes, 1), classes**-0.5)
        means = inner @ means_in @ helm + mean_space @ mean_mode[:, :1] @ u.T
        weight = helm.T @ turned @ inner.T + u @ mean_mode[:, 1:].T @ mean_space.T
        within = inner @ within_in
        bias = np.full(classes, 0.3 * rng.standard_normal())
    if family.endswith("spectators"):
        used = np.linalg.svd(np.hstack([weight.T, means]), full_matrices=True)[0]
        rank = np.linalg.matrix_rank(np.hstack([weight.T, means]), tol=1e-9)
        # Columns that the coupled part of H₂ leaves free, so that S has no cross term.
        free = np.linalg.svd(within)[2][rank:]
        outside = used[:, rank:]
        within = within + outside @ (0.4 * normal(outside.shape[1], len(free))) @ free
    targets = np.eye(classes)
    if seed % 3 == 2:
        targets, bias = off, bias - 1 / classes
    return Start(family, kappa, per_class, targets, means, within, weight, bias)
