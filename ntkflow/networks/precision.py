"""Networks whose parameters and statistics are all of one floating-point type."""

from __future__ import annotations

from typing import Any, TypeVar

import equinox as eqx
import jax
from jax.typing import DTypeLike

from ntkflow.networks.stored import Stored

Network = TypeVar("Network")


def in_precision(network: Network, precision: DTypeLike) -> Network:
    """The network with every floating-point array of it in this precision; random keys and integers as they are."""

    def changed(leaf: Any) -> Any:
        if isinstance(leaf, Stored):
            return Stored(leaf.value.astype(precision))
        return leaf.astype(precision) if eqx.is_inexact_array(leaf) else leaf

    return jax.tree.map(changed, network, is_leaf=lambda leaf: isinstance(leaf, Stored))
