"""Targets of the classes."""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow.data.normalization import Precision

LabelEncoding = Literal["one_hot", "zero_centred"]


def class_targets(
    classes: int, encoding: LabelEncoding, dtype: Precision = "float64"
) -> Float[Array, "classes classes"]:
    """Column c is the target of class c: a unit vector, or a unit vector with 1/C taken off every coordinate."""
    identity = np.eye(classes, dtype=dtype)
    return jnp.asarray(identity if encoding == "one_hot" else identity - 1 / classes)
