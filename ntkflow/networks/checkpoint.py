"""Networks, and any other PyTrees of arrays, on the disk: whole and undamaged, or refused.

A file is, in this order,

| bytes | what |
|---|---|
| 16 | a mark that this is a checkpoint of ntkflow |
| 8 | length of the header, unsigned, the lowest byte first |
| 32 | SHA-256 of the header |
| … | header, JSON: version of the format, step, seed, details, structure of the tree, size and SHA-256 of the rest |
| … | the arrays' own bytes, one after the other in the order of the tree's leaves, the lowest byte first |

Every byte counts: one that is flipped, missing or added makes the file a damaged one. Only arrays are stored; functions
and static fields come from the tree that is filled, and have to be those of the tree that was saved.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from ntkflow.errors import CheckpointError
from ntkflow.networks.tree_structure import StructureLine, first_difference, is_key, is_stored_array, tree_structure
from ntkflow.results import atomic

CHECKPOINT_VERSION = 1
"""Of the header and of what follows it; the first 56 bytes are the same in all versions."""

_MARK = b"ntkflow.ckpt\r\n\x1a\n"
_START = len(_MARK) + 8 + 32
_AGAIN = "Copy it again from where it is whole, or make it again by the run that it came from."

Tree = TypeVar("Tree")


@dataclasses.dataclass(frozen=True)
class CheckpointHeader:
    """What a checkpoint says of itself.

    Attributes:
        step: training steps that the network has taken.
        seed: of the run it came from.
        details: whatever the writer put there, plain JSON: the network's part of a scenario, for example.
        structure: every node and leaf of the tree, :func:`ntkflow.networks.tree_structure.tree_structure`.
    """

    step: int
    seed: int
    details: Mapping[str, Any]
    structure: tuple[StructureLine, ...] = dataclasses.field(repr=False)


def save_checkpoint(
    path: str | os.PathLike[str], tree: Any, *, step: int, seed: int, details: Mapping[str, Any] | None = None
) -> None:
    """Write a checkpoint: to a temporary file in the same folder, synced, and renamed.

    Whatever stops it, ``path`` holds what it held before.

    Raises:
        CheckpointError: the file cannot be written.
    """
    target = Path(path)
    try:
        atomic.write_bytes(target, encode_checkpoint(tree, step=step, seed=seed, details=details))
    except OSError as error:
        raise CheckpointError(
            f"the checkpoint cannot be written ({error.strerror or error})",
            place=str(target),
            remedy="Choose a folder that exists, in which you may write, on a disk with space.",
        ) from error


def encode_checkpoint(tree: Any, *, step: int, seed: int, details: Mapping[str, Any] | None = None) -> bytes:
    """The bytes of a checkpoint.

    Args:
        tree: the network.
        step: training steps that it has taken.
        seed: of the run.
        details: anything that JSON can hold, numbers finite.
    """
    payload = b"".join(_bytes_of(leaf) for leaf in jax.tree.leaves(tree) if is_stored_array(leaf))
    header = json.dumps(
        {
            "format_version": CHECKPOINT_VERSION,
            "step": step,
            "seed": seed,
            "details": dict(details or {}),
            "structure": list(tree_structure(tree)),
            "payload_size": len(payload),
            "payload_sha256": hashlib.sha256(payload).hexdigest(),
        },
        ensure_ascii=False,
        allow_nan=False,
    ).encode()
    return b"".join([_MARK, len(header).to_bytes(8, "little"), hashlib.sha256(header).digest(), header, payload])


def read_header(path: str | os.PathLike[str]) -> CheckpointHeader:
    """What the checkpoint says of itself, once all of its bytes are known to be right.

    Raises:
        CheckpointError: as :func:`load_checkpoint`, but for another network.
    """
    return _read(Path(path))[0]


def load_checkpoint(path: str | os.PathLike[str], like: Tree) -> tuple[Tree, CheckpointHeader]:
    """The tree that was saved, and the header.

    Args:
        path: the file.
        like: a tree of the same structure, whose arrays may be shapes only (``equinox.filter_eval_shape``).

    Raises:
        CheckpointError: no such file, not a checkpoint, damaged, of a newer version, or of another network: then with
            the first place at which they differ.
    """
    header, payload = _read(Path(path))
    difference = first_difference(list(header.structure), list(tree_structure(like)))
    if difference is not None:
        place, stored, wanted = difference
        raise CheckpointError(
            f"holds another network: at {place} it has {stored}, and {wanted} is needed",
            place=str(path),
            remedy="Give the checkpoint of this network, or describe the network that it holds.",
        )
    leaves, structure = jax.tree.flatten(like)
    sizes = [_size(leaf) if is_stored_array(leaf) else 0 for leaf in leaves]
    if sum(sizes) != len(payload):
        raise _damaged(path, "the arrays take another number of bytes than it holds")
    filled, at = [], 0
    for leaf, size in zip(leaves, sizes, strict=True):
        filled.append(_filled(leaf, payload[at : at + size]) if is_stored_array(leaf) else leaf)
        at += size
    return jax.tree.unflatten(structure, filled), header


def _read(path: Path) -> tuple[CheckpointHeader, memoryview]:
    try:
        data = memoryview(path.read_bytes())
    except OSError as error:
        what = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror or error})"
        raise CheckpointError(what, place=str(path), remedy="Give a checkpoint that ntkflow wrote.") from None
    if data[: len(_MARK)] != _MARK:
        raise CheckpointError(
            "is no checkpoint of ntkflow, or its beginning is damaged",
            place=str(path),
            remedy="Give a checkpoint that ntkflow wrote.",
        )
    length = int.from_bytes(data[len(_MARK) : len(_MARK) + 8], "little")
    if len(data) < _START or length > len(data) - _START:
        raise _damaged(path, f"it ends after {len(data)} bytes, within its header")
    text, payload = data[_START : _START + length], data[_START + length :]
    if hashlib.sha256(text).digest() != data[_START - 32 : _START]:
        raise _damaged(path, "the SHA-256 of its header differs")
    header = json.loads(bytes(text))
    # Only a header of the known version has the known keys.
    if header["format_version"] > CHECKPOINT_VERSION:
        raise CheckpointError(
            f"written by a newer ntkflow: format version {header['format_version']}, and this one reads up to "
            f"{CHECKPOINT_VERSION}",
            place=str(path),
            remedy="Update ntkflow.",
        )
    if len(payload) != header["payload_size"]:
        raise _damaged(path, f"its arrays take {len(payload)} bytes instead of {header['payload_size']}")
    if hashlib.sha256(payload).hexdigest() != header["payload_sha256"]:
        raise _damaged(path, "the SHA-256 of its arrays differs")
    structure = tuple((place, what) for place, what in header["structure"])
    return CheckpointHeader(header["step"], header["seed"], header["details"], structure), payload


def _damaged(path: str | os.PathLike[str], how: str) -> CheckpointError:
    return CheckpointError(f"the checkpoint is damaged: {how}", place=str(path), remedy=_AGAIN)


def _bytes_of(leaf: Any) -> bytes:
    array = np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _raw(leaf: Any) -> jax.ShapeDtypeStruct:
    """Shape and dtype of what is stored of a leaf: of keys, the numbers they are made of."""
    return jax.eval_shape(jax.random.key_data, leaf) if is_key(leaf) else jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


def _size(leaf: Any) -> int:
    raw = _raw(leaf)
    return raw.size * np.dtype(raw.dtype).itemsize


def _filled(like: Any, data: memoryview) -> Any:
    raw = _raw(like)
    array = np.frombuffer(data, np.dtype(raw.dtype).newbyteorder("<")).astype(raw.dtype).reshape(raw.shape)
    if is_key(like):
        kinds: list[Any] = []
        # Traced, because a shape alone has no kind of keys.
        jax.eval_shape(lambda key: kinds.append(jax.random.key_impl(key)), like)
        return jax.random.wrap_key_data(jnp.asarray(array), impl=kinds[0])
    return array if isinstance(like, np.ndarray | np.generic) else jnp.asarray(array)
