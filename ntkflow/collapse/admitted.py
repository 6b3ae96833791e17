"""Which kernels and targets predictions are made for."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from ntkflow.kernels import BlockKernel


def bias_shift(
    kernel: BlockKernel, targets: Float[np.ndarray, "outputs classes"] | None, outputs: int
) -> Float[np.ndarray, " outputs"]:
    """t of T = I + t1ᵀ: with targets T the flow is the one for T = I with b − t in the place of b.

    Raises:
        ValueError: other targets, one class, another number of outputs than classes, or an eigenvalue of the kernel
            that is not positive.
    """
    classes = kernel.classes
    if classes < 2:
        raise ValueError("neural collapse needs at least two classes")
    for name, value in zip(("mu_global", "mu_class", "mu_single"), kernel.eigenvalues, strict=True):
        if not float(value) > 0 and not (name == "mu_single" and kernel.per_class == 1):
            raise ValueError(f"a prediction needs {name} > 0, not {float(value):g}: the invariant bounds nothing else")
    identity = np.eye(classes)
    targets = identity if targets is None else targets
    if outputs != classes or targets.shape != (classes, classes):
        raise ValueError(
            f"NC1–NC4 compare the rows of W with the means of C = {classes} classes; got {outputs} outputs and targets "
            f"of shape {targets.shape}"
        )
    shift = (targets - identity).mean(axis=1)
    if not np.abs(targets - identity - shift[:, None]).max() <= 1e-12:
        raise ValueError("a prediction needs one-hot targets, or these with one vector added to every column")
    return shift
