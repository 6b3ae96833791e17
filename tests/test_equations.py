"""Printed formulas of paper 3 and of thesis section 2.4 that are right, each beside a variation that must fail.

`docs/equations.md` lists every formula with its test; the wrong ones are in `test_errata.py`. NumPy and SciPy only:
nothing here goes through ntkflow, so these tests stay an independent reference. Loss normalisation Z = 1 throughout.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.linalg import eigvalsh, inv, matrix_power, matrix_rank, norm, qr
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
from oracles.flow_ends import aligned_end, collapsed_path, equal_bias_end, general_bias_path
from oracles.tanh_network import TanhNetwork, directional, jacobian
from scipy.integrate import solve_ivp
from scipy.linalg import block_diag, null_space

END = 1e-8  # what the ends of integrated flows are good for
at_both_sizes = pytest.mark.parametrize("p", [Block(), Block(C=4, m=3, n=7, kd=1.6)], ids=["C=3", "C=4"])


# Sections 2 and 3: logits, loss, kernels


def test_eq1_eq32_logits():
    """W H + b 1ᵀ, entry by entry."""
    net = TanhNetwork()
    _, _, W, b = net.parts(net.start())
    H = net.features(net.start())
    entries = [[sum(W[k, s] * H[s, i] for s in range(net.n)) + b[k, 0] for i in range(net.N)] for k in range(net.C)]
    assert close(net.logits(net.start()), np.array(entries))
    assert far(net.logits(net.start()), np.array(entries) - b)


def test_eq2_eq3_link_between_the_kernels():
    """The kernel of the logits is that of the features seen through W, and the readout's own <h, h'> + 1."""
    net = TanhNetwork()
    w = net.start()
    W, H = net.parts(w)[2], net.features(w)
    through = np.einsum("kp,piqj,sq->kisj", W, net.feature_kernel(w), W)

    def link(bias):
        return through + np.einsum("ks,ij->kisj", np.eye(net.C), H.T @ H + bias)

    assert close(net.output_kernel(w), link(1.0))
    assert far(net.output_kernel(w), link(0.0), 0.1)
    assert far(net.output_kernel(w), through, 0.1)


def test_eq5_block_kernel():
    """Three values over the pairs of samples: positive definite for every decreasing triple; the three matrices named
    after (35) add up to it."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        kn, step_c, step_d = rng.uniform([0, 1e-3, 1e-3], 1)
        p = Block(kd=kn + step_c + step_d, kc=kn + step_c, kn=kn)
        assert eigvalsh(p.kernel)[0] > 0.99 * step_d
        same = p.Y.T @ p.Y
        eye, ones = np.eye(p.N), np.ones((p.N, p.N))
        assert close(p.kernel, p.kd * eye + p.kc * (same - eye) + p.kn * (ones - same))
        assert far(p.kernel, p.kd * eye + p.kc * same + p.kn * (ones - same), 1e-4)
    assert eigvalsh(Block(kd=0.9, kc=1.0, kn=0.4).kernel)[0] < -0.05


def remainder_order(step, derivative, etas=(1e-3, 5e-4)):
    """Exponent with which step(eta) - eta * derivative vanishes."""
    first, second = (norm(step(eta) - eta * derivative) for eta in etas)
    return np.log(first / second) / np.log(etas[0] / etas[1])


def test_eq6_eq7_step_on_a_single_sample():
    """One step of descent on one sample moves the logits and features of another by the kernels, up to eta²."""
    net = TanhNetwork()
    w = net.start()
    i, j = 0, net.N - 1
    gradient = jacobian(lambda v: np.atleast_1d(net.loss_of_one(v, j)), w)[0]
    pull = (net.logits(w) - net.Y)[:, j]
    through, W = net.feature_kernel(w)[:, i, :, j], net.parts(w)[2]

    def moved(what):
        return lambda eta: (what(w - eta * gradient) - what(w))[:, i]

    logits, features = net.output_kernel(w)[:, i, :, j] @ pull, through @ W.T @ pull
    assert remainder_order(moved(net.logits), -logits) == pytest.approx(2, abs=0.05)
    assert remainder_order(moved(net.features), -features) == pytest.approx(2, abs=0.05)
    assert remainder_order(moved(net.logits), -W @ features) == pytest.approx(1, abs=0.05)  # readout left out
    assert remainder_order(moved(net.features), -through @ np.ones(net.n)) == pytest.approx(1, abs=0.05)


def test_local_elasticity_needs_a_large_ratio():
    """Features respond to a sample of another class kappa_n / kappa_c times as much as to one of their own. Definition
    3.1 alone leaves that ratio anywhere below 1."""
    for kn, ratio in ((0.012, 0.01), (1.19, 1.19 / 1.2)):
        p = Block(kn=kn)
        W, pull = p.random_state(2)[1], np.array([[1.0], [-0.4], [0.2]])
        force = W.T @ pull
        own, other = (force * p.kernel[0, j] for j in (1, p.m))
        assert norm(other) / norm(own) == pytest.approx(ratio)


# Section 4.1


def test_table1_eigenvalues():
    """Values, multiplicities and order."""
    p = Block(C=4, m=3)
    lam_single, lam_class = p.kd - p.kc, p.kd - p.kc + p.m * (p.kc - p.kn)
    lam_global = lam_class + p.N * p.kn
    assert lam_single < lam_class < lam_global
    table = np.concatenate([np.full(p.N - p.C, lam_single), np.full(p.C - 1, lam_class), [lam_global]])
    assert close(eigvalsh(p.kernel), table)
    assert far(eigvalsh(p.kernel), np.concatenate([table[1:], [lam_global - p.m * p.kn]]))
    flat = Block(kn=0.0)
    assert eigvalsh(flat.kernel)[-1] == pytest.approx(flat.mu_class)  # global = class where kappa_n = 0


def test_eq8_eq9_step_of_all_outputs():
    """With a network of its own behind each output Theta_ks = 0 for k ≠ s and (8) holds up to eta²; with shared layers
    the sum over all outputs is needed. (9) is (8) with Y subtracted, and I for the printed 1."""
    nets = [TanhNetwork(C=1, m=6, seed=31 + 7 * k) for k in range(3)]
    Y = np.kron(np.eye(3), np.ones((1, 2)))

    def separate(w):
        return np.concatenate([net.logits(part) for net, part in zip(nets, np.split(w, 3), strict=True)])

    shared = TanhNetwork()
    for logits, w, is_diagonal in (
        (separate, np.concatenate([net.start() for net in nets]), True),
        (shared.logits, shared.start(), False),
    ):
        jac = jacobian(logits, w)
        theta = np.einsum("kiw,sjw->kisj", jac, jac)
        R = logits(w) - Y
        gradient = np.einsum("ki,kiw->w", R, jac)

        def step(eta, logits=logits, w=w, gradient=gradient):
            return logits(w - eta * gradient) - logits(w)

        own = np.stack([theta[k, :, k] @ R[k] for k in range(3)])
        everything = np.einsum("kisj,sj->ki", theta, R)
        assert remainder_order(step, -everything, (1e-4, 5e-5)) == pytest.approx(2, abs=0.05)
        assert remainder_order(step, -own, (1e-4, 5e-5)) == pytest.approx(2 if is_diagonal else 1, abs=0.05)
        if is_diagonal:
            eta = 1e-4
            after = np.stack([(np.eye(6) - eta * theta[k, :, k]) @ R[k] for k in range(3)])
            assert norm(logits(w - eta * gradient) - Y - after) < 0.02 * norm(eta * own)
            printed = (1 - eta * theta[0, :, 0]) @ R[0]  # with a 1 in every entry, as NumPy reads it
            assert far(printed, after[0], 0.1)


def parts_of(p, r):
    """Global mean, class means minus it, samples minus their class mean: by explicit averaging."""
    mean, by_class = r.mean(), r.reshape(p.C, p.m).mean(1)
    return mean, by_class - mean, r - np.repeat(by_class, p.m)


def test_eq10_to_eq12_projections():
    """What the eigenvectors of Table 1 measure, and how one step changes it."""
    p = Block(C=4, m=3)
    r = np.random.default_rng(3).standard_normal(p.N)
    eta = 0.01
    s = r - eta * p.kernel @ r
    mean, classes, singles = parts_of(p, r)
    v0, owner = np.ones(p.N), np.arange(p.N) // p.m
    lam_global = p.mu_class + p.N * p.kn
    assert r @ v0 == pytest.approx(p.N * mean)
    assert s @ v0 == pytest.approx((1 - eta * lam_global) * (r @ v0))
    assert s @ v0 != pytest.approx((1 - eta * p.mu_class) * (r @ v0))
    for i in range(p.N):
        members = owner == owner[i]
        v_class = np.where(members, p.C - 1.0, -1.0) / (p.C - 1)
        v_single = np.where(members, -1.0, 0.0)
        v_single[i] = p.m - 1
        v_single /= p.m - 1
        assert r @ v_class == pytest.approx(p.N / (p.C - 1) * classes[owner[i]])
        assert r @ v_single == pytest.approx(p.m / (p.m - 1) * singles[i])
        assert r @ v_single != pytest.approx(p.m * singles[i])


def test_eq13_to_eq15_iterated():
    """Fifty steps: each part shrinks by its own factor to the power fifty, exactly for a constant kernel."""
    p = Block()
    r0 = np.random.default_rng(4).standard_normal(p.N)
    eta, steps = 0.02, 50
    r = r0.copy()
    for _ in range(steps):
        r = r - eta * p.kernel @ r
    values = p.mu_class + p.N * p.kn, p.mu_class, p.mu_single
    for after, before, value in zip(parts_of(p, r), parts_of(p, r0), values, strict=True):
        expected = (1 - eta * value) ** steps * before
        assert norm(after - expected) < 1e-12 * norm(before) + 1e-15
        assert norm(after - np.exp(-eta * value * steps) * before) > 1e-3 * norm(expected)  # descent, not the flow


def test_eq16_to_eq18_residual_matrices():
    """The two averages as matrix products, as Kronecker products and by loops over the samples."""
    p = Block()
    H, W, b = p.random_state(5)
    R = np.stack([W @ H[:, i] + b[:, 0] - p.Y[:, i] for i in range(p.N)], axis=1)
    assert close(R, W @ H + b @ np.ones((1, p.N)) - p.Y)
    by_class = np.stack([R[:, c * p.m : (c + 1) * p.m].mean(1) for c in range(p.C)], axis=1)
    ones = np.ones((1, p.m))
    assert close(R @ p.Y.T @ p.Y / p.m, np.kron(by_class, ones))
    assert far(R @ p.Y.T @ p.Y / p.m, np.kron(ones, by_class), 0.1)  # samples sorted by class, not interleaved
    mean = R.mean(1, keepdims=True)
    assert close(R @ np.ones((p.N, p.N)) / p.N, np.kron(mean, np.ones((1, p.N))))
    assert close(by_class, W @ p.split(H)[0] + b @ p.one.T - p.eye)  # Theorem 5.1's R1


# Section 4.2 and appendix B.1


def averages(p, R):
    return R @ p.Y.T @ p.Y / p.m, R @ np.ones((p.N, p.N)) / p.N


def printed_19(p, H, W, b):
    R = W @ H + b @ np.ones((1, p.N)) - p.Y
    R_class, R_global = averages(p, R)
    dH = -W.T @ ((p.kd - p.kc) * R + (p.kc - p.kn) * p.m * R_class + p.kn * p.N * R_global)
    return dH, -R @ H.T, -R_global @ np.ones((p.N, 1))


def linear_network(p):
    """H = V X with XᵀX the block kernel: Assumption 3.2 for the features, exactly and at all times."""
    X = np.linalg.cholesky(p.kernel).T
    shapes = (p.n, p.N), (p.C, p.n), (p.C, 1)
    cuts = np.cumsum([np.prod(s) for s in shapes])[:-1]

    def parts(w):
        V, W, b = (part.reshape(s) for part, s in zip(np.split(w, cuts), shapes, strict=True))
        return V @ X, W, b

    def loss(w):
        H, W, b = parts(w)
        return np.sum((W @ H + b - p.Y) ** 2) / 2

    def gradient(w):
        H, W, b = parts(w)
        R = W @ H + b - p.Y
        return np.concatenate([(W.T @ R @ X.T).ravel(), (R @ H.T).ravel(), R.sum(1)])

    return parts, loss, gradient


@at_both_sizes
def test_eq19_from_the_parameters(p):
    """Gradient flow in the parameters of a network with a block kernel, differentiated and integrated."""
    parts, loss, gradient = linear_network(p)
    w = 0.4 * np.random.default_rng(6).standard_normal(p.n * p.N + p.C * p.n + p.C)
    numerical = jacobian(lambda v: np.atleast_1d(loss(v)), w)[0]
    assert close(gradient(w), numerical)
    H, W, b = parts(w)
    velocity = [directional(lambda v, k=k: parts(v)[k], w, -numerical) for k in range(3)]
    printed = printed_19(p, H, W, b)
    assert all(close(x, y) for x, y in zip(velocity, printed, strict=True))
    assert close(printed[2], -(W @ H + b - p.Y).sum(1, keepdims=True))  # -R_global 1_N is -R 1_N
    R = W @ H + b - p.Y
    without_m = -W.T @ (p.mu_single * R + (p.kc - p.kn) * averages(p, R)[0] + p.kn * p.N * averages(p, R)[1])
    assert far(velocity[0], without_m, 0.1)
    sol = solve_ivp(lambda _, v: -gradient(v), (0, 0.5), w, method="DOP853", rtol=1e-11, atol=1e-13)
    for x, y in zip(parts(sol.y[:, -1]), p.flow((H, W, b), [0.5])[0], strict=True):
        assert close(x, y, END)


def test_gradient_flow_is_the_limit_of_descent():
    """Descent with step eta is at distance O(eta) from the flow at the time eta times steps."""
    p = Block()
    parts, _, gradient = linear_network(p)
    w0 = 0.3 * np.random.default_rng(7).standard_normal(p.n * p.N + p.C * p.n + p.C)
    end = p.flow(parts(w0), [0.2])[0][0]
    errors = []
    for steps in (200, 400):
        w = w0
        for _ in range(steps):
            w = w - 0.2 / steps * gradient(w)
        errors.append(norm(parts(w)[0] - end))
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.1)


def test_eq31_eq4_parameter_flow():
    """The gradient of the loss, and its factor: minus the sum of residuals times gradients of the logits."""
    net = TanhNetwork()
    w = net.start()
    velocity = -jacobian(lambda v: np.atleast_1d(net.loss(v)), w)[0]
    printed = -np.einsum("ki,kiw->w", net.logits(w) - net.Y, jacobian(net.logits, w))
    assert close(velocity, printed)
    assert far(velocity, 2 * printed, 0.1)  # a loss without its half


def test_eq34_eq35_feature_flow():
    """The derivative of the features along the gradient flow is the triple sum over outputs, samples and features; a
    kernel cut to its neuron-diagonal is not enough for a network whose features share layers."""
    net = TanhNetwork()
    w = net.start()
    H, W, R = jacobian(net.features, w), net.parts(w)[2], net.logits(w) - net.Y
    k, s, t, i, j = 1, 0, 3, 2, 5
    bracket = jacobian(lambda v: net.parts(v)[2][k, t] * net.features(v)[t, j] + net.parts(v)[3][k, 0], w)
    assert H[s, i] @ bracket == pytest.approx(W[k, t] * H[s, i] @ H[t, j], rel=1e-12)
    along = directional(net.features, w, -jacobian(lambda v: np.atleast_1d(net.loss(v)), w)[0])
    kernel = net.feature_kernel(w)
    assert close(along, -np.einsum("kj,kt,sitj->si", R, W, kernel))
    assert far(along, -np.einsum("kj,ks,sisj->si", R, W, kernel), 0.05)


def test_display_after_eq35_expansion():
    """The three lines of the feature equation in H, b and Y, and the two identities for the averaged residuals."""
    p = Block()
    H, W, b = p.random_state(8)
    one, ones = np.ones((1, p.N)), np.ones((p.N, p.N))
    R_class, R_global = averages(p, W @ H + b - p.Y)
    by_class = W @ H @ p.Y.T @ p.Y + p.m * b @ one - p.m * p.Y
    overall = W @ H @ ones + p.N * b @ one - p.N / p.C * p.one @ one
    assert close(by_class, p.m * R_class)
    assert close(overall, p.N * R_global)
    own = W @ H + b @ one - p.Y
    lines = -W.T @ (p.mu_single * own + (p.kc - p.kn) * by_class + p.kn * overall)
    assert close(lines, printed_19(p, H, W, b)[0])
    assert far(lines, printed_19(p, H, W, b)[0] + p.kn * p.N * W.T @ p.one @ one / p.C, 0.1)  # last term forgotten


def test_eq20_end_of_training():
    """Where both averages vanish the velocities are gradients of the loss, with mu_single for the features and none for
    the bias; elsewhere they are not."""
    p = Block()

    def gradients(H, W, b):
        def loss(z):
            h, w = z[: H.size].reshape(H.shape), z[H.size :].reshape(W.shape)
            return np.atleast_1d(np.sum((w @ h + b - p.Y) ** 2) / 2)

        slope = jacobian(loss, np.concatenate([H.ravel(), W.ravel()]))[0]
        return slope[: H.size].reshape(H.shape), slope[H.size :].reshape(W.shape)

    state = zero_class_residual(p)
    dH, dW, db = p.field(*state)
    by_features, by_weights = gradients(*state)
    assert close(dH, -p.mu_single * by_features)
    assert close(dW, -by_weights)
    assert norm(db) < TIGHT
    elsewhere = p.random_state(9)
    dH, dW, db = p.field(*elsewhere)
    assert far(dH, -p.mu_single * gradients(*elsewhere)[0], 0.1)
    assert close(dW, -gradients(*elsewhere)[1])
    assert norm(db) > 0.1


# Section 5.1 and appendix B.2


@at_both_sizes
def test_eq21_to_eq24_decomposition(p):
    """Q is orthogonal and turns Y into [sqrt(m) I, 0]; H1 are the class means, H2 the rest, zero exactly where every
    sample equals its class mean."""
    Q1, tilde = np.kron(p.eye, np.ones((p.m, 1))) / np.sqrt(p.m), null_space(np.ones((1, p.m)))
    Q = np.concatenate([Q1, np.kron(p.eye, tilde)], axis=1)
    assert close(Q.T @ Q, np.eye(p.N))
    assert close(p.Y @ Q, np.sqrt(p.m) * np.eye(p.C, p.N))
    assert matrix_rank(tilde) == p.m - 1
    assert norm(np.ones(p.m) @ tilde) < TIGHT
    H = p.random_state(10)[0]
    H1, H2 = H @ Q1 / np.sqrt(p.m), H @ Q[:, p.C :] / np.sqrt(p.m)
    assert close(H @ Q, np.sqrt(p.m) * np.concatenate([H1, H2], axis=1))
    blocks = np.split(H, p.C, axis=1)
    assert close(H1, np.stack([block.mean(1) for block in blocks], axis=1))
    assert close(H2, np.concatenate([block @ tilde for block in blocks], axis=1) / np.sqrt(p.m))
    assert far(H1, H @ Q1, 0.1)
    centred = H - np.kron(H1, np.ones((1, p.m)))
    assert norm(H2) ** 2 == pytest.approx(norm(centred) ** 2 / p.m)
    assert matrix_rank(np.concatenate([tilde, np.ones((p.m, 1))], axis=1)) == p.m  # what the text after (52) uses


@at_both_sizes
def test_eq36_to_eq38_rotated_flow(p):
    """(19) times Q, as printed with Q Qᵀ inserted, and its two halves."""
    H, W, b = p.random_state(11)
    H1, H2 = p.split(H)
    Q = np.concatenate([p.Y.T / np.sqrt(p.m), p.Q2], axis=1)
    one, ones, HQ = np.ones((1, p.N)), np.ones((p.N, p.N)), H @ Q
    dH, dW, db = p.field(H, W, b)
    residual = W @ HQ + b @ one @ Q - p.Y @ Q
    by_class = W @ HQ @ Q.T @ p.Y.T @ p.Y @ Q / p.m + b @ one @ Q - p.Y @ Q
    overall = W @ HQ @ Q.T @ ones @ Q / p.N + b @ one @ Q - p.one @ one @ Q / p.C
    scales = p.kd - p.kc, (p.kc - p.kn) * p.m, p.kn * p.N
    printed = -W.T @ sum(x * y for x, y in zip(scales, (residual, by_class, overall), strict=True))
    assert close(dH @ Q, printed)
    assert close(dW, -residual @ Q.T @ H.T)
    assert close(db, -residual @ Q.T @ one.T)
    assert far(dH @ Q, printed - p.kn * p.m * W.T @ p.one @ one @ Q, 0.1)

    padded = np.sqrt(p.m) * np.eye(p.C, p.N)
    assert close(one @ Q, p.one.T @ padded)
    assert close(p.Y @ Q, padded)

    R1 = W @ H1 + b @ p.one.T - p.eye
    overall = W @ H1 @ p.J / p.C + b @ p.one.T - p.J / p.C
    dH1, dH2 = p.split(dH)
    assert close(dH1, -W.T @ (scales[0] * R1 + scales[1] * R1 + scales[2] * overall))
    assert close(dH2, -(p.kd - p.kc) * W.T @ W @ H2)
    assert close(dW, -p.m * R1 @ H1.T - p.m * W @ H2 @ H2.T)
    assert close(db, -p.m * R1 @ p.one)
    assert far(dH1, -W.T @ (scales[0] * R1 + scales[1] * R1 + scales[2] * R1), 0.1)


@at_both_sizes
def test_eq25_eq40_to_eq42_class_flow(p):
    """The class form of (19): (41) turns the first line of (40) into (42)."""
    H, W, b = p.random_state(12)
    H1, H2 = p.split(H)
    R1 = p.residual(H1, W, b)
    dH, dW, db = p.field(H, W, b)
    dH1, dH2 = p.split(dH)
    overall = W @ H1 @ p.J / p.C + b @ p.one.T - p.J / p.C
    assert close(overall, R1 @ p.J / p.C)
    assert far(overall, R1 @ p.J, 0.1)
    assert close(dH1, -W.T @ (p.mu_class * R1 + p.kn * p.N * overall))
    assert close(dH1, -W.T @ R1 @ (p.mu_class * p.eye + p.kn * p.m * p.J))
    assert far(dH1, -W.T @ R1 @ (p.mu_class * p.eye + p.kn * p.N * p.J), 0.1)
    assert close(dH2, -p.mu_single * W.T @ W @ H2)
    assert close(dW, -p.m * (R1 @ H1.T + W @ H2 @ H2.T))
    assert close(db, -p.m * R1 @ p.one)


# Section 5.2


def invariant_rate(p, H, W, b, A, mu_single):
    """Derivative of (26) along (19), by the product rule."""
    H1, H2 = p.split(H)
    dH, dW, _ = p.field(H, W, b)
    dH1, dH2 = p.split(dH)
    half = W.T @ dW / p.m - H1 @ A @ dH1.T / p.mu_class - H2 @ dH2.T / mu_single
    return half + half.T


@at_both_sizes
def test_eq26_invariant(p):
    """The inverse behind alpha, and a derivative that vanishes at any state, for these coefficients only."""
    assert close(inv(p.eye + p.kn * p.m / p.mu_class * p.J), p.eye - p.alpha * p.J)
    assert 0 < p.alpha < 1 / p.C
    assert eigvalsh(p.A)[0] == pytest.approx(1 - p.alpha * p.C)
    for seed in range(3):
        state = p.random_state(13 + seed, scale=1.0)
        assert norm(invariant_rate(p, *state, p.A, p.mu_single)) < TIGHT
        assert norm(invariant_rate(p, *state, p.eye - 1.1 * p.alpha * p.J, p.mu_single)) > 0.1
        assert norm(invariant_rate(p, *state, p.A, 1.1 * p.mu_single)) > 0.1


def test_hyperbolic_loss():
    """Gradient flow of (ab - q)² keeps a² - b² and ends on ab = q; the sum a² + b² moves. Scaling a and b against each
    other keeps the loss and changes the invariant."""
    q, start = 0.7, np.array([1.4, -0.3])

    def rhs(_, z):
        a, b = z
        return [-2 * (a * b - q) * b, -2 * (a * b - q) * a]

    a, b = solve_ivp(rhs, (0, 20), start, method="DOP853", rtol=1e-11, atol=1e-13).y[:, -1]
    assert a * b == pytest.approx(q, abs=1e-9)
    assert a**2 - b**2 == pytest.approx(start[0] ** 2 - start[1] ** 2, abs=1e-9)
    assert abs(a**2 + b**2 - start @ start) > 0.1
    assert (3 * a) * (b / 3) == pytest.approx(a * b)
    assert abs((3 * a) ** 2 - (b / 3) ** 2 - (a**2 - b**2)) > 1


def test_eot_invariant_and_joint_regularisation():
    """W G and G⁻¹ H give the same logits and another E_eot; among these, ||W||² + ||H||² / mu_single is smallest where
    E_eot = 0."""
    p = Block()
    rng = np.random.default_rng(16)
    U, V = qr(rng.standard_normal((p.n, p.C)))[0], qr(rng.standard_normal((p.N, p.C)))[0]
    W = np.diag([1.0, 1.5, 0.7]) @ U.T
    H = np.sqrt(p.mu_single) * U @ np.diag([1.0, 1.5, 0.7]) @ V.T

    def e_eot(W, H):
        return W.T @ W - H @ H.T / p.mu_single

    def penalty(W, H):
        return norm(W) ** 2 + norm(H) ** 2 / p.mu_single

    assert norm(e_eot(W, H)) < TIGHT
    for _ in range(20):
        G = np.eye(p.n) + 0.3 * rng.standard_normal((p.n, p.n))
        scaled = W @ G, inv(G) @ H
        assert close(scaled[0] @ scaled[1], W @ H)
        assert norm(e_eot(*scaled)) > 0.05
        assert penalty(*scaled) > penalty(W, H) + 1e-3
    X = rng.standard_normal((p.n, p.n))
    near = [penalty(W @ (np.eye(p.n) + t * X), inv(np.eye(p.n) + t * X) @ H) - penalty(W, H) for t in (1e-3, 5e-4)]
    assert near[0] / near[1] == pytest.approx(4, abs=0.05)  # a stationary point


# Theorem 5.2 and appendix B.3


def test_eq45_eq46_end_of_training_quantity():
    """The two forms of (45) agree at any state, it is p.s.d. where E is, and it turns W S into W alone."""
    p = Block()
    H, W, _ = p.random_state(17)
    H1, H2 = p.split(H + 0.5)
    H = p.join(H1, H2)
    quantity = e_tilde(p, W, H2)

    def other_form(A):
        return p.m * p.mu_single * (p.invariant(H, W) + H1 @ A @ H1.T / p.mu_class)

    assert close(quantity, other_form(p.A))
    assert far(quantity, other_form(p.eye), 0.1)
    assert close(-p.m * W @ scatter(H2), -W @ (p.mu_single * W.T @ W - quantity))
    H, W = p.balanced(18, centred=False)
    assert eigvalsh(e_tilde(p, W, p.split(H)[1]))[0] > -TIGHT


def test_eq50_to_eq52_scatter_vanishes():
    """From (47) with its factor m: for a constant p.s.d. matrix, null directions included, each diagonal entry stays
    below 1 / (1 / a0 + 2 m t), the others below the geometric mean; one negative eigenvalue and S stays."""
    n, m = 5, 4.0
    rng = np.random.default_rng(19)
    V = qr(rng.standard_normal((n, n)))[0]
    root = 0.6 * rng.standard_normal((n, 2 * n))
    for values, vanishes in (([0, 0, 0.3, 1.0, 2.0], True), ([-0.5, 0, 0.3, 1.0, 2.0], False)):
        E = (V * np.array(values, float)) @ V.T

        def rhs(_, z, E=E):
            S = z.reshape(n, n)
            return (-E @ S - S @ E - 2 * m * S @ S).ravel()

        times = np.array([0, 0.5, 5.0, 50.0, 500.0])
        sol = solve_ivp(rhs, (0, 500.0), (root @ root.T).ravel(), "DOP853", times, rtol=1e-10, atol=1e-14)
        entries = [V.T @ S.reshape(n, n) @ V for S in sol.y.T]
        if vanishes:
            for t, a in zip(times, entries, strict=True):
                bound = 1 / (1 / np.diag(entries[0]) + 2 * m * t)
                assert np.all(np.diag(a) <= bound * (1 + 1e-6) + 1e-12)
                assert np.all(a**2 <= np.outer(bound, bound) * (1 + 1e-6) + 1e-12)
            assert np.diag(entries[-1])[:2].min() > 0.5 / (2 * m * 500)  # the null directions are as slow as that
        else:
            assert entries[-1][0, 0] == pytest.approx(0.5 / m, rel=1e-6)


@at_both_sizes
def test_eq53_biases_of_centred_features(p):
    """R1 = 0 and H1 1 = 0 make b = 1/C, whatever W; an integrated collapse ends there, and (53) holds at every end."""
    H, W, b = collapsed_path(p)[-1]
    H1 = p.split(H)[0]
    assert close(W @ H1 + b @ p.one.T, p.eye, END)
    assert norm(H1 @ p.one) < END
    assert close(b, p.one / p.C, END)
    H, W, b = general_bias_path(p)[-1]
    H1 = p.split(H)[0]
    assert close(W @ H1 + b @ p.one.T, p.eye, END)
    assert norm(H1 @ p.one) > 0.1
    assert far(b, p.one / p.C, 0.1)


@at_both_sizes
def test_eq55_aligned_invariant(p):
    """If E is lambda times the limit of WᵀW, then mu_class WᵀW - m H1 H1ᵀ = gamma WᵀW, gamma = m mu_class lambda."""
    H1, W, E = aligned_end(p)
    lam = np.trace(E) / norm(W) ** 2
    gamma = p.m * p.mu_class * lam
    assert close(E, lam * W.T @ W, END)
    assert 0.5 < gamma < p.mu_class
    left = p.mu_class * W.T @ W - p.m * H1 @ H1.T
    assert close(left, gamma * W.T @ W, END)
    assert far(left, gamma / p.m * W.T @ W, 0.1)


def collapse_cases(p):
    """Ends of flows with E = 0 and with E proportional to WᵀW: H1, W and mu_class - gamma."""
    H, W, _ = collapsed_path(p)[-1]
    yield p.split(H)[0], W, p.mu_class
    H1, W, E = aligned_end(p)
    yield H1, W, p.mu_class - p.m * p.mu_class * np.trace(E) / norm(W) ** 2


@at_both_sizes
def test_eq56_to_eq58_gram_matrices(p):
    """The limits of H1ᵀH1 and W Wᵀ, read off integrated flows."""
    for H1, W, lam in collapse_cases(p):
        difference = lam * W.T @ W - p.m * H1 @ H1.T
        assert norm(H1.T @ difference @ H1) < END
        assert norm(W @ difference @ W.T) < END
        assert close(lam * p.P @ p.P, p.m * matrix_power(H1.T @ H1, 2), END)
        assert close(H1.T @ H1, np.sqrt(lam / p.m) * p.P, END)
        assert close(W @ W.T, np.sqrt(p.m / lam) * p.P, END)
        assert far(H1.T @ H1, np.sqrt(lam) * p.P, 0.1)
    before = collapsed_path(p)[0]
    assert far(before[1] @ before[1].T, np.sqrt(p.m / p.mu_class) * p.P, 0.1)


@at_both_sizes
def test_nc1_to_nc4_at_the_end(p):
    """The four displays that close B.3, on integrated flows, and that neither holds at the start. NC4 uses that the
    means have one length: with unequal lengths argmax and argmin differ."""
    x = np.random.default_rng(20).standard_normal((p.n, 500))

    def gaps(H, W, b):
        H1, H2 = p.split(H)
        M = unit_columns(H1 - H1.mean(1, keepdims=True))
        nearest = np.argmin(norm(x[:, None] - H1[:, :, None], axis=0), axis=0)
        return (
            norm(H2),
            norm(M.T @ M - (p.eye - p.J / p.C) / (1 - 1 / p.C)),
            norm(M / norm(M) - W.T / norm(W)),
            np.mean(np.argmax(W @ x + b, axis=0) != nearest),
        )

    assert close((p.eye - p.J / p.C) / (1 - 1 / p.C), p.C / (p.C - 1) * p.P)
    start, _, end = collapsed_path(p)
    assert max(gaps(*end)) < END
    assert min(gaps(*start)) > 0.05
    H1, W, _ = aligned_end(p)
    assert max(gaps(p.join(H1, np.zeros((p.n, p.N - p.C))), W, p.one / p.C)) < END
    unequal = p.join(H1 * np.geomspace(2.0, 0.5, p.C), np.zeros((p.n, p.N - p.C)))
    assert gaps(unequal, W, p.one / p.C)[3] > 0.05


# Remarks and appendix B.4


@at_both_sizes
def test_eq59_eq60_eq63_general_biases(p):
    """Gram matrices of W and of the class means at the end of an integrated flow with unequal biases: no symmetric
    structure, as said."""
    H, W, b = general_bias_path(p)[-1]
    H1 = p.split(H)[0]
    assert norm(W.T @ W / p.m - H1 @ p.A @ H1.T / p.mu_class) < END
    outer, bb = b @ p.one.T, b @ b.T
    weights = p.eye - p.alpha * p.J + (1 - p.alpha * p.C) * (p.C * bb - outer - outer.T)
    assert close(matrix_power(W @ W.T, 2), p.m / p.mu_class * weights, END)
    assert far(matrix_power(W @ W.T, 2), p.m / p.mu_class * (weights - (1 - p.alpha * p.C) * (p.C - 1) * bb), 0.02)
    G = H1.T @ H1
    means = p.eye - outer - outer.T + norm(b) ** 2 * p.J
    assert close(G @ p.A @ G, p.mu_class / p.m * means, END)
    assert far(G @ p.A @ G, p.mu_class / p.m * (means - outer - outer.T), 0.05)
    M = unit_columns(H1 @ p.P)
    assert norm(M.T @ M - p.C / (p.C - 1) * p.P) > 0.02
    assert np.ptp(norm(W, axis=1)) > 0.01


def test_eq60_reduces_at_the_optimal_bias():
    """At b = 1/C the bracket of (29) is the ETF, for every alpha."""
    p = Block()
    for alpha in (0.0, 0.1, p.alpha, 1 / p.C):
        b = p.one / p.C
        bracket = p.eye - alpha * p.J
        bracket = bracket + (1 - alpha * p.C) * (p.C * b @ b.T - b @ p.one.T - p.one @ b.T)
        assert close(bracket, p.P)


@at_both_sizes
def test_eq61_eq62_equal_biases(p):
    """W Wᵀ at the end of an integrated flow with equal biases, through rho and gamma; equal rows, and a wider cone."""
    _, W, beta = equal_bias_end(p)
    rho = (1 - (1 - p.alpha * p.C) * (1 - beta * p.C) ** 2) / p.C
    gamma = (1 - np.sqrt(1 - p.C * rho)) / p.C
    assert close(matrix_power(W @ W.T, 2), p.m / p.mu_class * (p.eye - rho * p.J), END)
    assert close(W @ W.T, np.sqrt(p.m / p.mu_class) * (p.eye - gamma * p.J), END)
    assert far(W @ W.T, np.sqrt(p.m / p.mu_class) * (p.eye - rho * p.J), 0.02)
    assert close(psd_power(p.eye - rho * p.J, 0.5), p.eye - gamma * p.J)
    assert gamma == pytest.approx((1 - abs(1 - beta * p.C) * np.sqrt(1 - p.alpha * p.C)) / p.C)  # (68)
    assert np.ptp(norm(W, axis=1)) < END


@at_both_sizes
def test_eq64_eq65_roots(p):
    """Class means at the same end, and the two p.s.d. square roots named there."""
    H1, _, beta = equal_bias_end(p)
    G, scale = H1.T @ H1, p.mu_class / p.m
    phi, rho = (1 - np.sqrt(1 - p.alpha * p.C)) / p.C, (1 - abs(1 - beta * p.C)) / p.C
    right = matrix_power(p.eye - beta * p.J, 2)
    assert close(G @ p.A @ G, scale * right, END)
    assert close(psd_power(right, 0.5), p.eye - rho * p.J)
    assert close(psd_power(p.A, 0.5), p.eye - phi * p.J)
    assert rho < 1 / p.C
    assert close(G @ (p.eye - phi * p.J) / np.sqrt(scale), p.eye - rho * p.J, END)
    assert far(G @ (p.eye - p.alpha * p.J) / np.sqrt(scale), p.eye - rho * p.J, 0.02)
    for wide in (0.7, 1.4):  # |1 - beta C| on both sides of beta = 1/C
        root = (1 - abs(1 - wide * p.C)) / p.C
        assert close(psd_power(matrix_power(p.eye - wide * p.J, 2), 0.5), p.eye - root * p.J)


@at_both_sizes
def test_eq67_partial_collapse(p):
    """With equal biases the centred means of an integrated flow are an ETF, while NC3 fails and the plain means meet at
    a smaller angle."""
    H1, W, _ = equal_bias_end(p)
    M = H1 @ p.P
    assert close(M.T @ M, np.sqrt(p.mu_class / p.m) * p.P, END)
    assert norm(M / norm(M) - W.T / norm(W)) > 0.05
    plain = unit_columns(H1)
    assert (plain.T @ plain)[0, 1] > -1 / (p.C - 1) + 0.05


def test_equal_angles_do_not_give_nc3():
    """At kappa_n = 0 rows of W and class means meet at one angle, for every bias; the centred means do not align."""
    p = Block(kn=0.0)
    H1, W = p.fixed_point(0.1 * p.one)
    rows, means = unit_columns(W.T), unit_columns(H1)
    assert close(rows.T @ rows, means.T @ means)
    assert close(H1 / norm(H1), W.T / norm(W))
    M = H1 @ p.P
    assert norm(M / norm(M) - W.T / norm(W)) > 0.05


def test_eq69_alpha():
    """alpha through ratios of block values, and its three limits."""

    def printed(p):
        return 1 / (p.kc / p.kn * (1 - 1 / p.m) + p.kd / p.kn / p.m + (p.C - 1))

    rng = np.random.default_rng(26)
    for _ in range(20):
        kn, step_c, step_d = rng.uniform(0.1, 2, 3)
        p = Block(C=int(rng.integers(2, 9)), m=int(rng.integers(2, 9)), kd=kn + step_c + step_d, kc=kn + step_c, kn=kn)
        assert p.alpha == pytest.approx(printed(p), rel=1e-12)
        assert p.alpha < 1 / p.C
    assert printed(Block(C=10**6)) < 2e-6
    assert printed(Block(kn=1e-9)) < 1e-8
    many = Block(m=10**9, kd=5.0, kc=1.0 + 1e-9, kn=1.0)
    assert printed(many) == pytest.approx(1 / many.C, abs=1e-8)
    assert printed(Block(m=10**9)) < 0.8 / 3  # m alone is not enough


# Appendix D


def test_eq71_kernel():
    """P.s.d. blocks give a p.s.d. kernel of at most three values for each pair of features; (19) is a special case."""
    p = Block()
    blocks = general_blocks(p)
    patterns = np.eye(p.N), p.Y.T @ p.Y, np.ones((p.N, p.N))
    full = sum(np.kron(A, pattern) for A, pattern in zip(blocks, patterns, strict=True))
    assert eigvalsh(full)[0] > -TIGHT
    tensor = full.reshape(p.n, p.N, p.n, p.N)
    assert len(np.unique(np.round(tensor[0, :, 1], 10))) == 3
    assert close(tensor[:, 0, :, 0], sum(blocks))
    assert close(tensor[:, 0, :, 1], blocks[1] + blocks[2])
    assert close(tensor[:, 0, :, p.m], blocks[2])
    values = p.kd - p.kc, p.kc - p.kn, p.kn
    special = sum(np.kron(v * np.eye(p.n), pattern) for v, pattern in zip(values, patterns, strict=True))
    assert close(special, np.kron(np.eye(p.n), p.kernel))


@at_both_sizes
def test_eq73_matrix_blocks(p):
    """The class form against a model whose parameter Gram matrix has the blocks (71)."""
    Ad, Ac, An = general_blocks(p)
    gram = np.kron(Ad, np.eye(p.N)) + np.kron(Ac, p.Y.T @ p.Y) + np.kron(An, np.ones((p.N, p.N)))
    H, W, b = p.random_state(27)
    R = W @ H + b - p.Y
    dH1, dH2 = p.split(-(gram @ (W.T @ R).ravel()).reshape(p.n, p.N))
    H1, H2 = p.split(H)
    R1 = p.residual(H1, W, b)
    assert close(dH1, -(Ad + p.m * Ac) @ W.T @ R1 - p.m * An @ W.T @ R1 @ p.J)
    assert far(dH1, -(Ad + p.m * Ac) @ W.T @ R1 - p.N * An @ W.T @ R1 @ p.J, 0.1)
    assert close(dH2, -Ad @ W.T @ W @ H2)
    assert close(-R @ H.T, -p.m * (R1 @ H1.T + W @ H2 @ H2.T))
    assert close(-R.sum(1, keepdims=True), -p.m * R1 @ p.one)


def test_eq74_to_eq76_rotation():
    """For the flow in turned variables to be the turned flow, (75) has to equal (76); blocks that turn along do that,
    multiples of the identity need nothing."""
    p = Block()
    H, W, b = p.random_state(28)
    Q = qr(np.random.default_rng(29).standard_normal((p.n, p.n)))[0]
    R = W @ H + b - p.Y
    R_class, R_global = averages(p, R)

    def force(blocks, W):
        Ad, Ac, An = blocks
        return Ad @ W.T @ R + p.m * Ac @ W.T @ R_class + p.N * An @ W.T @ R_global

    general = general_blocks(p)
    turned = [Q.T @ A @ Q for A in general]
    assert close(force([Q @ A @ Q.T for A in turned], W), force(general, W))
    assert close(Q @ force(turned, W @ Q), force(general, W))  # where (75) comes from
    assert close(Q @ force(turned, W @ Q), force([Q @ A @ Q.T for A in turned], W))
    assert far(Q @ force(general, W @ Q), force(general, W), 0.1)
    isotropic = [v * np.eye(p.n) for v in (0.7, 0.8, 0.4)]
    assert close(Q @ force(isotropic, W @ Q), force(isotropic, W))


def test_d1_matrix_blocks_have_no_invariant():
    """No c1 and c2 make (77) and (78) vanish for general blocks; for those of Assumption 3.2 one pair does, that of
    (26)."""
    p = Block()

    def best(Ad, Ac):
        rates = []
        for seed in range(4):
            H, W, b = p.random_state(30 + seed)
            H1, H2 = p.split(H)
            H1 = H1 @ p.P
            R1 = p.residual(H1, W, b)
            by_means = W.T @ R1 @ H1.T
            by_scatter = W.T @ W @ scatter(H2)
            halves = -p.m * (by_means + by_scatter), (Ad + p.m * Ac) @ by_means, Ad @ by_scatter
            rates.append(np.stack([(half + half.T).ravel() for half in halves], axis=1))
        rates = np.concatenate(rates)
        c, *_ = np.linalg.lstsq(rates[:, 1:], -rates[:, 0], rcond=None)
        return c, norm(rates @ np.array([1, *c])) / norm(rates[:, 0])

    assert best(*general_blocks(p)[:2])[1] > 0.1
    c, left = best(p.mu_single * np.eye(p.n), (p.kc - p.kn) * np.eye(p.n))
    assert left < TIGHT
    assert c == pytest.approx([p.m / p.mu_class, p.m / p.mu_single])


def test_eq79_eq80_consistency():
    """RᵀW has a kernel of dimension at least n - C; blocks with N WᵀR = 0 stay of that form when they turn along, and
    the derivative (77)-(78) vanishes."""
    p = Block()
    H, W, b = p.random_state(35)
    H = H - H.mean(1, keepdims=True)
    R = W @ H + b - p.Y
    basis = null_space(R.T @ W)
    assert basis.shape[1] == p.n - p.C
    rng = np.random.default_rng(36)
    null_c, null_d = (basis @ X @ X.T @ basis.T for X in rng.standard_normal((2, p.n - p.C, 2)))
    assert norm(R.T @ W @ null_c.T) < TIGHT
    assert norm(null_c @ W.T @ R) < TIGHT
    Q = qr(rng.standard_normal((p.n, p.n)))[0]
    kd, kc = 0.7, 0.8
    Ad, Ac = kd * np.eye(p.n) + null_d, kc * np.eye(p.n) + null_c
    turned = Q.T @ null_c @ Q
    assert close(Q.T @ Ac @ Q, kc * np.eye(p.n) + turned)
    assert norm(R.T @ W @ Q @ turned.T) < TIGHT
    assert norm(R.T @ W @ Q @ null_c.T) > 0.1

    H1, H2 = p.split(H)
    R1 = p.residual(H1, W, b)
    assert norm(H1 @ p.one) < TIGHT

    def half(Ad, Ac, c1, c2):
        by_means = (c1 * (Ad + p.m * Ac) - p.m * np.eye(p.n)) @ W.T @ R1 @ H1.T
        return by_means + (c2 * Ad - p.m * np.eye(p.n)) @ W.T @ W @ scatter(H2)

    c1, c2 = p.m / (kd + p.m * kc), p.m / kd
    assert norm(half(Ad, Ac, c1, c2)) < TIGHT
    assert norm(half(Ad, Ac, 1.1 * c1, c2)) > 0.1
    assert norm(half(*general_blocks(p)[:2], c1, c2)) > 0.1


# Thesis, section 2.4


def softplus_slope(f, y):
    """Derivative of the logistic loss log(1 + exp(-y f)): the formulas hold for any differentiable loss."""
    return -y / (1 + np.exp(y * f))


def test_thesis_eq2_48_to_eq2_50_flow_and_kernel():
    """Parameter and function-space gradient flow of the mean of a loss that is not quadratic, scalar output."""
    net = TanhNetwork(C=1, m=6)
    w, y = net.start(), np.array([1.0, -1, 1, 1, -1, -1])

    def mean_loss(v):
        return np.atleast_1d(np.mean(np.log(1 + np.exp(-y * net.logits(v)[0]))))

    velocity = -jacobian(mean_loss, w)[0]
    jac, slope = jacobian(net.logits, w)[0], softplus_slope(net.logits(w)[0], y)
    assert close(velocity, -jac.T @ slope / net.N)
    assert far(velocity, -jac.T @ slope, 0.1)
    along = directional(net.logits, w, velocity)[0]
    kernel = net.output_kernel(w)[0, :, 0]
    assert close(along, -kernel @ slope / net.N)
    assert close(kernel, kernel.T)
    assert eigvalsh(kernel)[0] > -TIGHT


def test_thesis_eq2_51_to_eq2_53_parametrisation():
    """The same function in rescaled parameters, whose gradients are the old ones times sigma_w / sqrt(fan-in) and
    sigma_b; unit normals give the weights variance sigma_w² / fan-in."""
    net, sw, sb = TanhNetwork(), 1.4, 0.6
    scales = np.concatenate([np.full(np.prod(s), sb if s[1] == 1 else sw / np.sqrt(s[1])) for s in net.shapes])
    w = net.start()
    units = w / scales
    assert close(net.logits(scales * units), net.logits(w))
    inner, outer = jacobian(lambda u: net.logits(scales * u), units), jacobian(net.logits, w)
    assert close(inner, outer * scales)
    assert far(inner, outer, 0.1)
    fan_in, draws = 50, 40_000
    weights = sw / np.sqrt(fan_in) * np.random.default_rng(37).standard_normal(draws)
    standard_error = np.sqrt(2 / draws) * sw**2 / fan_in
    assert abs(weights.var() - sw**2 / fan_in) < 4 * standard_error
    assert abs(weights.var() - sw**2 / fan_in**2) > 4 * standard_error


def test_thesis_eq2_58_constant_kernel():
    """For a model linear in its parameters the kernel is constant, and the outputs at training and other points follow
    it alone, with any loss."""
    rng = np.random.default_rng(38)
    X, Z, w = rng.standard_normal((5, 8)), rng.standard_normal((3, 8)), rng.standard_normal(8)
    y = np.array([1.0, -1, 1, -1, 1])

    def solve(rhs, start):
        return solve_ivp(rhs, (0, 2.0), start, method="DOP853", rtol=1e-11, atol=1e-13).y[:, -1]

    w_end = solve(lambda _, v: -X.T @ softplus_slope(X @ v, y) / 5, w)
    points = np.concatenate([X, Z])
    kernel = points @ X.T
    f_end = solve(lambda _, f: -kernel @ softplus_slope(f[:5], y) / 5, points @ w)
    assert close(f_end, points @ w_end, END)
    assert far(f_end, points @ solve(lambda _, v: -X.T @ softplus_slope(X @ v, y), w), 0.05)


def test_thesis_eq2_63_alignment():
    """A cosine: 1 for multiples of Y Yᵀ only; for a block kernel and one-hot labels it has a closed form."""

    def alignment(K, L):
        entries = list(np.ndindex(K.shape))
        inner = [sum(A[i] * B[i] for i in entries) for A, B in ((K, L), (K, K), (L, L))]
        return inner[0] / np.sqrt(inner[1] * inner[2])

    p = Block()
    labels = p.Y.T @ p.Y
    assert close(labels, block_diag(*[np.ones((p.m, p.m))] * p.C))
    assert alignment(3.0 * labels, labels) == pytest.approx(1)
    in_class = p.kd + (p.m - 1) * p.kc
    total = p.kd**2 + (p.m - 1) * p.kc**2 + p.m * (p.C - 1) * p.kn**2
    assert alignment(p.kernel, labels) == pytest.approx(in_class / np.sqrt(p.m * total))
    assert alignment(p.kernel, labels) < 0.95
    signs = np.where(np.arange(p.N) < p.m, 1.0, -1.0)
    assert -1 <= alignment(-np.outer(signs, signs), labels) < 0


# The two pages


DOCS = Path(__file__).parents[1] / "docs"


def numbers(text):
    """The equation numbers of paper 3 in a cell: "(13)–(15)" is three; remarks, "after (39)", other works are not."""
    if re.match(r"paper [12]\b", text):
        return set()
    text = re.sub(r"thesis \([^)]*\)|Remark \(\d\)|(?:after|before) \(\d+\)", "", text)
    found = set()
    for first, last in re.findall(r"\((\d+)\)(?:–\((\d+)\))?", text):
        found.update(range(int(first), int(last or first) + 1))
    return found


def sections(page):
    """The table rows of a page by heading."""
    text = (DOCS / page).read_text(encoding="utf-8")
    named = {}
    for heading, body in re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL):
        cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in body.splitlines() if line.startswith("| ")]
        named[heading] = [[cell.strip() for cell in row] for row in cells[1:]]
    return named


def test_every_equation_has_one_row():
    listed = [n for row in sections("equations.md")["Numbered equations of paper 3"] for n in sorted(numbers(row[0]))]
    assert listed == list(range(1, 81))


def test_verdicts_are_those_of_the_errata():
    errata = sections("errata.md")
    wrong = set().union(*(numbers(row[0]) for row in errata["Wrong in print"]))
    conditional = set().union(*(numbers(row[0]) for row in errata["Right under a condition that is not stated"]))
    said = {"definition": set(), "right": set(), "right if": set(), "wrong": set()}
    for row in sections("equations.md")["Numbered equations of paper 3"]:
        said[row[2]] |= numbers(row[0])
    assert said["wrong"] == wrong
    assert said["right if"] == conditional - wrong


def test_every_row_names_a_test_and_every_test_has_a_row():
    defined = {}
    for module in ("test_equations.py", "test_errata.py"):
        tree = ast.parse((Path(__file__).parent / module).read_text(encoding="utf-8"))
        defined[module] = {n.name for n in tree.body if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")}
    everywhere = defined["test_equations.py"] | defined["test_errata.py"]
    named = set()
    for heading, table in sections("equations.md").items():
        for row in table:
            tests = re.findall(r"`(test_\w+)`", row[-1])
            assert set(tests) <= everywhere, row
            assert tests or row[2] in {"definition", "not checked"}, row
            assert row[2] in {"definition", "right", "right if", "wrong", "not checked"}, (heading, row)
            named.update(tests)
    about_the_pages = {
        "test_every_equation_has_one_row",
        "test_verdicts_are_those_of_the_errata",
        "test_every_row_names_a_test_and_every_test_has_a_row",
    }
    assert defined["test_equations.py"] - about_the_pages == named & defined["test_equations.py"]
    for table in list(sections("errata.md").values())[:2]:
        for row in table:
            assert set(re.findall(r"`(test_\w+)`", row[-1])) & defined["test_errata.py"], row
