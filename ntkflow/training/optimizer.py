"""Optimisers as directions: what the step size multiplies, from the gradients up to now."""

from __future__ import annotations

import abc
import math
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

Decay = Literal["coupled", "decoupled"]
"""``coupled``: λθ is added to the gradient, before momentum and moments (PyTorch's ``weight_decay`` of SGD and Adam).
``decoupled``: λθ is added to the direction after them (AdamW; Loshchilov & Hutter 2019)."""

Decayed = Literal["all", "weights"]
"""Which parameters decay. ``all``: every one, biases and the gains and shifts of normalisations too, as PyTorch does by
default. ``weights``: those with two axes or more, of dense and convolutional layers."""


class AbstractOptimizer(eqx.Module):
    """θ ← θ − η u, with a direction u that does not depend on η.

    The step size comes last and may be traced: one compiled program serves every schedule, and an ensemble may have a
    step size for each member. A change of η acts at once on all of u, the momentum in it included, as in PyTorch;
    where η is inside the velocity, v ← βv − η∇L, it would act on new gradients only. With a constant η both are
    the same.
    """

    weight_decay: eqx.AbstractVar[float]
    decay: eqx.AbstractVar[Decay]
    decayed: eqx.AbstractVar[Decayed]

    @abc.abstractmethod
    def without_decay(self) -> optax.GradientTransformation:
        """The direction from gradients alone."""

    def transformation(self) -> optax.GradientTransformation:
        """The direction u as an Optax transformation, weight decay included; neither −1 nor η is in it."""
        if self.weight_decay == 0:
            return self.without_decay()
        decaying = optax.add_decayed_weights(self.weight_decay, _weights if self.decayed == "weights" else None)
        parts = (decaying, self.without_decay()) if self.decay == "coupled" else (self.without_decay(), decaying)
        return optax.chain(*parts)


class SGD(AbstractOptimizer):
    """Gradient descent with momentum: v ← βv + g from v = 0, and u = v, or u = g + βv (Nesterov), as in PyTorch.

    g is the gradient of a batch. Weight decay λ: coupled, g ← g + λθ; decoupled, u ← u + λθ. With momentum the two
    differ by 1/(1 − β) in what they do to slow parameters (``docs/theory/training.md``).

    Paper 3, section 6: ``SGD(momentum=0.9, nesterov=True, weight_decay=5e-4)``.

    Args:
        momentum: β in [0, 1).
        nesterov: whether the momentum looks ahead.
        weight_decay: λ ≥ 0.
        decay: where λθ enters, :data:`Decay`.
        decayed: which parameters decay, :data:`Decayed`.

    Raises:
        ValueError: β or λ outside its range, or Nesterov without momentum.
    """

    momentum: float = eqx.field(static=True, default=0.0)
    nesterov: bool = eqx.field(static=True, default=False)
    weight_decay: float = eqx.field(static=True, default=0.0)
    decay: Decay = eqx.field(static=True, default="coupled")
    decayed: Decayed = eqx.field(static=True, default="all")

    def __check_init__(self) -> None:
        _require_share("SGD: momentum", self.momentum)
        _require_decay("SGD", self.weight_decay)
        if self.nesterov and self.momentum == 0:
            raise ValueError("SGD: nesterov needs momentum; give momentum, 0.9 for example, or nesterov=False")

    @property
    def time_factor(self) -> float:
        """1/(1 − β): gradient-flow time passes this much faster than η a step, once momentum has built up."""
        return 1 / (1 - self.momentum)

    def without_decay(self) -> optax.GradientTransformation:
        """v or g + βv."""
        if self.momentum == 0:
            return optax.identity()
        return optax.trace(self.momentum, self.nesterov)


class Adam(AbstractOptimizer):
    """u = m̂/(√v̂ + ε), from running means m̂, v̂ of g and g² with their start corrected (Kingma & Ba 2015).

    With ``decay="decoupled"`` AdamW. Training by it is no gradient flow of the loss, and no time is claimed for it.

    Args:
        b1: β₁ in [0, 1), of the mean of g.
        b2: β₂ in [0, 1), of the mean of g².
        eps: ε > 0, outside the root.
        weight_decay: λ ≥ 0.
        decay: where λθ enters, :data:`Decay`.
        decayed: which parameters decay, :data:`Decayed`.

    Raises:
        ValueError: β₁, β₂, ε or λ outside its range.
    """

    b1: float = eqx.field(static=True, default=0.9)
    b2: float = eqx.field(static=True, default=0.999)
    eps: float = eqx.field(static=True, default=1e-8)
    weight_decay: float = eqx.field(static=True, default=0.0)
    decay: Decay = eqx.field(static=True, default="coupled")
    decayed: Decayed = eqx.field(static=True, default="all")

    def __check_init__(self) -> None:
        _require_share("Adam: b1", self.b1)
        _require_share("Adam: b2", self.b2)
        if not self.eps > 0:
            raise ValueError(f"Adam: eps must be positive, not {self.eps}")
        _require_decay("Adam", self.weight_decay)

    def without_decay(self) -> optax.GradientTransformation:
        """m̂/(√v̂ + ε)."""

        # Not optax.scale_by_adam: it mixes dtypes without saying so, and in float32 its 1 − β₂ᵏ has an error of 6·10⁻⁵
        # in the first step. The names of parameters are Optax's.
        def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Moments]:
            steps = state.steps + 1
            mean = jax.tree.map(lambda m, g: self.b1 * m + (1 - self.b1) * g, state.mean, updates)
            square = jax.tree.map(lambda v, g: self.b2 * v + (1 - self.b2) * g**2, state.square, updates)

            def direction(m: Array, v: Array) -> Array:
                root = jnp.sqrt(v / _missing(self.b2, steps, v))
                return m / _missing(self.b1, steps, m) / (root + self.eps)

            return jax.tree.map(direction, mean, square), Moments(mean, square, steps)

        return optax.GradientTransformation(_no_moments, update)


class Moments(NamedTuple):
    """Adam's running means of the gradient and of its square, their start not corrected, and how many went in."""

    mean: Any
    square: Any
    steps: Int[Array, ""]


def _no_moments(params: Any) -> Moments:
    mean, square = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
    return Moments(mean, square, jnp.zeros((), jnp.int32))


def _missing(b: float, count: Int[Array, ""], like: Array) -> Float[Array, ""]:
    """1 − bᵏ to the last digit, for 0 ≤ b < 1."""
    if b == 0:
        return jnp.ones((), like.dtype)
    return -jnp.expm1(count.astype(like.dtype) * math.log(b))


def _weights(parameters: Any) -> Any:
    return jax.tree.map(lambda array: array.ndim >= 2, parameters)


def _require_share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be in [0, 1), not {value}")


def _require_decay(name: str, value: float) -> None:
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name}: weight_decay must be 0 or a positive number, not {value}")
