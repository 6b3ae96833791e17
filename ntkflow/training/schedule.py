"""The step size as a function of the epoch."""

from __future__ import annotations

import abc

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

_DROPS = 32
"""After so many drops the step size stays as it is: divided by 10 each time, it is 10⁻³² of the first."""


class AbstractSchedule(eqx.Module):
    """η(epoch), a pure function; epochs count from 0.

    The initial step size is an array: it may be traced, and be one for each member of an ensemble.
    """

    step_size: eqx.AbstractVar[Float[Array, "*members"]]

    @abc.abstractmethod
    def __call__(self, epoch: Int[Array, ""]) -> Float[Array, ""]:
        """η during an epoch."""


class Constant(AbstractSchedule):
    """η(epoch) = η₀.

    Args:
        step_size: η₀.
    """

    step_size: Float[Array, "*members"] = eqx.field(converter=jnp.asarray)

    def __call__(self, epoch: Int[Array, ""]) -> Float[Array, ""]:
        """η₀."""
        return self.step_size


class Steps(AbstractSchedule):
    """η(epoch) = η₀/factor^⌊epoch/every⌋; paper 3, section 6: divided by 10 every 120 epochs.

    Args:
        step_size: η₀.
        every: epochs between two drops.
        factor: what η is divided by at each.

    Raises:
        ValueError: ``every`` below 1, or a factor that is not positive.
    """

    step_size: Float[Array, "*members"] = eqx.field(converter=jnp.asarray)
    every: int = eqx.field(static=True, default=120)
    factor: float = eqx.field(static=True, default=10.0)

    def __check_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"Steps: every must be 1 epoch or more, not {self.every}")
        if not self.factor > 0:
            raise ValueError(f"Steps: factor must be positive, not {self.factor}")

    def __call__(self, epoch: Int[Array, ""]) -> Float[Array, ""]:
        """η₀/factor^⌊epoch/every⌋."""
        # A table, because powers with a traced exponent are rounded differently from device to device.
        with np.errstate(over="ignore"):
            divisors = (np.float64(self.factor) ** np.arange(_DROPS + 1)).astype(self.step_size.dtype)
        drops = jnp.minimum(epoch // self.every, _DROPS)
        return self.step_size / jnp.asarray(divisors)[drops]


def step_times(schedule: AbstractSchedule, epochs: int, steps_per_epoch: int) -> Float[np.ndarray, " boundaries"]:
    """t = Σ η over the steps before the beginning of epochs 0, 1, …, ``epochs``: gradient-flow time without momentum.

    With momentum multiply by :attr:`ntkflow.training.SGD.time_factor`; ``docs/theory/training.md`` says when that
    holds.
    """
    sizes = [float(schedule(jnp.asarray(epoch, jnp.int32))) for epoch in range(epochs)]
    return np.concatenate([[0.0], np.cumsum(np.asarray(sizes, float) * steps_per_epoch)])
