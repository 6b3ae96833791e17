"""The kernels of one moment of a run, in every form that a model of them asks for."""

from __future__ import annotations

import abc
import dataclasses
from typing import Literal, final

import jax.numpy as jnp
from jaxtyping import Array, Float

from ntkflow.data import Precision
from ntkflow.flows import SampleState
from ntkflow.kernels import (
    AbstractKernelOperator,
    MatrixBlockKernel,
    MeanTangentKernel,
    ReadoutKernel,
    TangentKernel,
    WholeKernel,
    empirical_ntk,
    network_output_pairs,
)
from ntkflow.kernels.empirical import Of
from ntkflow.networks import AbstractClassifier, in_precision
from ntkflow.training.gradient_descent import descent_path
from ntkflow.training.loop_form import inside_loops
from ntkflow.training.problem import Problem

Form = Literal["mean", "own", "whole", "network"]
"""What can be known of Θʰ: (1/n) Σ_p Θʰ_{p,p}; Θʰ_{p,p} of every feature; all of it; the network behind it."""
FORMS: tuple[Form, ...] = ("mean", "own", "whole", "network")
"""From the least to the most: whoever knows one knows those before it."""
WORDS: dict[Form, str] = {
    "mean": "the mean over features of Θʰ_{p,p}",
    "own": "Θʰ_{p,p} of every feature",
    "whole": "the whole Θʰ",
    "network": "the network",
}
"""How messages name each form."""


class AbstractSnapshotKernels(abc.ABC):
    """Θʰ of one moment. Forms beyond :attr:`form` raise ``ValueError``."""

    @property
    @abc.abstractmethod
    def form(self) -> Form:
        """The most that is known."""

    @abc.abstractmethod
    def own(self) -> Float[Array, "features samples samples"]:
        """Θʰ_{p,p} of every feature p over all pairs of samples."""

    @abc.abstractmethod
    def whole(self) -> AbstractKernelOperator:
        """The whole Θʰ as an operator."""

    @abc.abstractmethod
    def matrix_blocks(self) -> MatrixBlockKernel:
        """A_d, A_c, A_n of the whole Θʰ."""

    @abc.abstractmethod
    def linearized(self) -> AbstractKernelOperator:
        """The whole Θ of the logits as an operator."""

    @abc.abstractmethod
    def mean_jacobian(self, step_size: float, steps: int) -> AbstractKernelOperator:
        """J̄J̄ᵀ over so many steps of full-batch descent, without momentum, from this moment on."""

    def knows(self, form: Form) -> bool:
        """Whether that form can be asked for."""
        return FORMS.index(form) <= FORMS.index(self.form)


@final
@dataclasses.dataclass(frozen=True)
class NetworkKernels(AbstractSnapshotKernels):
    """Measured on a network whenever they are asked for.

    Attributes:
        network: the network as a function of one sample, whose kernels over pairs of samples are measured: with batch
            normalisation that of the training samples' statistics, held fixed.
        trained: the network as training sees it, with the statistics of the batch of all training samples, through
            which derivatives go; the same one without batch normalisation. The whole Θ and Θʰ are its.
        problem: data and Z.
        precision: that kernels over pairs of samples are measured in.
    """

    network: AbstractClassifier
    trained: AbstractClassifier
    problem: Problem
    precision: Precision

    @property
    def form(self) -> Form:
        """Everything."""
        return "network"

    def single(self, of: Of) -> Float[Array, "outputs samples samples"]:
        """Θ_{k,k} of every output, or Θʰ_{p,p} of every feature, in the stated precision."""
        network, inputs = in_precision(self.network, self.precision), self.problem.inputs.astype(self.precision)
        return empirical_ntk(network, inputs, of=of, trace="outputs").values

    def own(self) -> Float[Array, "features samples samples"]:
        """Measured by the engine of empirical kernels."""
        return self.single("features")

    def whole(self) -> TangentKernel:
        """Applied through the network; never formed."""
        return TangentKernel(inside_loops(self.trained), self.problem.inputs, "features")

    def matrix_blocks(self) -> MatrixBlockKernel:
        """From the whole kernel, tile by tile."""
        return network_output_pairs(self.network, self.problem.inputs, self.problem.classes).blocks

    def linearized(self) -> TangentKernel:
        """Applied through the network; never formed."""
        return TangentKernel(inside_loops(self.trained), self.problem.inputs, "logits")

    def mean_jacobian(self, step_size: float, steps: int) -> MeanTangentKernel:
        """The steps are taken here."""
        networks = descent_path(self.trained, self.problem, jnp.asarray(step_size), steps)
        return MeanTangentKernel(inside_loops(networks), self.problem.inputs, "features")


@final
@dataclasses.dataclass(frozen=True)
class GivenKernels(AbstractSnapshotKernels):
    """Known as an array, without the network.

    Attributes:
        values: Θʰ in the most detailed form known: (1/n) Σ_p Θʰ_{p,p} as (samples, samples), Θʰ_{p,p} as (features,
            samples, samples), or Θʰ_{p,q}(xᵢ, xⱼ) at [p, i, q, j].
        state: H, W, b.
        classes: C.
    """

    values: Float[Array, "*shape"]
    state: SampleState
    classes: int

    @property
    def form(self) -> Form:
        """By the number of axes."""
        return FORMS[self.values.ndim - 2]

    def own(self) -> Float[Array, "features samples samples"]:
        """As given, or the diagonal over features of the whole one."""
        self._require("own")
        return jnp.einsum("pipj->pij", self.values) if self.form == "whole" else self.values

    def whole(self) -> WholeKernel:
        """As given."""
        self._require("whole")
        return WholeKernel(self.values)

    def matrix_blocks(self) -> MatrixBlockKernel:
        """The nearest one to the whole kernel."""
        self._require("whole")
        return MatrixBlockKernel.nearest(self.values, self.classes)

    def linearized(self) -> ReadoutKernel:
        """What the readout makes of the whole Θʰ."""
        return ReadoutKernel(self.whole(), self.state.features, self.state.weight)

    def mean_jacobian(self, step_size: float, steps: int) -> AbstractKernelOperator:
        """Not known: no step can be taken without the network."""
        del step_size, steps
        self._require("network")
        raise AssertionError

    def _require(self, form: Form) -> None:
        if not self.knows(form):
            raise ValueError(f"{WORDS[form]} is needed; what was given is {WORDS[self.form]}")
