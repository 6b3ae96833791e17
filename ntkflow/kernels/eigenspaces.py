"""The three eigenspaces of every block-structured kernel, and the split of an array into its parts there.

They do not depend on the kernel's values: the constant vectors (global mean), the vectors constant on each class with
mean zero (class means), and the vectors with mean zero on each class (within class). Paper 3, Table 1 and (10)–(18),
where the class part still contains the global mean; here the three parts are orthogonal, so that their squared norms
add up.
"""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

EIGENSPACES = ("global_mean", "class_means", "within_class")
"""Names of the three eigenspaces, in the order in which norms, rates and tables list them."""


class EigenspaceSplit(eqx.Module):
    """An array over sorted samples, written as global mean + class means + what is left within each class.

    The two means are stored once, not once a sample. ``norms`` counts every sample.
    """

    global_mean: Float[Array, "*rows"]
    class_means: Float[Array, "*rows classes"]
    within_class: Float[Array, "*rows classes per_class"]

    def norms(self) -> Float[Array, "3"]:
        """Frobenius norms of the three parts as arrays over all samples; their squares add to ‖array‖²."""
        classes, per_class = self.within_class.shape[-2:]
        return jnp.stack(
            [
                jnp.sqrt(classes * per_class * jnp.sum(self.global_mean**2)),
                jnp.sqrt(per_class * jnp.sum(self.class_means**2)),
                jnp.sqrt(jnp.sum(self.within_class**2)),
            ]
        )

    def parts(self) -> Float[Array, "3 *rows samples"]:
        """The three parts as arrays over all samples; they add up to the array that was split."""
        shape = self.within_class.shape
        flat = (*shape[:-2], shape[-2] * shape[-1])
        return jnp.stack(
            [
                jnp.broadcast_to(self.global_mean[..., None, None], shape).reshape(flat),
                jnp.broadcast_to(self.class_means[..., None], shape).reshape(flat),
                self.within_class.reshape(flat),
            ]
        )


def split_eigenspaces(array: Float[Array, "*rows samples"], classes: int) -> EigenspaceSplit:
    """Split an array whose last axis runs over samples sorted by class, every class of the same size.

    Args:
        array: any array; the last axis has N = C·m samples, the first m of class 0, and so on.
        classes: C.

    Raises:
        ValueError: if the number of samples is no multiple of ``classes``.
    """
    samples = array.shape[-1]
    if samples % classes:
        raise ValueError(f"{samples} samples cannot be sorted into {classes} classes of equal size")
    by_class = array.reshape(*array.shape[:-1], classes, samples // classes)
    class_mean = jnp.mean(by_class, axis=-1)
    global_mean = jnp.mean(class_mean, axis=-1)
    return EigenspaceSplit(
        global_mean=global_mean,
        class_means=class_mean - global_mean[..., None],
        within_class=by_class - class_mean[..., None],
    )
