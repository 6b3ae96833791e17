"""What was found out about a network's program, for the next network of the same shape.

Reading a program and asking the compiler what it holds takes longer than a small kernel. Both depend on shapes and on
what is no array, never on the numbers, so a kernel that is measured again and again in training plans once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import equinox as eqx
import jax

Found = TypeVar("Found")

_KEPT = 256
_found: OrderedDict[Hashable, Any] = OrderedDict()


def remembered(make: Callable[..., Found], *described: Any) -> Found:
    """``make(*described)``, or what it gave when everything described had the same shapes and the same rest.

    Args:
        make: gives a small object without arrays, which depends on nothing but what is described.
        described: any PyTrees; where something in them cannot be hashed, nothing is remembered.
    """
    arrays, rest = eqx.partition(described, eqx.is_array)
    leaves, structure = jax.tree.flatten(rest)
    shapes = tuple((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(arrays))
    key = (make, structure, jax.tree.structure(arrays), shapes, tuple(leaves))
    try:
        known = key in _found
    except TypeError:
        return make(*described)
    if not known:
        _found[key] = make(*described)
        if len(_found) > _KEPT:
            _found.popitem(last=False)
    _found.move_to_end(key)
    return _found[key]
