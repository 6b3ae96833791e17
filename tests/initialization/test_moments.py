"""Moments of Θ(x, x): against real networks, against sums over all cases, against the limits."""

from __future__ import annotations

import numpy as np
import pytest
from initialization.real_networks import agrees, relu_networks
from scipy.integrate import dblquad

from ntkflow.errors import UserError
from ntkflow.initialization import (
    dispersion_limit,
    expected_first_step,
    ntk_moments,
    published_dispersion_limit,
    published_moments,
    sample_relu_ntk,
)


@pytest.mark.parametrize(
    ("widths", "sigma_w"), [((3, 1, 2, 2), 1.5), ((2, 3, 4, 3, 2), 1.4), ((5, 6, 6, 6, 6), 1.2), ((1, 1, 1), 1.2)]
)
def test_every_moment_against_real_networks(widths: tuple[int, ...], sigma_w: float) -> None:
    moments = ntk_moments(widths, sigma_w, input_norm_squared=1.7)
    drawn = relu_networks(widths, sigma_w, 1.7, draws=300_000, seed=1)
    for logarithm, samples in (
        (moments.weights, drawn.weights),
        (moments.biases, drawn.biases),
        (moments.weights_squared, drawn.weights**2),
        (moments.biases_squared, drawn.biases**2),
        (moments.product, drawn.weights * drawn.biases),
        (moments.log_mean, drawn.weights + drawn.biases),
        (moments.log_second, (drawn.weights + drawn.biases) ** 2),
    ):
        assert agrees(samples, float(np.exp(logarithm)))


def test_one_hidden_layer_by_hand() -> None:
    # Θ = ‖δ‖²(‖x‖² + 1) + ‖x¹‖² + 1, δ and x¹ sums over the k active neurons: a sum over k, A, z² by their moments.
    width, sigma_w, squared = 3, 1.3, 0.8
    binomial = np.array([1, 3, 3, 1]) / 8
    gain_in, gain_out = sigma_w**2 / 2, sigma_w**2 / width
    first = second = 0.0
    for active, chance in enumerate(binomial):
        # ‖δ‖² ~ gain_out χ²_k and ‖x¹‖² ~ gain_in ‖x‖² χ²_k, independent given k.
        a, b = gain_out * (squared + 1), gain_in * squared
        mean = 1 + (a + b) * active
        first += chance * mean
        second += chance * (mean**2 + 2 * active * (a**2 + b**2))
    found = ntk_moments((2, width), sigma_w, input_norm_squared=squared)
    assert np.exp(found.log_mean) == pytest.approx(first, rel=1e-13)
    assert np.exp(found.log_second) == pytest.approx(second, rel=1e-13)


def test_means_are_those_of_theorem_3_2() -> None:
    widths, sigma_w = (20, 40, 30, 60), 1.1
    a, n = sigma_w**2 / 2, np.array(widths)
    found = ntk_moments(widths, sigma_w, input_norm_squared=2.5)
    assert np.exp(found.weights) == pytest.approx(2.5 * a**3 * np.sum(n / 20), rel=1e-12)
    assert np.exp(found.biases) == pytest.approx(np.sum(a ** np.arange(4)), rel=1e-6)


@pytest.mark.parametrize("phase", [1.0, 2.0, 3.0])
def test_limits_are_reached_with_order_one(phase: float) -> None:
    sigma_w, ratio = phase**0.5, 0.5
    limit = dispersion_limit(ratio, sigma_w, input_to_width=0.5)
    sizes = np.array([400, 800, 1600])
    away = [
        abs(ntk_moments((m // 2, *(m,) * (m // 2 - 1)), sigma_w).dispersion - limit) for m in (int(m) for m in sizes)
    ]
    order = np.polyfit(np.log(sizes), np.log(away), 1)[0]
    assert order == pytest.approx(-1, abs=0.05)
    assert away[-1] < 0.01 * limit


@pytest.mark.parametrize("share", [0.1, 1.0, 3.0])
def test_edge_of_chaos_against_quadrature(share: float) -> None:
    ratio = 0.7

    def double(function: object) -> float:
        return dblquad(function, 0, ratio, 0, lambda s: ratio - s)[0] / ratio**2

    def mixed(gap: float, above: float) -> float:
        return np.exp(5 * above) * (2 / 3 * np.exp(-gap) + 1 / 3 * np.exp(5 * gap))

    # Of a pair of layers, the gap between them and what is above; below, the factor e^{5·} of the squared norm.
    weights = 2 * double(lambda gap, above: mixed(gap, above) * np.exp(5 * (ratio - gap - above)))
    biases = 2 * double(lambda gap, above: np.exp(5 * above))
    cross = double(lambda gap, above: np.exp(5 * above) + mixed(gap, above))
    expected = (weights + 2 * share * cross + share**2 * biases) / (1 + share) ** 2
    assert dispersion_limit(ratio, 2**0.5, input_to_width=share) == pytest.approx(expected, rel=1e-8)
    assert dispersion_limit(ratio, 1.7, input_to_width=share) == pytest.approx(weights, rel=1e-8)


def test_small_ratios_and_remark_1() -> None:
    small = dispersion_limit(np.array([1e-6, 1e-3]), 1.8)
    assert small == pytest.approx(1 + np.array([1e-6, 1e-3]) * 11 / 3, rel=1e-5)
    # Remark 1: α₀ → 0 leads from the edge of chaos to the chaotic phase, in print and in what is right.
    for limit in (dispersion_limit, published_dispersion_limit):
        assert limit(0.4, 2**0.5, input_to_width=1e-9) == pytest.approx(float(limit(0.4, 2.0)), rel=1e-6)


def test_what_the_lemmas_give_differs_at_second_order() -> None:
    for depth, close in ((2, 1e-12), (40, 0.02)):
        exact, lemmas = ntk_moments((100,) * depth, 3**0.5), published_moments((100,) * depth, 3**0.5)
        assert lemmas.log_mean == pytest.approx(float(exact.log_mean), rel=1e-12)
        assert lemmas.log_dispersion == pytest.approx(float(exact.log_dispersion), abs=max(close, 0.1 * (depth > 2)))
    assert exact.dispersion > 1.05 * lemmas.dispersion


@pytest.mark.parametrize("sigma_w", [1.0, 2**0.5, 3.0])
def test_deep_networks_do_not_overflow(sigma_w: float) -> None:
    moments = ntk_moments((64,) * 3000, np.array([sigma_w]))
    assert np.isfinite(moments.log_mean)
    assert np.isfinite(moments.log_second)
    assert moments.log_dispersion >= 0


def test_degenerate_networks() -> None:
    assert ntk_moments((7,), 1.3, input_norm_squared=2.0).dispersion == pytest.approx(1)
    assert np.exp(ntk_moments((7,), 1.3, input_norm_squared=2.0).log_mean) == pytest.approx(3)
    off = ntk_moments((5, 4, 4), 0.0)
    assert np.exp(off.log_mean) == pytest.approx(1)
    assert off.dispersion == pytest.approx(1)
    assert np.all(sample_relu_ntk((5, 4, 4), 0.0, draws=5, seed=0) == 0)
    for widths, sigma_w in (((), 1.0), ((3, 0), 1.0), ((3, 2), -1.0), ((3, 2), float("nan"))):
        with pytest.raises(UserError):
            ntk_moments(widths, sigma_w)
    with pytest.raises(UserError, match="λ = L/M"):
        dispersion_limit(0.0, 1.0)


def test_first_step_expected_of_small_networks_by_enumeration_of_layers() -> None:
    # One hidden layer: E⟨∇Θ, ∇f⟩ f = 4 (‖x‖² + 1) E f² with l = m = 1.
    width, sigma_w, squared = 4, 1.5, 0.6
    a = sigma_w**2 / 2
    expected = 4 * (squared + 1) * sigma_w**2 / width * (width / 2 * sigma_w**2 / 3 * squared)
    found = expected_first_step((3, width), sigma_w, input_norm_squared=squared)
    assert np.exp(found.log_rate) == pytest.approx(expected, rel=1e-12)
    assert a > 1
    assert found.relative_change(0.1) == pytest.approx(
        -0.1 * expected / np.exp(ntk_moments((3, width), sigma_w, input_norm_squared=squared).log_mean)
    )
    assert found.relative_change(0.1, lazy_scale=10) == pytest.approx(found.relative_change(0.1) / 100)


@pytest.mark.parametrize(("variance", "sign"), [(1.5, -1), (2.5, 1)])
def test_first_step_vanishes_or_explodes_with_depth(variance: float, sign: int) -> None:
    shallow, deep = (
        float(expected_first_step((size,) * (size // 4), variance**0.5).log_relative_rate) for size in (200, 800)
    )
    assert np.sign(deep - shallow) == sign
    # As a^L: (21), (22).
    assert (deep - shallow) / 150 == pytest.approx(np.log(variance / 2), abs=0.03)
