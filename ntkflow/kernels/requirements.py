"""What a measure of a kernel matrix demands of it, and the message where the matrix does not have it."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float


def class_size(samples: int, classes: int) -> int:
    """m, the number of samples a class, of ``samples`` samples in ``classes`` classes of equal size.

    Raises:
        ValueError: sizes that cannot be equal, or no whole number of classes.
    """
    if not isinstance(classes, int | np.integer):
        raise ValueError(f"the number of classes is a whole number, not {classes!r}")
    if classes < 1 or samples % classes:
        raise ValueError(f"{samples} samples cannot be sorted into {classes} classes of equal size")
    return samples // classes


def several_of_a_class(samples: int, classes: int, what: str) -> int:
    """m as :func:`class_size` has it, of at least 2.

    Raises:
        ValueError: sizes that cannot be equal, or one sample a class; ``what`` is undefined then.
    """
    m = class_size(samples, classes)
    if m < 2:
        raise ValueError(
            f"{what} is undefined with one sample a class: no two samples share a class; take at least 2 of each"
        )
    return m


def refuse_not_finite(
    array: Float[Array, "..."],
    name: str = "the kernel",
    *,
    remedy: str = "look at the network's outputs on these samples, or measure in float64",
) -> None:
    """Raise ``ValueError`` with the first entry that is not finite, where there is one.

    Says nothing about values that are not known yet, under ``jit`` and ``vmap``.
    """
    if isinstance(array, Tracer) or bool(jnp.isfinite(array).all()):
        return
    wrong = ~np.isfinite(np.asarray(array))
    place = tuple(int(index) for index in np.argwhere(wrong)[0])
    raise ValueError(
        f"{name} is {np.asarray(array)[place]} at {place}, and not finite at {int(wrong.sum())} of {wrong.size} "
        f"entries; {remedy}"
    )


def refuse_skewed(matrix: Float[Array, "*stack samples samples"], name: str = "the kernel") -> None:
    """Raise ``ValueError`` where a matrix differs from its transpose by more than rounding makes it.

    That is, by more than the square root of the machine precision times its largest entry. Says nothing under ``jit``.
    """
    if isinstance(matrix, Tracer):
        return
    gap = float(jnp.max(jnp.abs(matrix - jnp.swapaxes(matrix, -1, -2)), initial=0.0))
    largest = float(jnp.max(jnp.abs(matrix), initial=0.0))
    if gap > float(jnp.finfo(matrix.dtype).eps) ** 0.5 * largest:
        raise ValueError(
            f"{name} is not symmetric: it differs from its transpose by up to {gap:.3g}; "
            "its rows and columns have to be the same samples in the same order"
        )
