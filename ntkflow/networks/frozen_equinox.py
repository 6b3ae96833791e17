"""Networks with ``eqx.nn.BatchNorm`` as functions of one sample, by statistics that are chosen.

Equinox's own inference mode is no such function near initialisation (seen in 0.13.8). In mode "ema" it normalises by
arrays that nothing has filled. In mode "batch" the variance's average starts at 1 and is divided by 1 − ρᵗ as if it had
started at 0, so that after t updates it is too large by ρᵗ/(1 − ρᵗ): by 99 after one at ρ = 0.99.
"""

from __future__ import annotations

from typing import Any, Literal

import equinox as eqx
import jax
from jaxtyping import Array, Float, PyTree

from ntkflow.networks.batch_classifier import require_statistics
from ntkflow.networks.equinox_statistics import affine, is_norm, reference_statistics, running_statistics
from ntkflow.networks.statistics import Statistics, normalize
from ntkflow.networks.stored import Stored


class FrozenNetwork(eqx.Module):
    """An Equinox network and its state as a function of one sample: constants in, no state out.

    Its parameters are those of the network it came from, in the same layers; statistics and other state are none.
    """

    model: Any
    state: PyTree

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, " outputs"]:
        """Outputs of one sample."""
        return self.model(x, self._state())[0]

    def features(self, x: Float[Array, "..."]) -> Float[Array, " features"]:
        """Features of one sample, from the network's own ``features(x, state)``, which returns them and the state.

        Raises:
            ValueError: the network has no such method.
        """
        if not hasattr(self.model, "features"):
            raise ValueError(
                f"{type(self.model).__name__} has no split into features and readout; give it a method"
                " features(x, state) that returns the last-layer features and the state"
            )
        return self.model.features(x, self._state())[0]

    @property
    def readout(self) -> Any:
        """The network's own ``readout``, where it has one."""
        return self.model.readout

    def feature_matrix(self, inputs: Float[Array, "samples ..."]) -> Float[Array, "features samples"]:
        """H: features of many samples as columns, each on its own."""
        return jax.vmap(self.features, out_axes=1)(inputs)

    def logit_matrix(self, inputs: Float[Array, "samples ..."]) -> Float[Array, "outputs samples"]:
        """f(X): outputs of many samples as columns, each on its own."""
        return jax.vmap(self, out_axes=1)(inputs)

    def _state(self) -> eqx.nn.State:
        return jax.tree.map(lambda leaf: leaf.value if _is_stored(leaf) else leaf, self.state, is_leaf=_is_stored)


def freeze(
    model: eqx.Module,
    state: eqx.nn.State,
    *,
    statistics: Literal["reference", "running"],
    reference: Float[Array, "samples ..."] | None = None,
) -> FrozenNetwork:
    """A network with ``eqx.nn.BatchNorm``, in either mode, as a function of one sample.

    Layers that behave otherwise in inference (dropout) are put in that mode, also while the reference is measured.

    Args:
        model: called as ``model(x, state)``, returning the outputs and the new state.
        state: as ``eqx.nn.make_with_state`` and training made it; it stays valid.
        statistics: ``reference``: mean and biased variance of the reference batch, each layer's measured with the
            layers before it normalised by theirs; this is what training mode uses, in mode "ema" at its first step.
            ``running``: the averages in the state, in mode "batch" freed from their starting values, which Equinox's
            inference leaves in. (Equinox averages biased variances.)
        reference: inputs of the reference batch, one a row.

    Raises:
        ValueError: a reference that is missing, not wanted or without variance; running averages that no batch went
            into; a layer that a pass uses twice, which one pair of statistics does not describe, or not at all; not
            finite.
    """
    if (reference is None) == (statistics == "reference"):
        what = "needs the reference batch" if reference is None else "uses no reference batch"
        raise ValueError(f"freeze: statistics={statistics!r} {what}")
    model = eqx.nn.inference_mode(model)
    found = running_statistics(model, state) if reference is None else reference_statistics(model, state, reference)
    remaining = iter(found)

    def stand_in(node: Any) -> Any:
        if not is_norm(node):
            return node
        # Pyright takes the abstract class variable __call__ of a StatefulLayer for a field.
        return _FrozenNorm(weight=node.weight, bias=node.bias, statistics=next(remaining), eps=node.eps)  # pyright: ignore[reportCallIssue]

    frozen = jax.tree.map(stand_in, model, is_leaf=is_norm)
    require_statistics(frozen)
    rest = jax.tree.map(lambda leaf: Stored(leaf) if eqx.is_inexact_array(leaf) else leaf, state.substate(frozen))
    return FrozenNetwork(frozen, rest)


class _FrozenNorm(eqx.nn.StatefulLayer):
    """Stands where an ``eqx.nn.BatchNorm`` stood, and is called as it was; leaves the state alone."""

    weight: Float[Array, " channels"] | None
    bias: Float[Array, " channels"] | None
    statistics: Statistics
    eps: float = eqx.field(static=True)

    def __call__(  # pyright: ignore[reportIncompatibleVariableOverride]
        self, x: Float[Array, "channels *positions"], state: eqx.nn.State, *, key: Any = None, inference: Any = None
    ) -> tuple[Float[Array, "channels *positions"], eqx.nn.State]:
        del key, inference
        return affine(
            self.weight, self.bias, normalize(x, self.statistics.mean, self.statistics.variance, self.eps)
        ), state


def _is_stored(node: Any) -> bool:
    return isinstance(node, Stored)
