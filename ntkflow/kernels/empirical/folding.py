"""Layers that are read together with the scales and shifts that their neurons go through next.

Normalisation by constant statistics, gain, shift and bias are y_o = s_o ⟨W_o, a⟩ + l_o all together, with numbers s_o
and l_o for every neuron. Read as one layer with weights s_o W_o, such a chain needs the derivative with respect to y
alone, and neither gains nor shifts have to be summed over positions
(:mod:`ntkflow.kernels.empirical.neurons`).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
from jax.extend.core import JaxprEqn
from jaxtyping import Array, Float

from ntkflow.kernels.empirical.neurons import Neurons
from ntkflow.kernels.empirical.sites import AbstractLayerSite, FoldedSite

_RESHAPES = ("reshape", "squeeze", "expand_dims", "broadcast_in_dim", "copy", "copy_p")


@dataclasses.dataclass(frozen=True)
class Step:
    """One equation that a layer's result went through: the operands, the result's place among them left open."""

    equation: JaxprEqn
    operands: tuple[Any, ...]
    place: int


@dataclasses.dataclass(frozen=True)
class Folding:
    """A layer that is read but not computed yet, and what its result has gone through since.

    Attributes:
        site: the layer.
        operand: a, as W meets it.
        weight: W, as it meets a.
        constant: W is this number times the parameter array.
        step: the layer's own equation; what is left open is W.
        axes: of the neurons in W and in the layer's result.
        axis: of the neurons in what came out last.
        scale: s.
        offset: l.
        others: parameter arrays in s and l.
        slopes: ∂s/∂θ for each of them.
        levels: ∂l/∂θ.
        steps: the equations since the layer's.
    """

    site: AbstractLayerSite
    operand: Array
    weight: Array
    constant: Array
    step: Step
    axes: tuple[int, int]
    axis: int
    scale: Float[Array, " neurons"]
    offset: Float[Array, " neurons"]
    others: tuple[int, ...] = ()
    slopes: tuple[Float[Array, " neurons"], ...] = ()
    levels: tuple[Float[Array, " neurons"], ...] = ()
    steps: tuple[Step, ...] = ()

    def moved(self, step: Step, before: tuple[int, ...], after: tuple[int, ...]) -> Folding | None:
        """After an equation with one operand; ``None`` where it does more than move or negate."""
        name, axis = step.equation.primitive.name, None
        if name == "neg":
            return self._affine(-1, 0, step)
        if name == "transpose":
            axis = step.equation.params["permutation"].index(self.axis)
        elif name in _RESHAPES and math.prod(before) == math.prod(after):
            # Entries stay in order: the neurons' axis is the one of their number with as many rows before it.
            kept = (math.prod(before[: self.axis]), before[self.axis])
            places = [place for place, size in enumerate(after) if (math.prod(after[:place]), size) == kept]
            axis = places[0] if len(places) == 1 else None
        return None if axis is None else dataclasses.replace(self, axis=axis, steps=(*self.steps, step))

    def combined(
        self, step: Step, value: Float[Array, " neurons"], leaf: int | None, constant: Array | float
    ) -> Folding | None:
        """After an equation with a number for each neuron; of a parameter array it is ``constant`` times its entry."""
        name, first = step.equation.primitive.name, step.place == 0
        if name == "mul":
            after, slope, level = self._affine(value, 0, step), constant * self.scale, constant * self.offset
        elif name == "div" and first and leaf is None:
            return self._affine(1 / value, 0, step)
        elif name in ("add", "sub"):
            own, sign = -1 if name == "sub" and not first else 1, -1 if name == "sub" and first else 1
            after = self._affine(own, sign * value, step)
            slope, level = jnp.zeros_like(self.scale), jnp.broadcast_to(sign * constant, self.scale.shape)
        else:
            return None
        if leaf is None:
            return after
        return dataclasses.replace(
            after,
            others=(*after.others, leaf),
            slopes=(*after.slopes, slope),
            levels=(*after.levels, level.astype(self.scale.dtype)),
        )

    def numbers(self, value: Any, repeated: tuple[int, ...], shape: tuple[int, ...]) -> Float[Array, " neurons"] | None:
        """What something that meets the result gives to each neuron; ``None`` where that differs between positions."""
        value = jnp.asarray(value, self.scale.dtype)
        if value.ndim:
            differs = {axis for axis, size in enumerate(value.shape) if size > 1 and axis not in repeated}
            if value.ndim != len(shape) or not differs <= {self.axis}:
                return None
            value = value[tuple(slice(None) if axis == self.axis else 0 for axis in range(value.ndim))]
        return jnp.broadcast_to(value, self.scale.shape)

    def folded(self) -> tuple[FoldedSite, Neurons, Array, Float[Array, "..."]]:
        """The place, its neurons, the weights s_o W_o, and l in the shape of the layer's result."""
        of_weight, of_result = self.axes
        rows = self.site.rows(self.weight)
        neurons = Neurons(rows, self.constant * self.scale, jnp.stack(self.slopes), jnp.stack(self.levels))
        positions = math.prod(self.site.shape) // rows.shape[0]
        site = FoldedSite(self.site.leaf, self.site.shape, self.site, self.others, with_one=positions >= rows.shape[1])
        scaled = self.weight * _along(self.scale, of_weight, self.weight.ndim)
        return site, neurons, scaled, _along(self.offset, of_result, len(self.site.shape))

    @property
    def moves(self) -> tuple[Step, ...]:
        """The equations that are neither s nor l."""
        return tuple(step for step in self.steps if step.equation.primitive.name in {"transpose", *_RESHAPES})

    def _affine(self, times: Array | int, plus: Array | int, step: Step) -> Folding:
        return dataclasses.replace(
            self,
            scale=self.scale * times,
            offset=self.offset * times + plus,
            slopes=tuple(slope * times for slope in self.slopes),
            levels=tuple(level * times for level in self.levels),
            steps=(*self.steps, step),
        )


def unfolded(site: AbstractLayerSite, operand: Array, parameter: Any, step: Step) -> Folding | None:
    """A layer to which nothing has happened yet; ``None`` where nothing would be gained.

    That is so for one position: there the factors of each array are small, and contracted as they are.

    Args:
        site: the layer.
        operand: a.
        parameter: W, with ``value`` and ``scale``.
        step: the layer's equation, W's place left open.
    """
    axes = site.neuron_axes
    if axes is None:
        return None
    neurons = site.shape[axes[1]]
    if math.prod(site.shape) == neurons:
        return None
    dtype = parameter.value.dtype
    constant = jnp.asarray(parameter.scale, dtype)
    ones = jnp.ones(neurons, dtype)
    return Folding(site, operand, parameter.value, constant, step, axes, axes[1], ones, 0 * ones)


def _along(numbers: Float[Array, " neurons"], axis: int, ndim: int) -> Float[Array, "..."]:
    return numbers.reshape([-1 if i == axis else 1 for i in range(ndim)])
