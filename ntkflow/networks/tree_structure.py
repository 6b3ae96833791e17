"""What a PyTree is made of, in words that are the same in every process: by it one network is told from another."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

StructureLine = tuple[str, str]
"""A place inside a tree, such as ``.layers[0].weight``, and what is there, such as ``float64[8, 64]``."""


def tree_structure(tree: Any, place: str = "") -> Iterator[StructureLine]:
    """Every node and leaf of a tree, parents first: classes with their static fields, arrays with dtype and shape.

    Functions go by their names and Python's numbers by their values. No memory address is in it, as in the ``repr`` of
    a function, so that two processes say the same of the same network.
    """
    children = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda other: other is not tree)[0]
    if len(children) == 1 and children[0][1] is tree:
        yield place, _leaf(tree)
        return
    yield place, type(tree).__qualname__ if tree is not None else "None"
    if isinstance(tree, eqx.Module):
        static = [field.name for field in dataclasses.fields(tree) if field.metadata.get("static", False)]
        for name in static:
            yield f"{place}.{name}", _static(getattr(tree, name))
    for path, child in children:
        yield from tree_structure(child, place + jax.tree_util.keystr(path))


def is_stored_array(leaf: Any) -> bool:
    """Whether a leaf is an array, or the shape and dtype of one; typed random keys are."""
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct)


def is_key(leaf: Any) -> bool:
    """Whether an array holds typed random keys."""
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def first_difference(stored: list[StructureLine], wanted: list[StructureLine]) -> tuple[str, str, str] | None:
    """The first place at which two structures differ and what each has there; ``None`` if they are the same."""
    for index in range(max(len(stored), len(wanted))):
        ours = wanted[index] if index < len(wanted) else None
        theirs = stored[index] if index < len(stored) else None
        if ours == theirs:
            continue
        place = (theirs or ours or ("", ""))[0]
        mine = ours[1] if ours is not None and ours[0] == place else "nothing"
        return place or "the top", theirs[1] if theirs is not None else "nothing", mine
    return None


def _leaf(leaf: Any) -> str:
    if is_stored_array(leaf):
        return f"{leaf.dtype}[{', '.join(map(str, leaf.shape))}]"
    return _static(leaf)


def _static(value: Any) -> str:
    if value is None or isinstance(value, str | bool | int | float | complex):
        return repr(value)
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_static, value))})"
    if isinstance(value, np.dtype):
        return str(value)
    return getattr(value, "__qualname__", None) or getattr(value, "__name__", None) or type(value).__qualname__
