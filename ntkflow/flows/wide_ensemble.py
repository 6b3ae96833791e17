"""What an ensemble of infinitely wide networks, each trained from its own random start, says: mean and covariance."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.flows.dense_modes import DenseModes
from ntkflow.flows.kernel_regression import KernelRegressionFlow
from ntkflow.flows.spectral_factors import descent_sums, flow_sums


class EnsembleOutputs(eqx.Module):
    """A Gaussian process at training and test samples: the mean of every output, and the variance that all share.

    Attributes:
        mean_train: E f(X).
        mean_test: E f(x).
        variance_train: of each output at each training sample, over random starts.
        variance_test: the same at test samples.
    """

    mean_train: Float[Array, "*times outputs samples"]
    mean_test: Float[Array, "*times outputs test_samples"]
    variance_train: Float[Array, "*times samples"]
    variance_test: Float[Array, "*times test_samples"]


class WideEnsemble(eqx.Module):
    """Infinitely wide networks trained by gradient flow on ‖f(X) − Y‖²/(2Z) + ρ‖f − f₀‖²_Θ/(2Z), over random starts.

    At infinite width f₀ is a Gaussian process of mean 0 with the covariance K (NNGP), independent for every output, and
    f_t is linear in it (Lee et al. 2019, (14)–(16), for ρ = 0):

        f_t(x) = f₀(x) − G_t(x)(f₀(X) − Y),  G_t(x) = Θ(x, X) Σ_i (1 − exp(−μ_i t/Z))/μ_i P_i,  μ_i = λ_i + ρ.

    So the mean is G_t Y, and the variance K(x, x) − 2 G_t K(X, x) + G_t K(X, X) G_tᵀ. With Θ = K, which is training the
    last layer alone, the limit t → ∞ is the posterior of Gaussian-process regression: with noise of variance ρ its mean
    is the same, and its variance larger by ρ K(x, X)(K + ρ)⁻²K(X, x), since here the targets have no noise.

    Time is gradient-flow time of the loss with this Z.

    Args:
        kernel: Θ(X, X) and Θ(x, X), one kernel that all outputs share.
        nngp: K(X, X).
        nngp_cross: K(x, X).
        nngp_test: K(x, x), the variances alone.
        targets: Y, a column a training sample.
        loss_scale: Z.
        ridge: ρ ≥ 0.

    Raises:
        ValueError: shapes that do not fit, a coupled kernel, a ridge below 0.
    """

    regression: KernelRegressionFlow
    modes: DenseModes
    nngp: Float[Array, "samples samples"]
    nngp_cross: Float[Array, "test_samples samples"]
    nngp_test: Float[Array, " test_samples"]

    def __init__(
        self,
        kernel: DenseModes,
        *,
        nngp: Float[Array, "rows columns"],
        nngp_cross: Float[Array, "test_rows columns2"],
        nngp_test: Float[Array, " test_rows2"],
        targets: Float[Array, "outputs samples"],
        loss_scale: float | Float[Array, ""],
        ridge: float = 0.0,
    ) -> None:
        if kernel.outputs is not None:
            raise ValueError("infinitely wide networks have one kernel for every output, not a coupled one")
        samples, tests = kernel.samples, kernel.test_samples
        shapes = (nngp.shape, nngp_cross.shape, nngp_test.shape)
        if shapes != ((samples, samples), (tests, samples), (tests,)):
            raise ValueError(
                f"covariances of shapes {', '.join(map(str, shapes))} do not fit a kernel of {samples} training and "
                f"{tests} test samples"
            )
        self.regression = KernelRegressionFlow(kernel, targets=targets, loss_scale=loss_scale, ridge=ridge)
        self.modes = kernel
        self.nngp = nngp
        self.nngp_cross = nngp_cross
        self.nngp_test = nngp_test

    def at(self, times: Float[Array, " times"]) -> EnsembleOutputs:
        """Mean and variance at all given times, finite ones; :meth:`limit` is t → ∞."""
        return _at(self, times)

    def after_steps(self, step_size: float, steps: Float[Array, " steps"], momentum: float = 0.0) -> EnsembleOutputs:
        """Mean and variance after all given numbers of steps of gradient descent, exact.

        Args:
            step_size: η.
            steps: each k, as floats.
            momentum: β, as in :meth:`ntkflow.flows.KernelRegressionFlow.after_steps`.

        Raises:
            ValueError: a β outside [0, 1).
        """
        return _after(self, jnp.asarray(step_size, dtype=float), steps, momentum)

    def limit(self) -> EnsembleOutputs:
        """Mean and variance as t → ∞."""
        moved = self.modes.eigenvalues > 0
        mu = jnp.where(moved, self.modes.eigenvalues + self.regression.ridge, 1.0)
        return _outputs(self, jnp.where(moved, 1 / mu, 0.0))


def _outputs(ensemble: WideEnsemble, factors: Float[Array, " modes"]) -> EnsembleOutputs:
    modes, targets = ensemble.modes, ensemble.regression.targets
    unit = jnp.eye(modes.samples)
    # Columns are samples x: G_t(X)ᵀ and G_t(x)ᵀ.
    train, test = modes.filtered(modes.eigenvalues * factors, unit), modes.filtered_cross(factors, unit)
    return EnsembleOutputs(
        mean_train=targets @ train,
        mean_test=targets @ test,
        variance_train=_variance(jnp.diagonal(ensemble.nngp), ensemble.nngp, ensemble.nngp, train),
        variance_test=_variance(ensemble.nngp_test, ensemble.nngp_cross, ensemble.nngp, test),
    )


def _variance(
    own: Float[Array, " points"],
    cross: Float[Array, "points samples"],
    nngp: Float[Array, "samples samples"],
    weights: Float[Array, "samples points"],
) -> Float[Array, " points"]:
    """K(x, x) − 2 gᵀK(X, x) + gᵀK(X, X)g, at least 0: what is negative is rounding of the three terms."""
    found = own - 2 * jnp.sum(cross.T * weights, axis=0) + jnp.sum(weights * (nngp @ weights), axis=0)
    return jnp.maximum(found, 0.0)


@eqx.filter_jit
def _at(ensemble: WideEnsemble, times: Float[Array, " times"]) -> EnsembleOutputs:
    regression = ensemble.regression
    # One time after the other: each needs arrays of samples × samples.
    return jax.lax.map(
        lambda time: _outputs(ensemble, flow_sums(regression.rates, time) / regression.loss_scale), times
    )


@eqx.filter_jit
def _after(
    ensemble: WideEnsemble, step_size: Float[Array, ""], steps: Float[Array, " steps"], momentum: float
) -> EnsembleOutputs:
    regression = ensemble.regression

    def after(count: Float[Array, ""]) -> EnsembleOutputs:
        sums = descent_sums(step_size * regression.rates, count, momentum)
        return _outputs(ensemble, step_size / regression.loss_scale * sums)

    return jax.lax.map(after, steps)
