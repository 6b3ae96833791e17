"""The hyperbolic flow and the flow (25) in plain NumPy, and random states for them."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
from scipy.integrate import solve_ivp

Pair = tuple[np.ndarray, np.ndarray]


def integrate_factors(a: np.ndarray, v: np.ndarray, times: np.ndarray) -> list[Pair]:
    """ȧ = −VᵀVa, V̇ = −Vaaᵀ by DOP853, with relative control of entries that decay far."""

    def unpack(flat: np.ndarray) -> Pair:
        return flat[: a.size].reshape(a.shape), flat[a.size :].reshape(v.shape)

    def field(_: float, flat: np.ndarray) -> np.ndarray:
        a, v = unpack(flat)
        return np.concatenate([(-v.T @ (v @ a)).ravel(), (-(v @ a) @ a.T).ravel()])

    start = np.concatenate([a.ravel(), v.ravel()])
    solution = solve_ivp(field, (0, times[-1]), start, method="DOP853", rtol=1e-12, atol=1e-60, t_eval=times)
    assert solution.success
    return [unpack(flat) for flat in solution.y.T]


def random_factors(generator: np.random.Generator, spectrum: list[float]) -> Pair:
    """Square factors with VᵀV − aaᵀ of the spectrum given, in a random basis and without commuting with it.

    The root is operator monotone, so (F² + B)^½ ⪰ ±F for B ⪰ 0, and both Gram matrices are positive semi-definite.
    """
    n = len(spectrum)
    basis = np.linalg.qr(generator.standard_normal((n, n)))[0]
    invariant = (basis * spectrum) @ basis.T
    extra = generator.standard_normal((n, n))
    both = root(invariant @ invariant + 4 * extra @ extra.T)
    return root((both - invariant) / 2), root((both + invariant) / 2)


def precise_riccati(feature: np.ndarray, invariant: np.ndarray, time: float) -> np.ndarray:
    """P(t) of Ṗ = −FP − PF − 2P² with 150 digits: P = YX⁻¹ where Ẋ = FX + 2Y and Ẏ = −FY, by a matrix exponential."""
    n = len(feature)
    with localcontext() as context:
        context.prec = 150
        exact = np.vectorize(Decimal, otypes=[object])
        identity = exact(np.eye(n))
        generator = np.block([[exact(invariant), 2 * identity], [0 * identity, -exact(invariant)]]) * Decimal(time)
        halvings = 12
        small, flow = generator / Decimal(2**halvings), exact(np.eye(2 * n))
        term = flow
        for order in range(1, 60):
            term = term.dot(small) / Decimal(order)
            flow = flow + term
        for _ in range(halvings):
            flow = flow.dot(flow)
        x, y = np.split(flow.dot(np.vstack([identity, exact(feature)])), 2)
        # XᵀPᵀ = Yᵀ by elimination with pivots.
        rows = np.hstack([x.T, y.T])
        for column in range(n):
            pivot = column + int(np.argmax(np.abs(rows[column:, column])))
            rows[[column, pivot]] = rows[[pivot, column]]
            rows[column] = rows[column] / rows[column, column]
            for other in set(range(n)) - {column}:
                rows[other] = rows[other] - rows[other, column] * rows[column]
        return rows[:, n:].T.astype(float)


def root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
