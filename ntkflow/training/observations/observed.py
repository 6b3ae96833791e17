"""On what a run is measured: the same samples, targets and loss at every moment."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ntkflow.data import first_of_each
from ntkflow.kernels.requirements import class_size, several_of_a_class
from ntkflow.training.observations.objective import Objective

PIECE = 512
"""Samples that go through the network at once unless told."""


@dataclasses.dataclass(frozen=True, eq=False)
class Observed:
    """What does not change from moment to moment. Inputs are in the precision of the network.

    Attributes:
        inputs: the training samples that are measured, N = C·m sorted by class, m of each; all or a balanced part.
        classes: C.
        targets: column c is the target of class c.
        test_inputs: test samples, any balance; none at all is allowed, and gives NaN.
        test_labels: their classes.
        kernel_inputs: the samples of kernels, sorted by class, the same number m ≥ 2 of each (paper 3: 12, or 4 for
            VGG); see :func:`kernel_sample`.
        objective: the loss, with the Z of ``inputs``.
        true_labels: for label noise, the true classes of ``inputs``, which are sorted by the classes that are trained.
        piece: samples that go through the network at once: what bounds the memory of passes and derivatives.

    Raises:
        ValueError: samples that cannot be sorted into classes of equal size, one sample a class for kernels, or arrays
            that do not belong together.
    """

    inputs: Float[Array, "samples ..."]
    classes: int
    targets: Float[Array, "classes classes"]
    test_inputs: Float[Array, "test_samples ..."]
    test_labels: Int[Array, " test_samples"]
    kernel_inputs: Float[Array, "kernel_samples ..."]
    objective: Objective
    true_labels: Int[Array, " samples"] | None = None
    piece: int = PIECE

    def __post_init__(self) -> None:
        class_size(self.samples, self.classes)
        several_of_a_class(self.kernel_inputs.shape[0], self.classes, "the same-class value of a kernel")
        if self.targets.shape[0] != self.classes:
            raise ValueError(f"targets of {self.targets.shape[0]} classes, but {self.classes} classes of samples")
        if self.piece < 1:
            raise ValueError(f"at least 1 sample goes through the network at once, not {self.piece}")

    @property
    def samples(self) -> int:
        """N."""
        return self.inputs.shape[0]

    @property
    def per_class(self) -> int:
        """m of the training samples."""
        return self.samples // self.classes

    @property
    def kernel_per_class(self) -> int:
        """m of the kernels' samples."""
        return self.kernel_inputs.shape[0] // self.classes

    @property
    def labels(self) -> Int[np.ndarray, " samples"]:
        """The class of every training sample: 0 m times, then 1 m times, and so on."""
        return np.repeat(np.arange(self.classes), self.per_class)

    @property
    def target_matrix(self) -> Float[np.ndarray, "classes samples"]:
        """Y in float64: the target of every training sample as a column."""
        return np.repeat(np.asarray(self.targets, dtype=float), self.per_class, axis=1)

    @property
    def of_training(self) -> str:
        """The training samples in words, for definitions."""
        return f"the N = {self.samples} measured training samples ({self.classes} classes of m = {self.per_class})"

    @property
    def of_kernels(self) -> str:
        """The samples of kernels in words."""
        m = self.kernel_per_class
        return f"the kernels' {self.classes * m} training samples ({self.classes} classes of m = {m})"

    @property
    def of_tests(self) -> str:
        """The test samples in words."""
        return f"the {self.test_inputs.shape[0]} test samples"


def kernel_sample(inputs: Float[Array, "samples ..."], classes: int, per_class: int = 12) -> Float[Array, "chosen ..."]:
    """The samples of kernels: the first of each class, of samples that were drawn in a random order.

    Raises:
        ValueError: more than there are.
    """
    return jnp.asarray(first_of_each(inputs, classes, per_class))
