"""One moment of a run that is known by arrays alone: H, W, b and a kernel, from a network trained anywhere."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ntkflow.errors import DataError
from ntkflow.flows import SampleState, sample_residual
from ntkflow.training.problem import Problem
from ntkflow.training.snapshot import KernelMeasurement, Snapshot, measured_kernel, snapshot_of
from ntkflow.training.snapshot_kernels import GivenKernels

_ASYMMETRY = 1e-6
"""More of the largest entry than float32 rounds: it is another kernel, or other axes."""
_INDEFINITE = 1e-6
"""A lowest eigenvalue of less than minus this share of the largest is more than float32's rounding."""


@dataclasses.dataclass(frozen=True)
class MeasuredMoment:
    """H, W, b and Θʰ of a network at one time, N samples in the order of their labels; looked at by :meth:`checked`.

    Attributes:
        time: gradient-flow time, of the loss ‖R‖²/(2Z) with the Z of the comparison; with step η and momentum β it is
            Σ η/(1 − β).
        features: H, (features, samples).
        weight: W, (classes, features).
        bias: b, (classes,); zeros for a readout without one.
        kernel: Θʰ, in the form that is known: (1/n) Σ_p Θʰ_{p,p} as (samples, samples), Θʰ_{p,p} of every feature as
            (features, samples, samples), or all of it, Θʰ_{p,q}(xᵢ, xⱼ) at [p, i, q, j].
        logit_kernel: (1/C) Σ_k Θ_{k,k}, (samples, samples); None: not known, or to be made of a whole Θʰ.
        step: of gradient descent, for names only.
    """

    time: float
    features: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    kernel: np.ndarray
    logit_kernel: np.ndarray | None = None
    step: int | None = None

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"t = {self.time:g}" if self.step is None else f"step {self.step}"

    def checked(self, samples: int, classes: int) -> MeasuredMoment:
        """The same in float64, every kernel symmetric to the last digit.

        Raises:
            DataError: shapes that do not fit each other, the samples or the classes, values that are not finite, or a
                kernel that is not symmetric.
        """
        given = {"features": self.features, "weight": self.weight, "bias": self.bias, "kernel": self.kernel}
        if self.logit_kernel is not None:
            given["logit_kernel"] = self.logit_kernel
        arrays = {name: np.asarray(value, dtype=float) for name, value in given.items()}
        if arrays["features"].ndim != 2:
            raise self._wrong("features", arrays["features"].shape, "(features, samples)")
        n, pairs = arrays["features"].shape[0], (samples, samples)
        shapes = {
            "features": [(n, samples)],
            "weight": [(classes, n)],
            "bias": [(classes,)],
            "kernel": [pairs, (n, *pairs), (n, samples, n, samples)],
            "logit_kernel": [pairs],
        }
        for name, array in arrays.items():
            if array.shape not in shapes[name]:
                raise self._wrong(name, array.shape, " or ".join(map(str, shapes[name])))
            if not np.isfinite(array).all():
                raise DataError(
                    f"{name} has values that are not finite", place=self.label, remedy="Mend or leave out this moment."
                )
        for name in ("kernel", "logit_kernel"):
            if name in arrays:
                arrays[name] = self._symmetric(name, arrays[name])
        return dataclasses.replace(self, **arrays)

    def sorted(self, order: Int[np.ndarray, " samples"]) -> MeasuredMoment:
        """The samples in another order."""
        kernel = self.kernel
        for axis in {2: (0, 1), 3: (1, 2), 4: (1, 3)}[kernel.ndim]:
            kernel = np.take(kernel, order, axis=axis)
        logit = None if self.logit_kernel is None else self.logit_kernel[np.ix_(order, order)]
        return dataclasses.replace(self, features=self.features[:, order], kernel=kernel, logit_kernel=logit)

    def lowest_eigenvalue(self) -> tuple[float, float] | None:
        """The lowest eigenvalue of Θʰ as given, and the largest, if it is not positive semi-definite; else None."""
        if self.kernel.ndim == 4:
            size = self.kernel.shape[0] * self.kernel.shape[1]
            matrices = self.kernel.reshape(1, size, size)
        else:
            matrices = self.kernel.reshape(-1, *self.kernel.shape[-2:])
        scale = _INDEFINITE * np.abs(matrices).sum(axis=2).max()
        try:
            # A tenth of what all eigenvalues cost; they are computed only where there is something to tell.
            np.linalg.cholesky(matrices + scale * np.eye(matrices.shape[1]))
        except np.linalg.LinAlgError:
            values = np.linalg.eigvalsh(matrices)
            if values.min() < -scale:
                return float(values.min()), float(values.max())
        return None

    def _symmetric(self, name: str, array: np.ndarray) -> np.ndarray:
        axes = {2: (1, 0), 3: (0, 2, 1), 4: (2, 3, 0, 1)}[array.ndim]
        gap = float(np.abs(array - array.transpose(axes)).max(initial=0.0))
        if gap > _ASYMMETRY * float(np.abs(array).max(initial=0.0)):
            raise DataError(
                f"{name} is not symmetric: it differs from its transpose by up to {gap:.3g}",
                place=self.label,
                remedy="A whole kernel has Θʰ_{p,q}(xᵢ, xⱼ) at [p, i, q, j]; give the kernel of one network.",
            )
        return 0.5 * (array + array.transpose(axes))

    def _wrong(self, name: str, shape: tuple[int, ...], wanted: str) -> DataError:
        return DataError(
            f"{name} has the shape {shape}, not {wanted}",
            place=self.label,
            remedy="Samples as columns, as many as labels; every moment of the same network.",
        )


def given_snapshot(moment: MeasuredMoment, problem: Problem) -> Snapshot:
    """The snapshot of a moment that :meth:`MeasuredMoment.checked` has passed, samples sorted by class.

    Θ and what follows from it (rates, largest stable step) are NaN where they are not known.

    Args:
        moment: what is known.
        problem: targets and Z; its inputs are not looked at.
    """
    state = SampleState(*(jnp.asarray(item) for item in (moment.features, moment.weight, moment.bias)))
    kernels = GivenKernels(jnp.asarray(moment.kernel), state, problem.classes)
    logits = state.weight @ state.features + state.bias[:, None]
    labels = jnp.repeat(jnp.arange(problem.classes), logits.shape[1] // problem.classes)
    return snapshot_of(
        problem,
        time=moment.time,
        step=moment.step,
        kernels=kernels,
        state=state,
        residual=sample_residual(state, problem.targets),
        logit_kernel=_logit_kernel(moment, kernels, problem.classes),
        feature_kernel=_of_mean(kernels.values, problem.classes)
        if kernels.form == "mean"
        else measured_kernel(kernels.own(), problem.classes),
        theta=kernels.linearized() if kernels.form == "whole" else None,
        train_accuracy=float(jnp.mean(jnp.argmax(logits, axis=0) == labels, dtype=float)),
        test_accuracy=float("nan"),
    )


def _logit_kernel(moment: MeasuredMoment, kernels: GivenKernels, classes: int) -> KernelMeasurement | None:
    if moment.logit_kernel is not None:
        return _of_mean(jnp.asarray(moment.logit_kernel), classes)
    if kernels.form != "whole":
        return None
    state = kernels.state
    through = jnp.einsum("kp,piqj,kq->kij", state.weight, kernels.values, state.weight)
    return measured_kernel(through + state.features.T @ state.features + 1, classes)


def _of_mean(mean: Float[Array, "samples samples"], classes: int) -> KernelMeasurement:
    """Structure of a kernel of which only the mean over outputs is known: their spread is not."""
    return dataclasses.replace(measured_kernel(mean[None], classes), spread=np.full(3, np.nan))
