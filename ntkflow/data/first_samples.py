"""A part of samples that are sorted by class, as many of each class."""

from __future__ import annotations

from jaxtyping import Array, Shaped

from ntkflow.kernels.requirements import class_size


def first_of_each(array: Shaped[Array, "samples ..."], classes: int, per_class: int) -> Shaped[Array, "chosen ..."]:
    """The first ``per_class`` samples of each class of an array sorted by class.

    Raises:
        ValueError: more than there are, or fewer than 1.
    """
    m = class_size(array.shape[0], classes)
    if not 1 <= per_class <= m:
        raise ValueError(f"between 1 and {m} samples of each class can be taken, not {per_class}")
    by_class = array.reshape(classes, m, *array.shape[1:])
    return by_class[:, :per_class].reshape(classes * per_class, *array.shape[1:])
