"""The samples at which a finished kernel is not finite."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from ntkflow.kernels.empirical.network_program import Trace


def refuse_not_finite_samples(
    values: Array | np.ndarray, trace: Trace, *, same: bool, first_row: int = 0, first_column: int = 0
) -> None:
    """Raise ``ValueError`` that names the samples.

    One sample that is not finite spoils its pairs with all others, which are not to blame: where rows and columns are
    the same samples, those whose kernel with themselves is not finite are named; otherwise those without any finite
    pair. Where there are none, as where products overflow, it is all that are in such a pair.

    Args:
        values: as :func:`ntkflow.kernels.empirical_ntk` returns it.
        trace: of these.
        same: whether rows and columns are the same samples.
        first_row: number of the first sample of the rows.
        first_column: of the columns.
    """
    finite = _finite_pairs(values, trace)
    if finite.all():
        return
    if same:
        bad = [np.flatnonzero(~np.diagonal(finite)), np.array([], int)]
    else:
        bad = [np.flatnonzero(~finite.any(axis=1)), np.flatnonzero(~finite.any(axis=0))]
    if not bad[0].size and not bad[1].size:
        bad = [np.flatnonzero(~finite.all(axis=1)), np.array([], int)]
    which, axis = ("sample", 0) if bad[0].size else ("sample x'", 1)
    first = int(bad[axis][0]) + (first_column if axis else first_row)
    raise ValueError(
        f"the kernel is not finite at {bad[axis].size} of {finite.shape[axis]} samples, the first is {which} {first}: "
        "the network's outputs, its gradients or the sample itself are not finite there. Look at that sample, and "
        "whether training has diverged"
    )


def _finite_pairs(values: Array | np.ndarray, trace: Trace) -> Bool[np.ndarray, "rows columns"]:
    """For which pairs of samples all outputs are finite."""
    axes = {None: (0, 2), "outputs": (0,)}.get(trace, ())
    if not isinstance(values, np.ndarray):
        return np.asarray(_finite(values, axes))
    # Row by row: of a large kernel that came in tiles no second array of that size is made.
    rows = np.moveaxis(values, {None: 1, "outputs": 1}.get(trace, 0), 0)
    outputs = {None: (0, 1), "outputs": (0,)}.get(trace, ())
    return np.array([np.isfinite(row).all(axis=outputs) for row in rows])


@functools.partial(jax.jit, static_argnames="axes")
def _finite(values: Array, axes: tuple[int, ...]) -> Bool[Array, "rows columns"]:
    return jnp.isfinite(values).all(axes)
