"""The kernel of two values, and Theorem 3, against dense matrices, the exact process, and trained networks."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkflow.flows import DenseModes, WideEnsemble
from ntkflow.initialization import EquicorrelatedKernel, MeanField, depth_profile, tangent_by_depth, trained_variance
from ntkflow.kernels.infinite import Erf, FullyConnectedKernel

SAMPLES = 6


@pytest.mark.parametrize("off_diagonal", [2.9, 0.7, 0.0, -0.5])
def test_eigenvalues(off_diagonal: float) -> None:
    kernel = EquicorrelatedKernel(3.0, off_diagonal, SAMPLES)
    found = np.linalg.eigvalsh(np.asarray(kernel.matrix()))
    expected = np.sort([kernel.mean_eigenvalue, *[kernel.difference_eigenvalue] * (SAMPLES - 1)])
    assert np.allclose(found, expected, atol=1e-13)
    assert kernel.condition_number == pytest.approx(found[-1] / found[0], rel=1e-12)
    assert kernel.step_limit(5.0) == pytest.approx(10 / found[-1])
    if off_diagonal > 0:
        ratio = 3 / off_diagonal
        assert kernel.condition_number == pytest.approx((ratio + SAMPLES - 1) / (ratio - 1))
        assert kernel.data_weight == pytest.approx(SAMPLES / (ratio + SAMPLES - 1))


@pytest.mark.parametrize(("off_diagonal", "covariance"), [(2.9, 1.9), (0.7, 0.4), (-0.5, 0.2)])
def test_theorem_3_is_exact_for_its_kernel(off_diagonal: float, covariance: float) -> None:
    """The Gaussian process of infinitely wide networks with that Θ and that covariance, to t → ∞."""
    variance, tests = 2.0, 3
    kernel = EquicorrelatedKernel(3.0, off_diagonal, SAMPLES)
    nngp = EquicorrelatedKernel(variance, covariance, SAMPLES).matrix()
    ensemble = WideEnsemble(
        DenseModes.of(kernel.matrix(), jnp.full((tests, SAMPLES), off_diagonal)),
        nngp=nngp,
        nngp_cross=jnp.full((tests, SAMPLES), covariance),
        nngp_test=jnp.full(tests, variance),
        targets=jnp.ones((1, SAMPLES)),
        loss_scale=1.0,
    )
    assert np.allclose(ensemble.limit().variance_test, trained_variance(kernel, variance, covariance), rtol=1e-12)


def test_how_far_theorem_3_is_off_for_real_inputs() -> None:
    """Random inputs on the sphere, κ̄ at the mean of their kernel: near in the chaotic phase, far in the ordered one."""
    samples, tests, depth = 32, 60, 6
    inputs = np.random.default_rng(0).standard_normal((samples + tests, 30))
    inputs = jnp.asarray(inputs / np.linalg.norm(inputs, axis=1, keepdims=True) * np.sqrt(30))
    shares = {}
    for phase, sigma_w in (("ordered", 0.7), ("chaotic", 2.5)):
        kernel = FullyConnectedKernel(Erf(), depth, sigma_w, 0.3)
        own, cross, alone = kernel.kernels(inputs[:samples]), kernel.kernels(inputs[samples:], inputs[:samples]), None
        alone = kernel.diagonals(inputs[samples:])
        ensemble = WideEnsemble(
            DenseModes.of(own.ntk, cross.ntk),
            nngp=own.nngp,
            nngp_cross=cross.nngp,
            nngp_test=alone.nngp,
            targets=jnp.zeros((1, samples)),
            loss_scale=1.0,
        )
        exact = float(jnp.mean(ensemble.limit().variance_test))
        mean = EquicorrelatedKernel(float(alone.ntk[0]), float(jnp.mean(cross.ntk)), samples)
        shares[phase] = trained_variance(mean, float(alone.nngp[0]), float(jnp.mean(cross.nngp))) / exact
    assert shares["chaotic"] == pytest.approx(1.0, abs=0.05)
    assert shares["ordered"] > 1.3


def test_conditioning_and_the_step_over_the_phases() -> None:
    """Paper 1 has the ordered phase ill-conditioned, which it is; its largest stable step is not the smaller one."""
    found = {}
    for phase, sigma_w in (("ordered", 0.6), ("chaotic", 2.5)):
        profile = depth_profile(MeanField(Erf(), sigma_w, 0.3), 15, gap=0.5)
        theta = tangent_by_depth(profile, (100.0,) * 15, biases=True)
        own = float(jnp.exp(theta.log_own_s[-1]))
        kernel = EquicorrelatedKernel(own, own * float(theta.correlation[-1]), 64)
        found[phase] = kernel.condition_number, kernel.step_limit(64.0)
    assert found["ordered"][0] > 1e6 * found["chaotic"][0]
    assert found["ordered"][1] > 100 * found["chaotic"][1]


@pytest.mark.parametrize(
    ("diagonal", "off_diagonal", "samples"), [(0.0, 0.0, 3), (1.0, 1.1, 3), (1.0, -0.6, 3), (1.0, 0.0, 0)]
)
def test_what_is_refused(diagonal: float, off_diagonal: float, samples: int) -> None:
    with pytest.raises(ValueError, match=r"needs a sample and a positive diagonal|no kernel has"):
        EquicorrelatedKernel(diagonal, off_diagonal, samples)
    assert math.isinf(EquicorrelatedKernel(1.0, 1.0, 3).condition_number)


@pytest.mark.slow
def test_theorem_3_against_trained_networks() -> None:
    """Erf networks of width 400 and depth 3, chaotic, trained by gradient descent until the loss is 10⁻⁸ of the first.

    Pairs of inputs all have one correlation, the training samples' and the test sample's, so that Θ* is Θ̄*.
    """
    width, depth, networks, samples, sigma_w, sigma_b, correlation = 400, 3, 192, 5, 1.8, 0.3, 0.7
    root = np.linalg.cholesky(np.full((samples + 1,) * 2, correlation) + (1 - correlation) * np.eye(samples + 1))
    inputs = jnp.asarray(root * np.sqrt(samples + 1))
    profile = depth_profile(MeanField(Erf(), sigma_w, sigma_b), depth, gap=1 - correlation)
    theta = tangent_by_depth(profile, (samples + 1.0, width, width), biases=True)
    own = float(jnp.exp(theta.log_own_s[-1]))
    kernel = EquicorrelatedKernel(own, own * float(theta.correlation[-1]), samples)
    variance = float(jnp.exp(profile.log_variance_s[-1]))
    expected = trained_variance(kernel, variance, variance * float(profile.correlation[-1]))
    targets = jnp.asarray(np.where(np.arange(samples) % 2, -1.0, 1.0))
    sizes = [samples + 1, width, width, 1]

    def start(key: jax.Array) -> list[jax.Array]:
        made = []
        for index, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
            one, other = jax.random.split(jax.random.fold_in(key, index))
            made += [jax.random.normal(one, (fan_out, fan_in)) * sigma_w / np.sqrt(fan_in)]
            made += [jax.random.normal(other, (fan_out,)) * sigma_b]
        return made

    def outputs(parameters: list[jax.Array], x: jax.Array) -> jax.Array:
        for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            x = jax.scipy.special.erf(x @ weight.T + bias)
        return (x @ parameters[-2].T + parameters[-1])[:, 0]

    def loss(parameters: list[jax.Array]) -> jax.Array:
        return jnp.sum((outputs(parameters, inputs[:samples]) - targets) ** 2) / 2

    step = 0.5 * kernel.step_limit(1.0)

    @jax.jit
    def trained(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        first = start(key)
        descend = lambda _, at: [one - step * slope for one, slope in zip(at, jax.grad(loss)(at), strict=True)]  # noqa: E731
        last = jax.lax.fori_loop(0, 150, descend, first)
        return outputs(first, inputs)[-1], outputs(last, inputs)[-1], loss(last) / loss(first)

    found = [trained(jax.random.key(seed)) for seed in range(networks)]
    before, after, left = (np.array(column) for column in zip(*found, strict=True))
    assert np.max(left) < 1e-8
    for values, wanted in ((before, variance), (after, expected)):
        error = np.sqrt(2 / networks) * wanted
        print(f"variance {values.var(ddof=1):.3f} ± {error:.3f}, expected {wanted:.3f}; loss left {left.max():.1e}")
        assert abs(values.var(ddof=1) - wanted) < 3 * error
    assert kernel.data_weight > 0.2
