"""Printed formulas of papers 1 and 3 and thesis section 2.4 that are wrong, or right only under an unsaid condition.

Each test asserts the corrected statement to a tight tolerance and the printed one to fail by a clear margin. NumPy and
SciPy only: nothing here goes through ntkflow, so these tests stay an independent reference. Loss normalisation Z = 1
throughout paper 3.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.linalg import eigh, eigvalsh, matrix_rank, norm, pinv, qr
from oracles.block_problem import (
    TIGHT,
    Block,
    close,
    e_tilde,
    far,
    general_blocks,
    psd_power,
    scatter,
    unit_columns,
    zero_class_residual,
)
from oracles.flow_ends import collapsed_path, equal_bias_end, general_bias_path
from oracles.tanh_network import TanhNetwork, jacobian
from scipy.integrate import solve_ivp
from scipy.linalg import expm, null_space
from scipy.optimize import brentq
from scipy.special import erf

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


def test_eq30_gamma():
    """gamma carries |1 - beta C|, as in (68), where (30) prints |beta C|; read off a flow that ends at equal biases."""
    p = Block()
    _, W, beta = equal_bias_end(p)
    scale, root = np.sqrt(p.m / p.mu_class), np.sqrt(1 - p.alpha * p.C)
    right = (1 - abs(1 - beta * p.C) * root) / p.C
    printed = (1 - abs(beta * p.C) * root) / p.C
    assert close(W @ W.T, scale * (p.eye - right * p.J), 1e-8)
    assert far(W @ W.T, scale * (p.eye - printed * p.J), 0.05)


def test_eq29_holds_in_the_limit_only():
    """(29) is written as an equation and (30) as a proportionality in time; both are where the flow goes, and away from
    it by several per cent while R1 is not yet zero, although E = 0 and H2 = 0 all along."""
    p = Block()
    scale = p.m / p.mu_class

    def right_hand_side(b):
        bilinear = p.C * b @ b.T - b @ p.one.T - p.one @ b.T
        return scale * (p.eye - p.alpha * p.J + (1 - p.alpha * p.C) * bilinear)

    _, (H, W, b), (H_end, W_end, b_end) = general_bias_path(p)
    assert norm(p.invariant(H, W)) < TIGHT
    assert norm(p.split(H)[1]) < TIGHT
    assert far(np.linalg.matrix_power(W @ W.T, 2), right_hand_side(b), 0.05)
    assert close(np.linalg.matrix_power(W_end @ W_end.T, 2), right_hand_side(b_end), 1e-8)
    assert norm(p.split(H_end)[1]) < TIGHT


def test_remark2_necessity_needs_zero_mean():
    """A collapsed state may carry any common feature vector, absorbed by the biases: NC1 to NC4 hold, nothing moves,
    and yet H1 H1ᵀ is not proportional to WᵀW. Nor does NC3 alone, with its normalised means, give (28)."""
    p = Block()
    H1, W = p.fixed_point(p.one / p.C)
    h = np.random.default_rng(40).standard_normal((p.n, 1))
    H1, b = H1 + h @ p.one.T, p.one / p.C - W @ h
    H = p.join(H1, np.zeros((p.n, p.N - p.C)))
    assert max(norm(part) for part in p.field(H, W, b)) < TIGHT
    M = unit_columns(H1 @ p.P)
    assert close(M.T @ M, p.C / (p.C - 1) * p.P)
    assert close(M / norm(M), W.T / norm(W))
    x = np.random.default_rng(41).standard_normal((p.n, 200))
    nearest = np.argmin(norm(x[:, None] - H1[:, :, None], axis=0), axis=0)
    assert np.array_equal(np.argmax(W @ x + b, axis=0), nearest)

    def cosine(X, Y):
        return np.sum(X * Y) / norm(X) / norm(Y)

    centred = H1 @ p.P
    assert cosine(centred @ centred.T, W.T @ W) > 1 - TIGHT
    assert cosine(H1 @ H1.T, W.T @ W) < 0.9

    triangle = np.array([[1.0, 0.0, -1.0], [0.0, 0.5, -0.5]])  # centred, of unequal lengths
    self_dual = unit_columns(triangle).T
    assert cosine(triangle @ triangle.T, self_dual.T @ self_dual) < 0.95


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


def test_eq33_bias_inside_the_sum():
    """(33) takes b_k into the sum over the n features, so that its part along b is n times the gradient; (32) has the
    bias outside. Harmless for (34) and (35), since features do not depend on b."""
    net = TanhNetwork()
    w = net.start()
    R = net.logits(w) - net.Y
    velocity = -jacobian(lambda v: np.atleast_1d(net.loss(v)), w)[0]
    inside = np.zeros_like(w)
    b = net.parts(w)[3]
    for k in range(net.C):
        for s in range(net.n):
            term = jacobian(lambda v, k=k, s=s: net.parts(v)[2][k, s] * net.features(v)[s] + net.parts(v)[3][k], w)
            inside -= R[k] @ term
    bias = slice(w.size - b.size, None)
    assert close(inside[: -b.size], velocity[: -b.size])
    assert close(inside[bias], net.n * velocity[bias])
    assert far(inside, velocity, 0.1)


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


def test_eq61_strict_only_off_the_optimal_bias():
    """gamma < 1/C, said of every case after (61) and in (30), is an equality at beta = 1/C, which is collapse itself;
    elsewhere the angle between the rows of W is smaller than in the ETF, as said."""
    p = Block()
    _, W, beta = equal_bias_end(p)
    for weights, bias in ((W, beta), (collapsed_path(p)[-1][1], 1 / p.C)):
        rho = (1 - (1 - p.alpha * p.C) * (1 - bias * p.C) ** 2) / p.C
        gamma = (1 - np.sqrt(max(0.0, 1 - p.C * rho))) / p.C
        assert close(weights @ weights.T, np.sqrt(p.m / p.mu_class) * (p.eye - gamma * p.J), 1e-8)
        gap = 1 / p.C - gamma
        assert (gap > 0.05) == (bias != 1 / p.C)
        assert gap > 0.05 or gap < TIGHT
        rows = unit_columns(weights.T)
        cosine = (rows.T @ rows)[0, 1]
        assert abs(cosine + gamma / (1 - gamma)) < 1e-8
        assert (cosine > -1 / (p.C - 1) + 0.05) == (bias != 1 / p.C)


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


def test_eq70_limit_is_slow_unless_biases_sum_to_one():
    """At alpha = 1/C, R1 = 0 and E = 0 together need 1ᵀb = 1. For other biases NC3 is a limit only, approached like
    (1 - alpha C)^(1/4), and the mean of the class means grows like the inverse of that."""
    gaps, duality, mean = [], [], []
    for kn in (1e6, 1e10):
        p = Block(kd=kn + 8.0, kc=kn + 2.0, kn=kn)
        H1, W = p.fixed_point(np.array([[0.5], [0.1], [-0.2]]))
        M = H1 @ p.P
        assert close(M.T @ M, np.sqrt(p.mu_class / p.m) * p.P, 1e-5)
        gaps.append(1 - p.alpha * p.C)
        duality.append(norm(W - np.sqrt(p.m / p.mu_class) * M.T))
        mean.append(norm(H1 @ p.one))
    span = np.log(gaps[1] / gaps[0])
    assert np.log(duality[1] / duality[0]) / span == pytest.approx(0.25, abs=1e-3)
    assert np.log(mean[1] / mean[0]) / span == pytest.approx(-0.25, abs=1e-3)
    H1, W = p.fixed_point(np.array([[0.7], [0.4], [-0.1]]))
    assert norm(W - np.sqrt(p.m / p.mu_class) * (H1 @ p.P).T) < 1e-6


# Paper 3, appendix D


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


def scaled_network_logits(p, scales, V, W, b, end):
    """Logits at a time of gradient flow in the parameters of f = W D V X + b, D diagonal and fixed, with XᵀX the block
    kernel: its feature kernel has the matrix blocks D² mu_single, D² (kc - kn) and D² kn."""
    X, Y = np.linalg.cholesky(p.kernel).T, p.Y
    cuts = np.cumsum([V.size, W.size])

    def unpack(z):
        v, w, c = np.split(z, cuts)
        return v.reshape(V.shape), w.reshape(W.shape), c[:, None]

    def rhs(_, z):
        v, w, c = unpack(z)
        H = scales[:, None] * (v @ X)
        R = w @ H + c - Y
        return -np.concatenate([((scales[:, None] * (w.T @ R)) @ X.T).ravel(), (R @ H.T).ravel(), R.sum(1)])

    z0 = np.concatenate([V.ravel(), W.ravel(), b.ravel()])
    sol = solve_ivp(rhs, (0, end), z0, method="DOP853", rtol=1e-11, atol=1e-13)
    v, w, c = unpack(sol.y[:, -1])
    return w @ (scales[:, None] * (v @ X)) + c


def test_eq75_rotation_invariance_needs_a_kernel_that_turns():
    """That the loss sees only W H does not make the flow rotation invariant: f = W D V X from a rotated start, the same
    function at t = 0, learns another function unless D is a multiple of the identity. With (80) the fields agree."""
    p = Block()
    rng = np.random.default_rng(42)
    V, W, b = 0.4 * rng.standard_normal((p.n, p.N)), 0.6 * rng.standard_normal((p.C, p.n)), np.zeros((p.C, 1))
    Q = qr(rng.standard_normal((p.n, p.n)))[0]
    for scales, invariant in ((np.full(p.n, 1.3), True), (np.linspace(0.5, 2.0, p.n), False)):
        turned = (Q.T @ (scales[:, None] * V)) / scales[:, None]  # realises H -> Qᵀ H
        ends = [
            [scaled_network_logits(p, scales, *start, b, end) for start in ((V, W), (turned, W @ Q))]
            for end in (1e-12, 0.3)
        ]
        assert close(*ends[0], 1e-8)
        assert close(*ends[1], 1e-8) if invariant else far(*ends[1], 0.02)

    def feature_rate(blocks, H, W):
        R = W @ H + b - p.Y
        parts = (R, R @ p.Y.T @ p.Y, R @ np.ones((p.N, p.N)))
        return -sum(A @ W.T @ part for A, part in zip(blocks, parts, strict=True))

    blocks = general_blocks(p)
    H = V @ np.linalg.cholesky(p.kernel).T
    rate = feature_rate(blocks, H, W)
    assert close(feature_rate([Q.T @ A @ Q for A in blocks], Q.T @ H, W @ Q), Q.T @ rate)
    assert far(feature_rate(blocks, Q.T @ H, W @ Q), Q.T @ rate, 0.1)


def test_d1_linear_network_is_no_counterexample():
    """For H = V X the kernel does not change under V -> Qᵀ V, as said; but its blocks are multiples of the identity, so
    QᵀAQ = A too. With a fixed diagonal, H = D V X, the kernel still does not change, and QᵀAQ differs from it."""
    p = Block()
    rng = np.random.default_rng(43)
    X, V = rng.standard_normal((4, p.N)), rng.standard_normal((p.n, 4))
    Q = qr(rng.standard_normal((p.n, p.n)))[0]

    def kernel(scales, v):
        jac = jacobian(lambda z: scales[:, None] * (z.reshape(v.shape) @ X), v.ravel())
        return np.einsum("piw,qjw->ijpq", jac, jac)

    for scales, shows_it in ((np.ones(p.n), False), (np.linspace(0.5, 2.0, p.n), True)):
        before = kernel(scales, V)
        after = kernel(scales, (Q.T @ (scales[:, None] * V)) / scales[:, None])
        turned = Q.T @ before @ Q
        assert close(after, before)
        assert far(turned, before, 0.1) if shows_it else close(turned, before)


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


def matrix_block_flow(p, blocks, state, end):
    """State of (73) at a time, with constant blocks; H2 as a matrix of n x (N - C)."""
    Ad, Ac, An = blocks
    shapes = [x.shape for x in state]
    cuts = np.cumsum([x.size for x in state])[:-1]

    def unpack(z):
        return [part.reshape(shape) for part, shape in zip(np.split(z, cuts), shapes, strict=True)]

    def rhs(_, z):
        H1, H2, W, b = unpack(z)
        R1 = p.residual(H1, W, b)
        force = W.T @ R1
        dH1 = -(Ad + p.m * Ac) @ force - p.m * An @ force @ p.J
        dW = -p.m * (R1 @ H1.T + W @ scatter(H2))
        return np.concatenate([dH1.ravel(), (-Ad @ W.T @ W @ H2).ravel(), dW.ravel(), -p.m * R1.sum(1)])

    z0 = np.concatenate([x.ravel() for x in state])
    return unpack(solve_ivp(rhs, (0, end), z0, method="DOP853", rtol=1e-11, atol=1e-13).y[:, -1])


def test_eq79_kappas_are_differences():
    """kappa_c and kappa_d of (79) stand for kappa_c - kappa_n and kappa_d - kappa_c of Assumption 3.2: with these the
    field is that of (19), with the original values it is not."""
    p = Block()
    H, W, b = p.random_state(44)
    R = W @ H + b - p.Y

    def rate(ad, ac, an):
        return -W.T @ (ad * R + ac * R @ p.Y.T @ p.Y + an * R @ np.ones((p.N, p.N)))

    target = p.field(H, W, b)[0]
    assert close(rate(p.mu_single, p.kc - p.kn, p.kn), target)
    assert far(rate(p.kd, p.kc, p.kn), target, 0.1)


def test_d2_invariant_needs_a_mean_that_stays_zero():
    """Under Assumption D.2 the invariant exists for c1 = m / (kd + m kc) and c2 = m / kd alone (values of (79)), and
    while H1 1 = 0, which b = 1/C keeps up. Then A_n, N_c and N_d drop out: the relaxation has no effect on any
    trajectory that the theorem is about. From other biases a mean appears, A_n acts, and no c1, c2 conserve."""
    p = Block()
    An, kd, kc = general_blocks(p)[2], p.mu_single, p.kc - p.kn
    c1, c2 = p.m / (kd + p.m * kc), p.m / kd
    H, W, _ = collapsed_path(p)[0]
    H1, H2 = p.split(H)
    identity = np.eye(p.n)

    def terms(H1, H2, W):
        return np.array([(W.T @ W).ravel(), (H1 @ H1.T).ravel(), (H2 @ H2.T).ravel()])

    def drift(b, blocks):
        state = matrix_block_flow(p, blocks, (H1, H2, W, b), 0.5)
        return state, terms(*state[:3]) - terms(H1, H2, W)

    plain = (kd * identity, kc * identity, p.kn * identity)
    relaxed = (kd * identity, kc * identity, An)
    kept, moved = drift(p.one / p.C, relaxed)
    same, _ = drift(p.one / p.C, plain)
    assert all(close(x, y, 1e-8) for x, y in zip(kept, same, strict=True))
    assert norm(moved[0]) > 0.1
    assert norm(np.array([1, -c1, -c2]) @ moved) < 1e-8
    assert norm(np.array([1, -1.1 * c1, -c2]) @ moved) > 1e-3
    assert norm(np.array([1, -c1, -1.1 * c2]) @ moved) > 1e-3

    b = 0.3 * np.random.default_rng(45).standard_normal((p.C, 1))
    lost, moved = drift(b, relaxed)
    assert norm(lost[0] @ p.one) > 0.05
    best = np.linalg.lstsq(moved[1:].T, moved[0], rcond=None)[0]
    assert norm(moved[0] - best @ moved[1:]) > 0.02

    # Null blocks N_c, N_d: they act on WᵀR alone, where they are zero, so the field is the plain one at any state.
    force = W.T @ (W @ H + b - p.Y)
    null = identity - force @ pinv(force)
    assert norm(null) > 1
    R1 = p.residual(H1, W, b)
    assert close((kd * identity + null + p.m * (kc * identity + 0.7 * null)) @ W.T @ R1, (kd + p.m * kc) * W.T @ R1)
    assert close((kd * identity + null) @ W.T @ W @ H2, kd * W.T @ W @ H2)


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


def test_appd_one_quadratic_invariant_always_exists():
    """No E of the form below (77) is conserved for general matrices, yet a number is, for any positive definite kernel:
    |W|² − ⟨H, (Θʰ)⁻¹H⟩, here at a random state with Θʰ as a dense matrix; with c₁ and c₂ nothing of the kind is."""
    p = Block()
    Ad, Ac, An = general_blocks(p)
    gram = np.kron(Ad, np.eye(p.N)) + np.kron(Ac, p.Y.T @ p.Y) + np.kron(An, np.ones((p.N, p.N)))
    H, W, b = p.random_state(10)
    R = W @ H + b - p.Y
    dW, dH = -R @ H.T, -(gram @ (W.T @ R).ravel())
    weights, features = 2 * np.sum(W * dW), 2 * H.ravel() @ np.linalg.solve(gram, dH)
    assert close(weights, features)
    assert abs(weights) > 0.1
    H1, H2 = p.split(H)
    dH1, dH2 = p.split(dH.reshape(p.n, p.N))
    halves = [W.T @ dW, H1 @ dH1.T, H2 @ dH2.T]
    terms = np.stack([(half + half.T).ravel() for half in halves], axis=1)
    # Not even with the best c₁ and c₂.
    best = np.linalg.lstsq(terms[:, 1:], terms[:, 0], rcond=None)[0]
    assert norm(terms[:, 0] - terms[:, 1:] @ best) > 0.1 * norm(terms[:, 0])


def test_eq67_equal_biases_keep_nc4_as_well():
    """With equal biases the decision regions of the logits are those of the nearest class mean, although W and the
    means are not parallel (NC3 fails): the part of W across classes is, and R1 = 0 fixes the bias."""
    p = Block()
    b = 0.1 * p.one
    H1, W = p.fixed_point(b)
    M = H1 @ p.P
    across = p.P @ W
    assert close(across / norm(across), M.T / norm(M))
    assert far(W / norm(W), M.T / norm(M))
    points = 3 * np.random.default_rng(0).standard_normal((p.n, 500))
    nearest = np.argmin(norm(points[:, None, :] - H1[:, :, None], axis=0), axis=0)
    assert np.array_equal(np.argmax(W @ points + b, axis=0), nearest)
    # With unequal biases the two rules part.
    b = b + 0.3 * np.array([[1.0], [-1.0], [0.0]])
    H1, W = p.fixed_point(b)
    nearest = np.argmin(norm(points[:, None, :] - H1[:, :, None], axis=0), axis=0)
    assert np.mean(np.argmax(W @ points + b, axis=0) != nearest) > 0.01


def test_remark5_invariant_below_zero_can_collapse():
    """E negative definite where the features live, and yet NC1: with C - 1 dimensions W has full rank there at R1 = 0,
    and WS = 0 leaves nothing. So p.s.d. is sufficient and not necessary; what excludes NC1 is n₋(E) > C."""
    p = Block()
    H, W = p.balanced(1)
    W = p.P @ W
    rows = np.linalg.svd(W)[2][: p.C - 1]
    H = rows.T @ rows @ H
    H1, H2 = p.split(H)
    H, W = p.join(H1 @ p.P, 2 * H2), 0.8 * W
    inside = rows @ p.invariant(H, W) @ rows.T
    assert eigvalsh(inside).max() < -0.01
    H, W, b = p.flow((H, W, p.one / p.C), [0, 140.0])[-1]
    H1, H2 = p.split(H)
    assert norm(p.residual(H1, W, b)) < TIGHT
    assert norm(H2) < TIGHT


def test_thm52_zero_invariant_needed_on_the_coupled_space_only():
    """Within-class scatter in directions that neither W nor the means have makes E ≠ 0 and NC1 false, and touches
    nothing else: it never moves, and the rest collapses as Theorem 5.2 says."""
    p = Block()
    rng = np.random.default_rng(2)
    inside, outside = np.split(qr(rng.standard_normal((p.n, p.n)))[0], [p.C - 1], axis=1)
    centred = null_space(p.one.T)
    means = rng.standard_normal((p.C - 1, p.C)) @ p.P
    within = 0.4 * rng.standard_normal((p.C - 1, p.N - p.C))
    root = psd_power(p.m * (means @ means.T / p.mu_class + within @ within.T / p.mu_single), 0.5)
    root[0] *= np.sign(np.linalg.det(root @ means @ centred))
    W = centred @ root @ inside.T
    # Uncorrelated with the scatter inside, or S would mix the two.
    spread = 0.7 * rng.standard_normal((p.n - p.C + 1, p.N - p.C)) @ (np.eye(p.N - p.C) - pinv(within) @ within)
    assert norm(p.invariant(p.join(inside @ means, inside @ within), W)) < TIGHT
    H = p.join(inside @ means, inside @ within + outside @ spread)
    assert norm(p.invariant(H, W)) > 0.1
    H, W, _ = p.flow((H, W, p.one / p.C), [0, 80.0])[-1]
    H1, H2 = p.split(H)
    assert close(H2, outside @ spread, 1e-6)
    M = H1 @ p.P
    assert close(M.T @ M / norm(M.T @ M), p.P / norm(p.P), 1e-6)
    assert close(W / norm(W), M.T / norm(M), 1e-6)


# Lecture slides 003, page "CNTK formula"


def relu_moments(q_u, q_v, k):
    """E[relu relu] and E[step step] of centred Gaussians with these variances and this covariance."""
    size = np.sqrt(q_u * q_v)
    angle = np.arccos(np.clip(k / size, -1, 1))
    return size * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi), (np.pi - angle) / (2 * np.pi)


def test_slides_cntk_inverse_variance():
    """c_sigma has to be the inverse second moment of sigma(z): that keeps the variance of pre-activations, here of one
    pixel with 1 x 1 filters. With the inverse variance as printed ReLU's grows by 1.47 a layer."""
    z, weights = np.polynomial.hermite_e.hermegauss(200)
    weights = weights / weights.sum()
    relu = np.maximum(z, 0)
    moment = weights @ relu**2
    variance = moment - (weights @ relu) ** 2
    for c_sigma, growth in ((1 / moment, 1.0), (1 / variance, 1 / (1 - 1 / np.pi))):
        q = 1.7
        for _ in range(4):
            q = c_sigma * relu_moments(q, q, q)[0]
        assert q / 1.7 == pytest.approx(growth**4, rel=2e-2)


def test_slides_cntk_trace_needs_equal_positions_only():
    """Patches move both positions together, so the trace is made of pairs (ij, ij) alone: P Q numbers a pair of images
    and layer where the printed complexity counts P² Q². All pairs are needed with global average pooling."""
    rng = np.random.default_rng(15)
    P, Q, q, depth = 4, 3, 3, 3
    x = rng.standard_normal((2, 2, P, Q))

    def patches(values):
        """Sums of [.]_D over an array whose axes come in pairs of positions that are moved together."""
        padded, total = np.pad(values, 1), np.zeros_like(values)
        for a in range(q):
            for b in range(q):
                cut = (slice(a, a + P), slice(b, b + Q)) * (values.ndim // 2)
                total = total + padded[cut]
        return total

    def layers(own, other, both, view):
        own, other, both = patches(own), patches(other), patches(both)
        tangent = both
        for layer in range(depth):
            value, slope = (2 / q**2 * m for m in relu_moments(*view(own, other), both))
            last = slope * tangent + value
            if layer == depth - 1:
                return last
            tangent, both = patches(last), patches(value)
            own, other = (patches(2 / q**2 * moments / 2) for moments in (own, other))

    squares = np.sum(x**2, axis=1)
    whole = layers(
        *squares,
        np.einsum("aij,akl->ijkl", *x),
        lambda own, other: (own[:, :, None, None], other[None, None]),
    )
    diagonal = layers(*squares, np.sum(x[0] * x[1], axis=0), lambda own, other: (own, other))
    assert np.einsum("ijij->", whole) == pytest.approx(diagonal.sum(), rel=1e-13)
    assert abs(whole.sum() / diagonal.sum() - 1) > 0.5


# Infinite width: thesis (2.55) with a nonlinear activation, the two sets of lecture slides


def erf_moments(q, p, c):
    """The same of erf (Williams 1997)."""
    size = (1 + 2 * q) * (1 + 2 * p)
    return 2 / np.pi * np.arcsin(2 * c / np.sqrt(size)), 4 / np.pi / np.sqrt(size - 4 * c**2)


ACTIVATIONS = {
    "relu": (lambda z: np.maximum(z, 0), lambda z: 1.0 * (z > 0), relu_moments),
    "erf": (erf, lambda z: 2 / np.sqrt(np.pi) * np.exp(-(z**2)), erf_moments),
}


def wide_kernel(x, phi, slope, depth, sw, sb, width=2000, networks=4):
    """Mean over wide random networks of the gradient's scalar product at two inputs, in the parametrisation (2.51)."""
    rng = np.random.default_rng(21)
    found = []
    for _ in range(networks):
        sizes = [len(x), *[width] * (depth - 1), 1]
        weights = [rng.standard_normal(pair) for pair in zip(sizes[1:], sizes[:-1], strict=True)]
        acts, slopes = [x], []
        for w in weights[:-1]:
            z = sw / np.sqrt(w.shape[1]) * w @ acts[-1] + sb * rng.standard_normal((len(w), 1))
            acts.append(phi(z))
            slopes.append(slope(z))
        back, kernel = np.ones((1, 2)), 0.0
        for layer in reversed(range(depth)):
            w, a = weights[layer], acts[layer]
            kernel += back[:, 0] @ back[:, 1] * (sw**2 / len(a) * a[:, 0] @ a[:, 1] + sb**2)
            if layer:
                back = slopes[layer - 1] * (sw / np.sqrt(w.shape[1]) * w.T @ back)
        found.append(kernel)
    return np.mean(found)


def layer_moments(x, moments, depth, sw, sb, first):
    """Of each layer 1, …, depth: the covariance of its two pre-activations, and E[phi' phi'] under it."""
    q, p, c = (sw**2 * value * first + sb**2 for value in (x[:, 0] @ x[:, 0], x[:, 1] @ x[:, 1], x[:, 0] @ x[:, 1]))
    sigma, dot = [], []
    for _ in range(depth):
        sigma.append(c)
        own = [moments(value, value, value)[0] for value in (q, p)]
        mixed, slopes = moments(q, p, c)
        dot.append(slopes)
        q, p, c = (sw**2 * value + sb**2 for value in (*own, mixed))
    return np.array(sigma), np.array(dot)


TWO_INPUTS = np.array([[1.0, 0.9], [-0.4, 0.1], [0.3, 0.6], [0.8, -0.5], [-1.2, -1.0]])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_thesis_eq2_55_with_a_nonlinear_activation(name):
    """(2.56) belongs to the layer whose pre-activations (2.30) describes, as printed; (2.55) then needs Sigma^l,
    sigma_w² and the hidden layers from l on."""
    phi, slope, moments = ACTIVATIONS[name]
    depth, sw, sb = 3, 1.6, 0.4
    sigma, dot = layer_moments(TWO_INPUTS, moments, depth, sw, sb, 1 / len(TWO_INPUTS))
    wide = wide_kernel(TWO_INPUTS, phi, slope, depth, sw, sb)
    back = [np.prod(sw**2 * dot[k : depth - 1]) for k in range(depth)]
    assert sigma @ back == pytest.approx(wide, rel=0.04)
    # As printed, with phi_L linear; and with sigma_w² put back, but the index left as it is.
    before = np.array([TWO_INPUTS[:, 0] @ TWO_INPUTS[:, 1] / len(TWO_INPUTS), *sigma[:-1]])
    assert abs(before @ [np.prod(dot[k : depth - 1]) for k in range(depth)] / wide - 1) > 0.2
    assert abs(before @ back / wide - 1) > 0.1
    # (2.56) with its index moved by one: at two layers, where Sigma^1 and Sigma^2 are far apart.
    sigma, dot = layer_moments(TWO_INPUTS, moments, 2, 3.0, 0.0, 1 / len(TWO_INPUTS))
    wide = wide_kernel(TWO_INPUTS, phi, slope, 2, 3.0, 0.0)
    assert sigma[1] + 9 * dot[0] * sigma[0] == pytest.approx(wide, rel=0.04)
    if name == "erf":  # ReLU's E[phi' phi'] knows only the angle, which changes little.
        assert abs((sigma[1] + 9 * dot[1] * sigma[0]) / wide - 1) > 0.1


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slides_002_eq9_needs_the_last_derivative_to_be_one(name):
    """Sigma^(h-1) is the covariance of layer h's pre-activations there, Sigma-dot^(h) is taken under it, and layer L+1
    is the linear readout; (8) defines Sigma-dot for h up to L only."""
    phi, slope, moments = ACTIVATIONS[name]
    depth, c = 3, 1.7  # L + 1 layers of weights; c_sigma
    # f^(h) = W g^(h-1) with g = sqrt(c/width) phi(f): sigma_w² = c, and x in place of the first layer's sqrt(c/d) x.
    sigma, dot = layer_moments(TWO_INPUTS, moments, depth, np.sqrt(c), 0.0, 1 / c)
    scaled = np.sqrt(len(TWO_INPUTS) / c) * TWO_INPUTS
    wide = wide_kernel(scaled, phi, slope, depth, np.sqrt(c), 0.0)
    one = sum(sigma[h] * np.prod(c * dot[h : depth - 1]) for h in range(depth))
    assert one == pytest.approx(wide, rel=0.04)
    by_eq8 = sum(sigma[h] * np.prod(c * dot[h:depth]) for h in range(depth))
    assert abs(by_eq8 / wide - 1) > 0.1


def test_slides_003_index_of_the_derivative_covariance():
    """Its Sigma-dot^(l+1) is the thesis' Sigma-dot^l; its recursion is (2.55) corrected, with sigma_w = 1, sigma_b =
    beta."""
    phi, slope, moments = ACTIVATIONS["relu"]
    depth, beta = 3, 0.5
    sigma, dot = layer_moments(TWO_INPUTS, moments, depth, 1.0, beta, 1 / len(TWO_INPUTS))
    theta = sigma[0]
    for layer in range(1, depth):
        theta = theta * dot[layer - 1] + sigma[layer]
    assert theta == pytest.approx(sigma @ [np.prod(dot[k : depth - 1]) for k in range(depth)], rel=1e-13)
    wide = wide_kernel(TWO_INPUTS, phi, slope, depth, 1.0, beta)
    assert theta == pytest.approx(wide, rel=0.04)
    # Read with the thesis' index, Sigma-dot^(l+1) under Sigma^(l+1).
    other = sigma[0]
    for layer in range(1, depth):
        other = other * dot[layer] + sigma[layer]
    assert other != pytest.approx(theta, rel=1e-3)


# Paper 1: mean field, its integrals, and what follows for kernels


def gaussian_pair(phi, slope, variance, covariance):
    """E[phi phi] and E[phi' phi'] of two Gaussians of one variance, by Gauss-Legendre panels cut where phi has its
    kink: u = sqrt(q) z1, v = sqrt(q) (c z1 + sqrt(1 - c²) z2)."""
    c = covariance / variance
    nodes, weights = np.polynomial.legendre.leggauss(60)
    total = np.zeros(2)
    for low, high in ((-9.0, 0.0), (0.0, 9.0)):
        outer = (low + high) / 2 + (high - low) / 2 * nodes
        for x, weight in zip(outer, weights * (high - low) / 2, strict=True):
            cut = -c * x / np.sqrt(1 - c**2)
            for inner_low, inner_high in ((-9.0 + min(cut, 0), cut), (cut, 9.0 + max(cut, 0))):
                y = (inner_low + inner_high) / 2 + (inner_high - inner_low) / 2 * nodes
                density = np.exp(-(x**2 + y**2) / 2) / (2 * np.pi) * weight * weights * (inner_high - inner_low) / 2
                u, v = np.sqrt(variance) * np.full_like(y, x), np.sqrt(variance) * (c * x + np.sqrt(1 - c**2) * y)
                total += [np.sum(density * f(u) * f(v)) for f in (phi, slope)]
    return total


def mean_over_networks(widths, sw2, sb2, fan_out, networks=300):
    """Mean of sum_i delta_i² of the first layer and of h_i² of the last hidden one over random erf networks, with
    standard errors; weights of variance sw2 over the fan-in, or over the rows' number M_l as printed in (1)."""
    rng, found = np.random.default_rng(11), []
    x = np.ones(widths[0])
    for _ in range(networks):
        weights, before, a = [], [], x
        for rows, columns in zip([*widths[1:], 1], widths, strict=True):
            w = rng.standard_normal((rows, columns)) * np.sqrt(sw2 / (rows if fan_out else columns))
            h = w @ a + np.sqrt(sb2) * rng.standard_normal(rows)
            weights.append(w)
            before.append(h)
            a = erf(h)
        delta = np.ones(1)
        for w, h in zip(weights[:0:-1], before[-2::-1], strict=True):
            delta = 2 / np.sqrt(np.pi) * np.exp(-(h**2)) * (w.T @ delta)
        found.append((delta @ delta, np.mean(before[-2] ** 2)))
    return np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(networks)


def erf_chain(q_hat, sw2, sb2, hidden):
    """q of each hidden layer, and chi_1."""
    q, found = sw2 * q_hat + sb2, []
    for _ in range(hidden):
        moment, slope = erf_moments(q, q, q)
        found.append((q, sw2 * slope))
        q = sw2 * moment + sb2
    return np.array(found).T


def test_paper1_eq1_variance_over_the_fan_in():
    """(5) is the map of weights of variance sigma_w²/M_{l-1}: with M_l, as (1) is printed, widths stay in it."""
    widths, sw2, sb2 = (200, 100, 400, 200), 1.6, 0.2
    q, _ = erf_chain(1.0, sw2, sb2, 3)
    for fan_out in (False, True):
        mean, error = mean_over_networks(widths, sw2, sb2, fan_out)
        assert (abs(mean[1] - q[-1]) < 4 * error[1] + 0.01 * q[-1]) == (not fan_out)


def test_paper1_eq8_no_factor_of_widths():
    """p = E sum_i delta_i² of the first layer: the product of chi_1 alone, with no M_{l+1}/M_{l+2}, where W^l has the
    variance sigma_w²/M_{l-1} that (5) needs."""
    widths, sw2, sb2 = (100, 400, 200, 400), 1.6, 0.2
    _, chi = erf_chain(1.0, sw2, sb2, 3)
    mean, error = mean_over_networks(widths, sw2, sb2, fan_out=False)
    assert abs(mean[0] - np.prod(chi)) < 4 * error[0]
    # M_{l+1}/M_{l+2} for l = 1, …, L - 2; that of l = L - 1 would need a width after the output's.
    printed = np.prod(chi) * (widths[2] / widths[3]) * (widths[3] / 1)
    assert abs(printed / mean[0] - 1) > 10
    inner = np.prod(chi) * widths[2] / widths[3]
    assert abs(inner - mean[0]) > 10 * error[0]


def test_paper1_eq5_first_layer_has_no_activation():
    """The printed q^0 = 1, put into (5), sends inputs through phi: h^1 is linear in x, so that q^1 =
    sigma_w² |x|²/M_0 + sigma_b²."""
    rng, m0, sw2, sb2 = np.random.default_rng(2), 50, 1.5, 0.3
    x = np.where(np.arange(m0) % 2, 1.0, -1.0)
    h = rng.standard_normal((20000, m0)) @ x * np.sqrt(sw2 / m0) + np.sqrt(sb2) * rng.standard_normal(20000)
    q1, error = np.mean(h**2), np.std(h**2) / np.sqrt(20000)
    assert abs(q1 - (sw2 + sb2)) < 4 * error
    for moments in (relu_moments, erf_moments):
        assert abs(q1 - (sw2 * moments(1.0, 1.0, 1.0)[0] + sb2)) > 10 * error


def test_paper1_appendix_e1_relu():
    """E[phi phi] needs a² where a is printed; p_sr goes back by p_sr, not by p."""
    phi, slope, _ = ACTIVATIONS["relu"]
    a, c = 1.7, 0.4
    square, slopes = gaussian_pair(phi, slope, a**2, a**2 * c)
    bracket = np.sqrt(1 - c**2) + c * np.pi / 2 + c * np.arcsin(c)
    assert square == pytest.approx(a**2 / (2 * np.pi) * bracket, rel=1e-9)
    assert abs(a / (2 * np.pi) * bracket / square - 1) > 0.3
    assert slopes == pytest.approx((np.pi / 2 + np.arcsin(c)) / (2 * np.pi), rel=1e-9)
    # Two layers back, sigma_w² = 2: the second factor multiplies what the first has left.
    p_sr = (2 * slopes) ** 2
    assert abs(2 * slopes / p_sr - 1) > 0.3


def test_paper1_appendix_e2_erf():
    """With a the root of the variance the pair integrals need a² and ab in place of a and b; the recursions below them
    need q and q_sr, without a root."""
    phi, slope, _ = ACTIVATIONS["erf"]
    a, c = 0.5, 0.8
    b = a * c  # u = a z1, v = b z1 + sqrt(a² - b²) z2
    square, slopes = gaussian_pair(phi, slope, a**2, a * b)
    root = np.sqrt((1 + 2 * a**2) ** 2 - 4 * (a * b) ** 2)
    assert square == pytest.approx(2 / np.pi * np.arctan(2 * a * b / root), rel=1e-9)
    assert slopes == pytest.approx(4 / np.pi / root, rel=1e-9)
    printed = np.sqrt((1 + 2 * a) ** 2 - 4 * b**2)
    assert abs(2 / np.pi * np.arctan(2 * b / printed) / square - 1) > 0.1
    assert abs(4 / np.pi / printed / slopes - 1) > 0.1
    q_sr = a * b
    in_recursion = np.sqrt((1 + 2 * np.sqrt(q_sr)) ** 2 - 4 * q_sr)
    assert abs(2 / np.pi * np.arctan(2 * np.sqrt(q_sr) / in_recursion) / square - 1) > 0.1
    assert abs(4 / np.pi / in_recursion / slopes - 1) > 0.1
    # Those of one input are right.
    own, own_slope = gaussian_pair(phi, slope, a**2, a**2 * (1 - 1e-4))
    assert own == pytest.approx(2 / np.pi * np.arctan(a**2 / np.sqrt(a**2 + 0.25)), rel=1e-3)
    assert own_slope == pytest.approx(2 / np.pi / np.sqrt(a**2 + 0.25), rel=1e-3)


def two_kernels(moments, sw2, sb2, depth, c0=0.5):
    """kappa_1 and kappa_2 up to alpha, the correlation and q of the last layer; inputs of |x|² = M_0."""
    own, beside = 1.0, c0
    q, k = sw2 + sb2, sw2 * c0 + sb2
    for _ in range(depth - 1):
        m, d = moments(q, q, q)
        m_sr, d_sr = moments(q, q, k)
        own, beside = m + sw2 * d * own, m_sr + sw2 * d_sr * beside
        q, k = sw2 * m + sb2, sw2 * m_sr + sb2
    return own, beside, k / q, q


def test_paper1_chaotic_relu_does_not_decorrelate():
    """Beyond sigma_w² = 2 correlations of ReLU rise to 1 as below, and without biases kappa_1/kappa_2 and c do not know
    sigma_w at all; with erf the statements hold."""
    for depth in (5, 40, 200):
        kernels = [two_kernels(relu_moments, sw2, 0.0, depth) for sw2 in (1.0, 2.0, 4.0)]
        ratios = [(own / beside, c) for own, beside, c, _ in kernels]
        assert np.allclose(ratios, ratios[0], rtol=1e-6)
        assert ratios[0][0] < 4
    assert two_kernels(relu_moments, 3.0, 1.0, 200)[2] > 0.99
    own, beside, c, _ = two_kernels(erf_moments, 4.0, 0.1, 40)
    assert own / beside > 1e3
    assert c < 0.5


def test_paper1_ill_conditioned_kernels_do_not_have_small_steps():
    """The largest stable step is 2Z over lambda_max = d + (S - 1) e alone: for erf at depth 15 it is larger in the
    ordered phase, where the kernel is the worse conditioned by far. What is slow there is the smallest eigenvalue."""
    samples, found = 64, []
    for sw2, sb2 in ((0.36, 0.09), (6.25, 0.09)):
        d, e, _, _ = two_kernels(erf_moments, sw2, sb2, 15)
        kernel = (d - e) * np.eye(samples) + e
        values = eigvalsh(kernel)
        found.append((values[-1] / max(values[0], 1e-300), 2 / values[-1]))
    (ordered, ordered_step), (chaotic, chaotic_step) = found
    assert ordered > 1e6 * chaotic
    assert ordered_step > 100 * chaotic_step


def test_paper1_theorem_3_is_the_variance_over_starts():
    """Exact over starts at fixed data; over the data as well, as section 5 defines Var, targets add their part."""
    rng, samples, d, e, q, k, draws = np.random.default_rng(5), 6, 3.0, 1.2, 2.0, 0.8, 200000
    weights = np.full(samples, e) @ np.linalg.inv((d - e) * np.eye(samples) + e)
    cov = (q - k) * np.eye(samples + 1) + k
    start = rng.multivariate_normal(np.zeros(samples + 1), cov, draws)
    share = samples / (d / e + samples - 1)
    theorem = (1 + share**2 / samples) * (q - k) + (share - 1) ** 2 * k
    fixed = np.where(np.arange(samples) % 2, 1.0, -0.5)
    drawn = rng.choice([-1.0, 1.0], (draws, samples))
    error = np.sqrt(2 / draws) * theorem
    assert abs(np.var(start[:, -1] + (fixed - start[:, :-1]) @ weights) - theorem) < 4 * error
    over_data = np.var(start[:, -1] + np.sum((drawn - start[:, :-1]) * weights, axis=1))
    assert over_data - theorem > 20 * error
    assert abs(over_data - theorem - weights @ weights) < 8 * error


def test_paper1_chi_is_one_in_all_layers_only_from_the_fixed_point():
    """Where chi_1 = 1 at the limit q* the first layers of a network have another chi_1, unless q starts at q*."""
    sb2 = 1.0
    q = brentq(lambda q: q - np.sqrt(q + 0.25) * np.arctan(q / np.sqrt(q + 0.25)) - sb2, 0.1, 20)
    sw2 = np.pi / 2 * np.sqrt(q + 0.25)
    _, chi = erf_chain(1.0, sw2, sb2, 30)
    assert abs(chi[-1] - 1) < 1e-9
    assert abs(chi[0] - 1) > 0.05
    _, settled = erf_chain((q - sb2) / sw2, sw2, sb2, 30)
    assert np.max(np.abs(settled - 1)) < 1e-9


# Paper 2: the dispersion of the NTK at initialisation. ReLU, σ_b = 0, σ_w² = 2 (a = 1), ‖x‖ = 1.


def _relu_norms(widths: tuple[int, ...], draws: int) -> tuple[np.ndarray, np.ndarray]:
    """‖x^l‖² for l < L and ‖δ^l‖² for 1 ≤ l ≤ L of random networks."""
    rng, sizes = np.random.default_rng(0), (*widths, 1)
    signals, gates, matrices = [np.eye(1, widths[0]).repeat(draws, 0)], [], []
    for layer in range(len(widths)):
        weight = rng.standard_normal((draws, sizes[layer + 1], sizes[layer])) * (2 / sizes[layer]) ** 0.5
        field = np.einsum("nij,nj->ni", weight, signals[-1])
        matrices.append(weight)
        gates.append(field > 0)
        signals.append(field * gates[-1])
    delta, errors = np.ones((draws, 1)), [np.ones(draws)]
    for layer in range(len(widths) - 1, 0, -1):
        delta = np.einsum("nij,ni->nj", matrices[layer], delta) * gates[layer - 1]
        errors.insert(0, np.sum(delta**2, 1))
    return np.stack([np.sum(item**2, 1) for item in signals[:-1]]), np.stack(errors)


def _product_moment(width: int, layers: int) -> float:
    """E ∏ N_δ N_x over so many layers below the output: f²/‖x‖² and ‖δ‖² follow a linear recursion of two numbers."""
    share, error = 2 / width, 1.0
    for _ in range(layers):
        share, error = (1 + 5 / width) * share, share + (1 - 1 / width) * error
    return error


def test_paper2_eq29_product_over_layers():
    """E ∏ N_δ N_x over k layers is not ∏ (1 + 1/n): f is common to all layers, ⟨h^l, δ^l⟩ = f."""
    width, layers = 10, 4
    norms, errors = _relu_norms((width,) * (layers + 1), 150_000)
    product = errors[0] * norms[-1]
    error = product.std() / 150_000**0.5
    assert abs(product.mean() - _product_moment(width, layers)) < 4 * error
    assert product.mean() > (1 + 1 / width) ** layers + 6 * error
    # One layer is as printed; over many, (2/3) e^{-t} + (1/3) e^{5t} with t = k/n.
    assert _product_moment(width, 1) == pytest.approx(1 + 1 / width)
    assert _product_moment(4000, 2000) == pytest.approx(2 / 3 * np.exp(-0.5) + np.exp(2.5) / 3, rel=2e-3)
    assert np.exp(0.5) < 0.5 * _product_moment(4000, 2000)


def test_paper2_eq8_limit_in_the_chaotic_phase():
    """(8) follows from (29); with the right product the limit is larger, and tends to e^{5λ}/3, not to 0·e^{5λ}."""
    ratio, width = 0.5, 4000
    gaps = np.arange(1, int(ratio * width))
    product = np.array([1.0, *np.zeros(len(gaps))])
    share = 2 / width
    for gap in gaps:
        share, product[gap] = (1 + 5 / width) * share, share + (1 - 1 / width) * product[gap - 1]
    growth = 1 + 5 / width
    depth = ratio * width
    second = growth**depth * depth + 2 * np.sum((depth - gaps) * growth ** (depth - gaps) * product[1:])
    right = np.exp(5 * ratio) * (1 / 3 + 2 / (9 * ratio) - (1 - np.exp(-6 * ratio)) / (27 * ratio**2))
    printed = np.exp(5 * ratio) / (2 * ratio) * (1 - (1 - np.exp(-4 * ratio)) / (4 * ratio))
    assert second / depth**2 == pytest.approx(right, rel=5e-3)
    assert second / depth**2 > 1.1 * printed


def test_paper2_eq9_limit_on_the_edge_of_chaos():
    """The same product enters E Θ_W Θ_b; a sum over pairs of layers beside both expressions, α₀ = 1."""
    ratio, width = 0.5, 1000
    depth = int(ratio * width)
    above = np.arange(depth)  # Layers above the upper one of a pair; below, the gap to the lower one.
    five = (1 + 5 / width) ** above
    product = np.array([_product_moment(width, gap) for gap in range(depth)])
    pairs = [(np.arange(1, depth - top), five[top]) for top in above]
    weights = sum(
        np.sum(high * product[gap] * (1 + 5 / width) ** (depth - top - gap)) for top, (gap, high) in enumerate(pairs)
    )
    biases = sum(high * len(gap) for gap, high in pairs)
    cross = sum(np.sum(high * (1 + product[gap])) for gap, high in pairs)
    found = (2 * weights + 2 * biases + 2 * cross) / (2 * depth) ** 2
    t, high, low = ratio, np.exp(5 * ratio), np.exp(ratio)
    inner = high * (1 / (2 * t) - 6 / (25 * t**2)) + (low - high) * (-3) / (8 * t**2) + 2 / (5 * t) * (3 / (5 * t) - 2)
    printed = inner / 4
    w = high * (1 / 3 + 2 / (9 * t) - (1 - np.exp(-6 * t)) / (27 * t**2))
    b = 2 * (high - 1 - 5 * t) / (25 * t**2)
    x = b / 2 + (2 / 3 * ((high - 1) / 5 - (high - np.exp(-t)) / 6) + (t * high - (high - 1) / 5) / 15) / t**2
    assert found == pytest.approx((w + 2 * x + b) / 4, rel=2e-2)
    assert found > 1.05 * printed


def test_paper2_eq13_factor_and_product():
    """L = 2: E Θ_W² = (1 + 5/n₁)(1 + n₁²/n₀²) + 2 (n₁/n₀)(1 + 1/n₁); printed without the 2, and times 1 + 5/n₁."""
    n0, n1, draws = 2, 3, 400_000
    norms, errors = _relu_norms((n0, n1), draws)
    squared = np.sum(norms * errors, 0) ** 2
    error = squared.std() / draws**0.5
    right = (1 + 5 / n1) * (1 + n1**2 / n0**2) + 2 * n1 / n0 * (1 + 1 / n1)
    printed = (1 + 5 / n1) * (1 + n1**2 / n0**2 + n1 / n0 * (1 + 1 / n1))
    assert abs(squared.mean() - right) < 4 * error
    assert abs(squared.mean() - printed) > 10 * error


def test_paper2_c3_ratio_estimator_is_biased():
    """N/(N − 2) too large for constant samples already; and E[1/X] > 1/E[X] for random ones."""

    def printed(values: np.ndarray) -> np.ndarray:
        count = values.shape[-1]
        first, second = values.sum(-1, keepdims=True), np.sum(values**2, -1, keepdims=True)
        pairs = ((first - values) ** 2 - (second - values**2)) / ((count - 1) * (count - 2))
        return np.sum(values**2 / pairs, -1) / (count - 2)

    assert printed(np.ones(10)) == pytest.approx(10 / 8)
    found = printed(np.exp(0.5 * np.random.default_rng(0).standard_normal((100_000, 10)))) * 8 / 10
    assert found.mean() - np.exp(0.25) > 10 * found.std() / 100_000**0.5


def test_paper2_eq21_sign_of_the_first_step():
    """E ΔΘ(x, x) of a step on x is negative: f ⟨∇Θ, ∇f⟩ = 4 (‖x‖² + 1) f² with one hidden layer; (21) has +∞."""
    rng, step = np.random.default_rng(1), 1e-6
    x = np.array([0.6, -0.8])

    def theta(first: np.ndarray, offset: np.ndarray, last: np.ndarray) -> tuple[float, float, np.ndarray, np.ndarray]:
        signal = np.maximum(first @ x + offset, 0)
        delta = (signal > 0) * last
        return (delta @ delta) * 2 + signal @ signal + 1, float(last @ signal), delta, signal

    for _ in range(20):
        first, offset, last = rng.standard_normal((5, 2)), np.zeros(5), rng.standard_normal(5)
        before, output, delta, signal = theta(first, offset, last)
        moved = (
            first - step * output * np.outer(delta, x),
            offset - step * output * delta,
            last - step * output * signal,
        )
        assert (theta(*moved)[0] - before) / step == pytest.approx(-4 * 2 * output**2, rel=1e-4, abs=1e-6)


def test_paper2_a9_sum_of_depth_two():
    """Σ_l g^{∘(l−1)}(ρ) ∏ f(…) ≥ L/4 'for L ≥ 2' fails for L = 2, ρ₀ = 0, where it is 1/π; the limit 1/4 stands."""

    def g(t: float) -> float:
        return (np.sqrt(1 - t**2) + t * np.pi / 2 + t * np.arcsin(t)) / np.pi

    def total(start: float, depth: int) -> float:
        angles = [start]
        for _ in range(depth - 1):
            angles.append(min(g(angles[-1]), 1.0))
        slopes = 0.5 + np.arcsin(angles) / np.pi
        return sum(angles[lower] * np.prod(slopes[lower : depth - 1]) for lower in range(depth))

    assert total(0.0, 2) == pytest.approx(1 / np.pi)
    assert total(0.0, 2) < 2 / 4
    assert total(0.0, 4000) / 4000 == pytest.approx(0.25, abs=1e-3)
