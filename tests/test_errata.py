"""Printed formulas of paper 3 and of thesis section 2.4 that are wrong, or right only under a condition left unsaid.

Each test asserts the corrected statement to a tight tolerance and the printed one to fail by a clear margin. NumPy and
SciPy only: nothing here goes through ntkflow, so these tests stay an independent reference. Loss normalisation Z = 1
throughout paper 3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.linalg import eigh, eigvalsh, matrix_rank, norm, pinv, qr
from scipy.integrate import solve_ivp
from scipy.linalg import expm, null_space

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


# Paper 3, sections 2 and 3


def test_sec2_normalised_means_transpose():
    """Stacking the C normalised means as columns already gives n x C; the printed transpose gives no C x C Gram."""
    p = Block()
    H1, _ = p.fixed_point(p.one / p.C)
    M = unit_columns(H1 - H1.mean(1, keepdims=True))
    assert close(M.T @ M, p.C / (p.C - 1) * p.P)
    assert (M.T.T @ M.T).shape == (p.n, p.n) != (p.C, p.C)


def test_nc2_norm_condition():
    """Collapse makes the *norms* of the centred class means equal; the means themselves stay a fixed distance apart."""
    p = Block()
    H, W = p.balanced(1)
    H, W, _ = p.flow((H, W, p.one / p.C), [0, 40.0])[-1]
    H1, _ = p.split(H)
    centred = H1 - H1.mean(1, keepdims=True)
    assert np.ptp(norm(centred, axis=0)) < TIGHT
    distance = norm(H1[:, 0] - H1[:, 1])
    assert abs(distance - np.sqrt(2 * p.C / (p.C - 1)) * norm(centred[:, 0])) < TIGHT
    assert distance > 0.5


def test_assumption_3_2_output_kernel_not_diagonal_at_collapse():
    """The two halves of the assumption exclude each other at collapse: with a diagonal feature kernel the output
    kernel has off-diagonal blocks (W Wᵀ)_ks K, minus 1/(C-1) of the diagonal part, never zero."""
    p = Block()
    H1, W = p.fixed_point(p.one / p.C)
    root = np.linalg.cholesky(p.kernel).T  # h = V root is a model whose feature kernel is exactly blockwise
    H = p.join(H1, np.zeros((p.n, p.N - p.C)))
    by_features = np.einsum("kp,qi->kipq", W, root)
    by_weights = np.einsum("kl,pi->kilp", p.eye, H)
    by_bias = np.einsum("kl,i->kil", p.eye, np.ones(p.N))
    jac = np.concatenate([x.reshape(p.C * p.N, -1) for x in (by_features, by_weights, by_bias)], axis=1)
    theta = (jac @ jac.T).reshape(p.C, p.N, p.C, p.N)
    gram = W @ W.T
    assert close(theta[0, :, 1], gram[0, 1] * p.kernel)
    assert abs(gram[0, 1] / gram[0, 0] + 1 / (p.C - 1)) < TIGHT
    assert norm(theta[0, :, 1]) > 0.1 * norm(theta[0, :, 0])


# Paper 3, section 4


def test_table1_eigenvectors_are_a_frame_not_a_basis():
    """The listed vectors are eigenvectors, but there are N and C of them where the multiplicities are N-C and C-1: they
    sum to zero in each group, and are neither orthogonal nor of unit length."""
    p = Block()
    single, per_class = [], []
    for c in range(p.C):
        members = np.arange(p.N) // p.m == c
        per_class.append(np.where(members, 1.0, -1 / (p.C - 1)))
        for i in np.flatnonzero(members):
            v = np.where(members, -1 / (p.m - 1), 0.0)
            v[i] = 1
            single.append(v)
    single, per_class = np.array(single).T, np.array(per_class).T
    assert close(p.kernel @ single, p.mu_single * single)
    assert close(p.kernel @ per_class, p.mu_class * per_class)
    assert (matrix_rank(single), matrix_rank(per_class)) == (p.N - p.C, p.C - 1)
    assert close(norm(single, axis=0) ** 2, np.full(p.N, p.m / (p.m - 1)))
    assert close(norm(per_class, axis=0) ** 2, np.full(p.C, p.N / (p.C - 1)))
    assert single.shape[1] == p.N > matrix_rank(single)
    assert abs(single[:, 0] @ single[:, 1]) > 0.1
    assert abs(per_class[:, 0] @ per_class[:, 1]) > 0.1


def test_eq13_to_eq15_order_needs_small_step():
    """The global mean is the fastest component only for eta < 2 / (lambda_global + lambda_class); between that and the
    stability limit 2 / lambda_global it is slower than the class means."""
    p = Block()
    glob = p.mu_class + p.N * p.kn
    r = np.random.default_rng(0).standard_normal(p.N)

    def factors(eta):
        s = r - eta * p.kernel @ r
        a, b = r.reshape(p.C, p.m).mean(1), s.reshape(p.C, p.m).mean(1)
        return abs(s.mean() / r.mean()), norm(b - s.mean()) / norm(a - r.mean())

    threshold = 2 / (glob + p.mu_class)
    at_threshold = factors(threshold)
    assert abs(at_threshold[0] - at_threshold[1]) < TIGHT
    below, above = factors(0.9 * threshold), factors(1.98 / glob)
    assert below[0] < below[1] - 0.05
    assert above[1] + 0.05 < above[0] < 1


# Paper 3, section 5


def test_thm51_invariant_needs_constant_kernel():
    """(26) is conserved for kernel values constant in time; if they drift, it drifts, even when they only rescale."""
    p = Block()
    state = p.random_state(2)
    E0 = p.invariant(*state[:2])
    H, W, _ = p.flow(state, [0, 2.0])[-1]
    assert close(p.invariant(H, W), E0)

    def at(t):
        return replace(p, kd=p.kd * (1 + t), kc=p.kc * (1 + t), kn=p.kn * (1 + t))

    H, W, _ = p.flow(state, [0, 2.0], at=at)[-1]
    assert far(at(2.0).invariant(H, W), E0, 0.1)


def zero_class_residual(p, seed=7):
    """A state with R1 = 0 and within-class scatter."""
    rng = np.random.default_rng(seed)
    W, b = rng.standard_normal((p.C, p.n)), 0.2 * rng.standard_normal((p.C, 1))
    H1, H2 = pinv(W) @ (p.eye - b @ p.one.T), 0.3 * rng.standard_normal((p.n, p.N - p.C))
    return p.join(H1, H2), W, b


def test_eq20_eq44_class_residual_does_not_stay_zero():
    """Setting R1 = 0 once does not keep it there: its derivative is -m W S H1. So (44) and the constancy of (45) hold
    exactly only where W S H1 = 0, while (26) needs no such condition."""
    p = Block()
    H, W, b = zero_class_residual(p)
    H1, H2 = p.split(H)
    assert norm(p.residual(H1, W, b)) < TIGHT
    dH, dW, db = p.field(H, W, b)
    rate = dW @ H1 + W @ p.split(dH)[0] + db @ p.one.T
    assert close(rate, -p.m * W @ scatter(H2) @ H1)
    assert norm(rate) > 1
    later = p.flow((H, W, b), [0, 10.0])[-1]
    late1, late2 = p.split(later[0])
    assert close(p.invariant(*later[:2]), p.invariant(H, W))
    assert far(late1, H1, 0.1)
    assert far(e_tilde(p, later[1], late2), e_tilde(p, W, H2), 0.02)


def test_eq27_conserved_by_eq20_only():
    """(27) is an invariant of the unconstrained-features flow (20), for any residual; under the full flow (19) it
    drifts, also from R1 = 0. It equals m (E + H1 (A/mu_class - I/mu_single) H1ᵀ), so E = 0 does not make it zero."""
    p = Block()
    ufm = replace(p, kc=0.0, kn=0.0, kd=p.mu_single)

    def e_eot(H, W):
        return W.T @ W - H @ H.T / p.mu_single

    H, W, b = zero_class_residual(p)
    H1, _ = p.split(H)
    link = p.A / p.mu_class - p.eye / p.mu_single
    assert close(e_eot(H, W), p.m * (p.invariant(H, W) + H1 @ link @ H1.T))
    for start in ((H, W, b), p.random_state(3)):
        assert close(e_eot(*ufm.flow(start, [0, 3.0])[-1][:2]), e_eot(*start[:2]))
        assert far(e_eot(*p.flow(start, [0, 3.0])[-1][:2]), e_eot(*start[:2]), 0.1)
    H, W = p.balanced(0)
    assert norm(p.invariant(H, W)) < TIGHT < 0.1 < norm(e_eot(H, W))


def test_eq28_sign():
    """With centred means and E = 0 the two feature terms add up to WᵀW / m; their difference does not."""
    p = Block()
    H, W = p.balanced(4)
    H1, H2 = p.split(H)
    assert norm(p.invariant(H, W)) < TIGHT
    means, spread = H1 @ H1.T / p.mu_class, H2 @ H2.T / p.mu_single
    target = W.T @ W / p.m
    assert close(means + spread, target)

    def cosine(X):
        return np.sum(X * target) / norm(X) / norm(target)

    assert cosine(means + spread) > 1 - TIGHT
    assert cosine(means - spread) < 0.9


def test_eq28_alignment_must_hold_in_the_limit():
    """Perfect alignment at one instant is not conserved unless E = 0: starting aligned with E proportional to WᵀW, the
    flow ends at zero loss without NC2; it keeps NC1 for E p.s.d. and loses it for E negative."""
    p = Block()

    def finish(factor):
        H, W = p.balanced(3)
        H = H * np.sqrt(factor)
        assert close(p.invariant(H, W), (1 - factor) * W.T @ W / p.m)
        H, W, b = p.flow((H, W, p.one / p.C), [0, 60.0])[-1]
        H1, H2 = p.split(H)
        assert norm(p.residual(H1, W, b)) < 1e-6
        M = unit_columns(H1 - H1.mean(1, keepdims=True))
        return norm(M.T @ M - p.C / (p.C - 1) * p.P), np.trace(scatter(H2))

    nc2, _ = finish(1.0)
    assert nc2 < TIGHT
    nc2, nc1 = finish(0.6)
    assert nc2 > 0.02
    assert nc1 < TIGHT
    nc2, nc1 = finish(1.5)
    assert nc2 > 0.02
    assert nc1 > 0.02


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


def test_eq30_gamma():
    """gamma carries |1 - beta C|, as in (68), where (30) prints |beta C|; read off a flow that ends at equal biases."""
    p = Block()
    _, W, beta = equal_bias_end(p)
    scale, root = np.sqrt(p.m / p.mu_class), np.sqrt(1 - p.alpha * p.C)
    right = (1 - abs(1 - beta * p.C) * root) / p.C
    printed = (1 - abs(beta * p.C) * root) / p.C
    assert close(W @ W.T, scale * (p.eye - right * p.J), 1e-8)
    assert far(W @ W.T, scale * (p.eye - printed * p.J), 0.05)


# Theorem 5.2


def test_thm52_nc1_is_algebraic_in_one_direction():
    """With E = 0 and centred features S decays exponentially, at rate 2 mu_single sqrt(m / mu_class), on the range of
    H1, and only as 1 / (2 m t) along Wᵀ1, where the constant part of (45) has a null direction; W Wᵀ and NC3 inherit
    that rate."""
    p = Block()
    H, W = p.balanced(1)
    times = [0, 12.0, 18.0, 40.0, 80.0]
    states = p.flow((H, W, p.one / p.C), times)
    slow, fast, largest, weight = [], [], [], []
    for H, W, _ in states:
        S = scatter(p.split(H)[1])
        u = W.T @ p.one / norm(W.T @ p.one)
        slow.append((u.T @ S @ u).item())
        fast.append(norm(p.P @ W @ S @ W.T @ p.P))
        largest.append(eigvalsh(S)[-1])
        weight.append(norm(W.T @ p.one) ** 2 / p.C)
    assert abs((1 / slow[4] - 1 / slow[3]) / (times[4] - times[3]) / (2 * p.m) - 1) < 1e-6
    assert abs((1 / weight[4] - 1 / weight[3]) / (times[4] - times[3]) / (2 * p.mu_single) - 1) < 1e-6
    rate = np.log(fast[1] / fast[2]) / (times[2] - times[1])
    assert abs(rate / (2 * p.mu_single * np.sqrt(p.m / p.mu_class)) - 1) < 5e-3
    assert slow[4] > 1e-4
    assert fast[4] < TIGHT
    # E p.s.d. alone gives this bound from t = 0 on, with no end-of-training assumption.
    assert all(top <= (1 + TIGHT) / (1 / largest[0] + 2 * p.m * t) for t, top in zip(times, largest, strict=True))
    H, W, _ = states[-1]
    assert norm(p.split(H)[0] - np.sqrt(p.mu_class / p.m) * W.T) > 0.01


def test_thm52_nc1_fails_for_indefinite_invariant():
    """A generic start has an indefinite E, and the scatter then stops at minus the negative part of
    mu_single (E + H1 A H1ᵀ / mu_class) instead of zero, with W S = 0 and zero loss."""
    p = Block()
    rng = np.random.default_rng(5)
    W = rng.standard_normal((p.C, p.n)) / np.sqrt(p.n)
    H = np.maximum(0, 0.5 * rng.standard_normal((p.n, p.N)))
    E = p.invariant(H, W)
    H, W, b = p.flow((H, W, 0 * p.one), [0, 200.0])[-1]
    H1, H2 = p.split(H)
    w, U = eigh(p.mu_single * (E + H1 @ p.A @ H1.T / p.mu_class))
    assert norm(p.residual(H1, W, b)) < 1e-8
    assert norm(W @ scatter(H2)) < 1e-8
    assert close(scatter(H2), (U * np.maximum(0, -w)) @ U.T, 1e-8)
    assert np.trace(scatter(H2)) > 0.1


def test_thm52_zero_mean_is_not_conserved():
    """Centred features stay centred if b = 1/C all along; from b = 0 the same start acquires a mean, and both NC3 and
    b = 1/C fail at the end."""
    p = Block()
    H, W = p.balanced(1)
    assert norm(H.mean(1)) < TIGHT
    kept = p.flow((H, W, p.one / p.C), [0, 60.0])[-1]
    lost = p.flow((H, W, 0 * p.one), [0, 60.0])[-1]
    assert norm(kept[0].mean(1)) < 1e-8
    assert close(kept[2], p.one / p.C, 1e-8)
    assert norm(lost[0].mean(1)) > 0.1
    assert far(lost[2], p.one / p.C, 0.05)


def test_thm52_needs_vanishing_class_residual():
    """E = 0 and centred features also hold on the stable manifold of the saddle W = 0, H = 0: from there the loss
    never vanishes. So the theorem needs R1 -> 0 as a hypothesis."""
    p = Block(C=2, m=4, n=3, kd=2.0, kc=1.0, kn=0.25)
    assert p.mu_class == p.m
    v = np.array([[0.5, 0.0, 0.0]])
    ends = {}
    for sign in (1, -1):
        W = np.concatenate([v, -v])
        H = p.join(sign * W.T, np.zeros((p.n, p.N - p.C)))
        assert norm(p.invariant(H, W)) < 1e-15
        assert norm(H.mean(1)) < 1e-15
        H, W, b = p.flow((H, W, p.one / p.C), [0, 2.5])[-1]
        ends[sign] = norm(W), norm(p.residual(p.split(H)[0], W, b))
    assert ends[1][1] < 1e-6
    assert ends[-1][0] < 1e-3
    assert abs(ends[-1][1] - norm(p.P)) < 1e-6


# Paper 3, appendix B


def test_eq39_two_smallest_eigenvalues():
    """The text after (39) calls mu_single and mu_class the two largest eigenvalues; they are the two smallest, as
    Theorem 5.1 says."""
    p = Block()
    values = np.unique(np.round(eigvalsh(p.kernel), 9))
    assert close(values[:2], np.array([p.mu_single, p.mu_class]))
    assert far(values[-2:], np.array([p.mu_single, p.mu_class]), 0.1)


def test_eq40_sign_of_scatter_term():
    """R Hᵀ = m (R1 H1ᵀ + W H2 H2ᵀ): a plus, as in (25) and (38)."""
    p = Block()
    H, W, b = p.random_state(6)
    H1, H2 = p.split(H)
    dW, R1 = p.field(H, W, b)[1], p.residual(H1, W, b)
    assert close(dW, -p.m * (R1 @ H1.T + W @ scatter(H2)))
    assert far(dW, -p.m * (R1 @ H1.T - W @ scatter(H2)), 0.1)


def test_eq46_no_factor_mu_single():
    """mu_single WᵀW is itself the constant plus m S, so the first line of (46) has no further factor; the second is
    right as printed."""
    p = Block(kd=3.0)
    H, W, b = p.random_state(6)
    H2 = p.split(H)[1]
    E, S = e_tilde(p, W, H2), scatter(H2)
    dH2 = p.split(p.field(H, W, b)[0])[1]
    assert close(dH2, -(E + p.m * S) @ H2)
    assert far(dH2, -p.mu_single * (E + p.m * S) @ H2, 0.1)
    assert close(-p.m * W @ S, -W @ (p.mu_single * W.T @ W - E))


def scatter_rate(p):
    """S, its derivative under (25) and the matrix of (45) at a random state."""
    H, W, b = p.random_state(6)
    H2 = p.split(H)[1]
    dH2 = p.split(p.field(H, W, b)[0])[1]
    return scatter(H2), dH2 @ H2.T + H2 @ dH2.T, e_tilde(p, W, H2)


def test_eq47_factor_m():
    """The quadratic term is -2 m S²; the factor m is missing."""
    p = Block()
    S, rate, E = scatter_rate(p)
    assert close(rate, -E @ S - S @ E - 2 * p.m * S @ S)
    assert far(rate, -E @ S - S @ E - 2 * S @ S, 0.1)


def test_eq48_factor_m():
    """The same missing factor m, element by element in the eigenbasis of (45)."""
    p = Block()
    S, rate, E = scatter_rate(p)
    c, V = eigh(E)
    a, da = V.T @ S @ V, V.T @ rate @ V
    assert close(da, -a * (c[:, None] + c) - 2 * p.m * a @ a)
    assert far(da, -a * (c[:, None] + c) - 2 * a @ a, 0.1)


def test_eq49_factor_m():
    """Again -2 m: where c_k = 0 the element is the hyperbola 1 / (1/a0 + 2 m t), so (50) still follows, but from the
    term j = k and without a rate; without the m the slope of 1/a would be 2."""
    p = Block()
    S, rate, E = scatter_rate(p)
    c, V = eigh(E)
    a, da = V.T @ S @ V, np.diag(V.T @ rate @ V)
    assert close(da, -2 * c * np.diag(a) - 2 * p.m * np.sum(a**2, axis=1))
    assert far(da, -2 * c * np.diag(a) - 2 * np.sum(a**2, axis=1), 0.1)
    H, W = p.balanced(1)
    (early, W1, _), (late, W2, _) = p.flow((H, W, p.one / p.C), [20.0, 40.0])
    u1, u2 = (V.T @ p.one / norm(V.T @ p.one) for V in (W1, W2))
    a1, a2 = ((u.T @ scatter(p.split(F)[1]) @ u).item() for u, F in ((u1, early), (u2, late)))
    slope = (1 / a2 - 1 / a1) / 20
    assert abs(slope - 2 * p.m) < 1e-6
    assert abs(slope - 2) > 1


def test_eq54_no_factor_m():
    """The mean term is alpha C² / mu_class times <h><h>ᵀ, with no m; the slip is harmless there, as <h> = 0."""
    p = Block()
    H, W, _ = p.random_state(8)
    H = H + 0.5
    H1, H2 = p.split(H)
    left = W.T @ W / p.m - H1 @ H1.T / p.mu_class - scatter(H2) / p.mu_single
    h = H.mean(1, keepdims=True)
    term = p.alpha * p.C**2 / p.mu_class * h @ h.T
    assert close(left, p.invariant(H, W) - term)
    assert far(left, p.invariant(H, W) - p.m * term)


def test_eq57_factor_m():
    """The second line needs m in front of the squared projector, else it contradicts (58); also for E proportional to
    WᵀW, where gamma enters through lambda = mu_class - gamma alone."""
    p = Block()
    gamma = 0.3 * p.mu_class
    lam = p.mu_class - gamma
    H1, W = replace(p, kd=p.kd - gamma).fixed_point(p.one / p.C)  # solves lam WᵀW = m H1 H1ᵀ with W H1 = P
    E = W.T @ W / p.m - H1 @ p.A @ H1.T / p.mu_class
    assert close(E, gamma / (p.m * p.mu_class) * W.T @ W)
    square = np.linalg.matrix_power(W @ W.T, 2)
    assert close(lam * square, p.m * p.P @ p.P)
    assert far(lam * square, p.P @ p.P, 0.5)
    assert close(W @ W.T, np.sqrt(p.m / lam) * p.P)
    assert close(H1.T @ H1, np.sqrt(lam / p.m) * p.P)


def test_eq66_inverse():
    """The inverse of I - phi J is I + phi / (1 - phi C) J; the printed factor is the inverse of I + phi J."""
    p = Block()
    phi = (1 - np.sqrt(1 - p.alpha * p.C)) / p.C
    forward = p.eye - phi * p.J
    assert close(forward @ (p.eye + phi / (1 - phi * p.C) * p.J), p.eye)
    assert far(forward @ (p.eye - phi / (1 + phi * p.C) * p.J), p.eye, 0.1)


def test_eq66_theta():
    """theta = rho + q - C rho q with q = -phi / (1 - phi C): the printed formula repeats the wrong inverse."""
    p = Block()
    H1, _, beta = equal_bias_end(p)
    phi, rho = (1 - np.sqrt(1 - p.alpha * p.C)) / p.C, (1 - abs(1 - beta * p.C)) / p.C
    right, printed = (rho + q - p.C * rho * q for q in (-phi / (1 - phi * p.C), phi / (1 + phi * p.C)))
    scale = np.sqrt(p.mu_class / p.m)
    assert close(H1.T @ H1, scale * (p.eye - right * p.J), 1e-8)
    assert far(H1.T @ H1, scale * (p.eye - printed * p.J), 0.05)


def test_eq68_theta():
    """theta = (1 - |1 - beta C| / sqrt(1 - alpha C)) / C. It equals gamma when alpha = 0, but for every alpha also at
    beta = 1/C, which the remark leaves out."""
    p = Block()
    H1, _, beta = equal_bias_end(p)
    root, scale = np.sqrt(1 - p.alpha * p.C), np.sqrt(p.mu_class / p.m)

    def theta(x):
        return (1 - abs(1 - x * p.C) / root) / p.C

    printed = (1 - abs(1 - beta * p.C) / (2 - root)) / p.C
    assert close(H1.T @ H1, scale * (p.eye - theta(beta) * p.J), 1e-8)
    assert far(H1.T @ H1, scale * (p.eye - printed * p.J), 0.05)
    gamma = (1 - abs(1 - beta * p.C) * root) / p.C
    assert abs(gamma - theta(beta)) > 0.05
    assert theta(1 / p.C) == pytest.approx(1 / p.C)


def test_eq67_means_not_normalised():
    """(67) is right for M = H1 P as defined there; the column-normalised M of section 2.1 has C / (C-1) instead."""
    p = Block()
    H1, _ = p.fixed_point(0.1 * p.one)
    M = H1 @ p.P
    assert close(M.T @ M, np.sqrt(p.mu_class / p.m) * p.P)
    M = unit_columns(M)
    assert close(M.T @ M, p.C / (p.C - 1) * p.P)
    assert far(M.T @ M, np.sqrt(p.mu_class / p.m) * p.P, 0.1)


def test_eq69_many_classes_do_not_align_the_angles():
    """What has to vanish in (68) is alpha C, not alpha: with many classes alpha -> 0 while alpha C -> 1, and C gamma
    and C theta move apart; with kappa_c / kappa_n -> infinity they do meet."""

    def parts(p, beta_c=0.5):
        root = np.sqrt(1 - p.alpha * p.C)
        return p.alpha, p.alpha * p.C, 1 - beta_c * root, 1 - beta_c / root

    alpha, alpha_c, c_gamma, c_theta = parts(Block(C=100_000))
    assert alpha < 2e-5
    assert alpha_c > 0.99
    assert abs(c_gamma - 1) < 0.01
    assert c_theta < -10
    alpha, alpha_c, c_gamma, c_theta = parts(Block(kn=1e-10))
    assert alpha_c < TIGHT
    assert abs(c_gamma - c_theta) < TIGHT


def test_eq70_square_root():
    """At alpha -> 1/C the Gram matrix of the centred means is sqrt(mu_class / m) P, as in (67); mu_class / m belongs to
    its square. Unequal biases, kappa_n large against mu_class / m."""
    p = Block(kd=1e10 + 8.0, kc=1e10 + 2.0, kn=1e10)
    assert abs(p.alpha * p.C - 1) < 1e-9
    assert p.mu_class / p.m == pytest.approx(3.5)
    H1, W = p.fixed_point(np.array([[0.7], [0.4], [-0.1]]))
    M = H1 @ p.P
    assert close(M.T @ M, np.sqrt(p.mu_class / p.m) * p.P, 1e-6)
    assert far(M.T @ M, p.mu_class / p.m * p.P, 0.1)
    assert close(M, np.sqrt(p.mu_class / p.m) * W.T, 1e-3)


# Paper 3, appendix D


def general_blocks(p, seed=9):
    rng = np.random.default_rng(seed)
    roots = rng.standard_normal((3, p.n, p.n)) / np.sqrt(p.n)
    return [X @ X.T for X in roots]


def test_eq72_signs():
    """All three terms of the feature equation carry the minus; checked against a model h = B theta whose parameter
    Gram matrix B Bᵀ has the blocks (71)."""
    p = Block()
    Ad, Ac, An = general_blocks(p)
    gram = np.kron(Ad, np.eye(p.N)) + np.kron(Ac, p.Y.T @ p.Y) + np.kron(An, np.ones((p.N, p.N)))
    B = np.linalg.cholesky(gram)
    H, W, b = p.random_state(10)
    R = W @ H + b - p.Y
    dH = (B @ -(B.T @ (W.T @ R).ravel())).reshape(p.n, p.N)  # h = B theta, theta' = -grad of the loss
    r_class, r_global = R @ p.Y.T @ p.Y / p.m, R.mean(1, keepdims=True) @ np.ones((1, p.N))
    own, cls, glob = Ad @ W.T @ R, p.m * Ac @ W.T @ r_class, p.N * An @ W.T @ r_global
    assert close(dH, -(own + cls + glob))
    assert far(dH, -own + cls + glob, 0.1)


def matrix_block_rate(p, H1, H2, W, b, c1, c2):
    """Derivative of WᵀW - c1 H1 H1ᵀ - c2 H2 H2ᵀ under (73)."""
    Ad, Ac, An = general_blocks(p)
    R1 = p.residual(H1, W, b)
    dH1 = -(Ad + p.m * Ac) @ W.T @ R1 - p.m * An @ W.T @ R1 @ p.J
    dH2 = -Ad @ W.T @ W @ H2
    dW = -p.m * (R1 @ H1.T + W @ scatter(H2))
    half = W.T @ dW - c1 * H1 @ dH1.T - c2 * H2 @ dH2.T
    return half + half.T


def test_eq77_sign():
    """A time derivative of a symmetric matrix is symmetric: the transposed term is added, not subtracted (H2 = 0)."""
    p = Block()
    Ad, Ac, _ = general_blocks(p)
    H, W, b = p.random_state(11)
    H1 = p.split(H)[0] @ p.P
    rate = matrix_block_rate(p, H1, np.zeros((p.n, 1)), W, b, 0.7, 1.3)
    term = (0.7 * (Ad + p.m * Ac) - p.m * np.eye(p.n)) @ W.T @ p.residual(H1, W, b) @ H1.T
    assert close(rate, term + term.T)
    assert far(rate, term - term.T, 0.1)


def test_eq78_sign():
    """The same sign in the scatter line, seen alone with H1 = 0 (every term of (77) has that factor)."""
    p = Block()
    Ad, _, _ = general_blocks(p)
    H, W, b = p.random_state(12)
    H2 = p.split(H)[1]
    rate = matrix_block_rate(p, np.zeros((p.n, p.C)), H2, W, b, 0.7, 1.3)
    term = (1.3 * Ad - p.m * np.eye(p.n)) @ W.T @ W @ scatter(H2)
    assert close(rate, term + term.T)
    assert far(rate, term - term.T, 0.1)


# Thesis, section 2.4


def test_thesis_eq2_55_recursion():
    """In the covariances of (2.30), layer l contributes Sigma^l times sigma_w² Sigma-dot of the *hidden* layers from l
    to L-1; printed are Sigma^(l-1) and no sigma_w². Checked on a linear network with isometric weights, where nothing
    depends on width."""
    rng = np.random.default_rng(13)
    depth, width, sw, sb = 3, 16, 1.4, 0.6
    x = rng.standard_normal((width, 2))
    weights = [qr(rng.standard_normal((width, width)))[0] * np.sqrt(width) for _ in range(depth - 1)]
    weights.append(rng.standard_normal((1, width)))
    weights[-1] *= np.sqrt(width) / norm(weights[-1])
    acts = [x]
    for w in weights[:-1]:
        h = sw / np.sqrt(width) * w @ acts[-1]
        beta = null_space(h.T)[:, 0] * np.sqrt(width)  # orthogonal to both signals, as a random bias is at large width
        acts.append(h + sb * beta[:, None])
    kernel, back = 0.0, np.ones((1, 1))
    for w, a in zip(reversed(weights), reversed(acts), strict=True):
        kernel = kernel + norm(back) ** 2 * (sw**2 / width * a[:, 0] @ a[:, 1] + sb**2)
        back = back @ w * sw / np.sqrt(width)

    sigma = [x[:, 0] @ x[:, 1] / width]  # index 0 is not defined by (2.30): the input covariance
    for _ in range(depth):
        sigma.append(sw**2 * sigma[-1] + sb**2)
    dot = 1.0  # E[phi'(u) phi'(v)] of a linear activation
    layers = range(1, depth + 1)
    right = sum(sigma[k] * (sw**2 * dot) ** (depth - k) for k in layers)
    assert kernel == pytest.approx(right, rel=1e-12)
    assert abs(sum(sigma[k - 1] for k in layers) / kernel - 1) > 0.02
    assert abs(sum(sigma[k] for k in layers) / kernel - 1) > 0.02  # index moved, sigma_w² still missing


def linear_model(seed=14, N=5, tests=3, P=9):
    """Features of training and test points, labels, initial parameters of f = features @ theta."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((N, P)), rng.standard_normal((tests, P)), rng.standard_normal(N), rng.standard_normal(P)


def train(features, y, theta, t, weight):
    """Gradient flow in parameter space of weight * sum of squared errors."""
    sol = solve_ivp(
        lambda _, p: -2 * weight * features.T @ (features @ p - y), (0, t), theta, "DOP853", rtol=1e-12, atol=1e-13
    )
    return sol.y[:, -1]


def test_thesis_eq2_59_factor_two():
    """With the thesis' own loss (2.11), which has no 1/2, the rate is 2 / N; (2.59) as printed needs the 1/2."""
    X, _, y, theta = linear_model()
    N, t = y.size, 0.3
    kernel, r0 = X @ X.T, X @ theta - y
    full = X @ train(X, y, theta, t, 1 / N) - y
    half = X @ train(X, y, theta, t, 1 / (2 * N)) - y
    assert close(full, expm(-2 * t / N * kernel) @ r0)
    assert close(half, expm(-t / N * kernel) @ r0)
    assert far(full, expm(-t / N * kernel) @ r0, 0.1)


def test_thesis_eq2_60_rate_and_side():
    """The solution of (2.59) is Y + exp(-t Theta / N)(f0 - Y): the 1/N is missing, and the exponential acts from the
    left on a column of N outputs."""
    X, _, y, theta = linear_model()
    N, t = y.size, 0.3
    kernel, f0 = X @ X.T, X @ theta
    f = X @ train(X, y, theta, t, 1 / (2 * N))
    assert close(f, y + expm(-t / N * kernel) @ (f0 - y))
    assert far(f, y + expm(-t * kernel) @ (f0 - y), 0.1)
    with pytest.raises(ValueError, match="mismatch"):
        _ = (f0 - y)[:, None] @ expm(-t * kernel)


def test_thesis_eq2_61_rate():
    """At new points too, the exponent is -t Theta / N; the rest of (2.61) is right for an invertible kernel."""
    X, Z, y, theta = linear_model()
    N, t = y.size, 0.3
    kernel, cross, r0 = X @ X.T, Z @ X.T, X @ theta - y
    f = Z @ train(X, y, theta, t, 1 / (2 * N))

    def formula(time):
        return Z @ theta - cross @ np.linalg.solve(kernel, r0 - expm(-time * kernel) @ r0)

    assert close(f, formula(t / N))
    assert far(f, formula(t), 0.1)
