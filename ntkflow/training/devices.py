"""Several devices: the samples of a batch, or the members of an ensemble, shared out among them.

Meshes have automatic axes (``AxisType.Auto``): the compiler splits the work and adds the sums over devices, and the
programs are those of one device.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

import equinox as eqx
import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ntkflow.training.ensemble import member_count
from ntkflow.training.recipe import Recipe

AXIS = "devices"
"""Name of a mesh's only axis."""

Tree = TypeVar("Tree")


def device_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A row of devices; None: all there are."""
    devices = list(jax.devices() if devices is None else devices)
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def replicate(tree: Tree, mesh: Mesh) -> Tree:
    """Every array whole on every device: states and recipes of data-parallel training, recipes of an ensemble."""
    return _put(tree, NamedSharding(mesh, PartitionSpec()))


def split_batches(recipe: Recipe, mesh: Mesh) -> Recipe:
    """Data-parallel training: each device has all samples, and computes with its share of every batch.

    Batch normalisation keeps the statistics of the whole batch. The state has to be replicated
    (:func:`replicate`). Sums are in another order than on one device, so results agree to rounding.

    Raises:
        ValueError: a batch that is not a multiple of the devices.
    """
    if recipe.batch_size % mesh.size:
        raise ValueError(
            f"split_batches: batches of {recipe.batch_size} samples cannot be shared equally by {mesh.size} devices"
        )
    placed = replicate(recipe, mesh)
    return dataclasses.replace(placed, batch_sharding=NamedSharding(mesh, PartitionSpec(AXIS)))


def split_members(stacked: Tree, mesh: Mesh) -> Tree:
    """Ensembles: each device has its share of the members, of a stacked state or of stacked schedules.

    Raises:
        ValueError: members that are not a multiple of the devices.
    """
    if member_count(stacked) % mesh.size:
        raise ValueError(
            f"split_members: {member_count(stacked)} members cannot be shared equally by {mesh.size} devices"
        )
    return _put(stacked, NamedSharding(mesh, PartitionSpec(AXIS)))


def _put(tree: Tree, sharding: NamedSharding) -> Tree:
    arrays, rest = eqx.partition(tree, eqx.is_array)
    return eqx.combine(jax.device_put(arrays, sharding), rest)
