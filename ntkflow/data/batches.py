"""Mini-batches with exactly as many samples of every class, as indices into samples sorted by class."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray


def balanced_epoch(
    key: PRNGKeyArray, classes: int, per_class: int, batch_per_class: int
) -> Int[Array, "batches batch"]:
    """The batches of one epoch: every class is permuted anew and dealt out, ``batch_per_class`` to each batch.

    Each row is a batch of indices into training samples that are sorted by class, and is sorted by class itself, so
    that a batch is a balanced set with the same conventions as the whole. No index comes twice. Where
    ``batch_per_class`` does not divide ``per_class``, the ``per_class % batch_per_class`` samples of each class that
    fill no batch are dropped in this epoch; which they are is drawn anew in each.

    Everything but ``key`` is a shape. The result is made on the device and can be scanned over inside a compiled loop.

    Args:
        key: of the permutations; another one for each epoch.
        classes: C.
        per_class: training samples of each class.
        batch_per_class: m, samples of each class in a batch; a batch has C·m.

    Raises:
        ValueError: ``batch_per_class`` below 1 or above ``per_class``.
    """
    if not 1 <= batch_per_class <= per_class:
        raise ValueError(
            f"batch_per_class must lie between 1 and the {per_class} samples of each class, but is {batch_per_class}"
        )
    batches = per_class // batch_per_class
    indices = jnp.arange(classes * per_class, dtype=jnp.int32).reshape(classes, per_class)
    shuffled = jax.vmap(jax.random.permutation)(jax.random.split(key, classes), indices)
    dealt = shuffled[:, : batches * batch_per_class].reshape(classes, batches, batch_per_class)
    return dealt.swapaxes(0, 1).reshape(batches, classes * batch_per_class)
