"""How the steps of an epoch are looped over: in one compiled program, or from Python."""

from __future__ import annotations

from typing import Any, Literal

import equinox as eqx
import jax

from ntkflow.networks import AbstractClassifier, Convolution, with_product_convolutions

Loop = Literal["compiled", "dispatched", "auto"]
"""``compiled``: all steps of an epoch are one program, a loop on the device. ``dispatched``: one compiled step that
Python calls again and again, without waiting for it and without bringing anything back. ``auto``: dispatched on CPUs
for networks with convolutions, which XLA runs several times slower inside its own loops; compiled otherwise."""


def chosen_loop(loop: Loop, network: Any) -> Loop:
    """``auto`` decided for a network by its layers and by the platform that it is on."""
    if loop != "auto":
        return loop
    return "dispatched" if _platform(network) == "cpu" and has_convolutions(network) else "compiled"


def has_convolutions(network: Any) -> bool:
    """Whether any layer of the network is a convolution, of ntkflow or of Equinox."""
    kinds = (Convolution, eqx.nn.Conv)
    return any(
        isinstance(node, kinds) for node in jax.tree.leaves(network, is_leaf=lambda node: isinstance(node, kinds))
    )


def inside_loops(network: AbstractClassifier) -> AbstractClassifier:
    """The same function in the form that a compiled loop, as a solver's, applies fastest: on CPUs with convolutions as
    matrix products (:func:`ntkflow.networks.with_product_convolutions`)."""
    return with_product_convolutions(network) if _platform(network) == "cpu" else network


def _platform(network: Any) -> str:
    arrays = [leaf for leaf in jax.tree.leaves(network) if isinstance(leaf, jax.Array)]
    return next(iter(arrays[0].devices())).platform if arrays else jax.default_backend()
