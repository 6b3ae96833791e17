"""Where work is done: the devices that it is dealt out to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import equinox as eqx
import jax

Tree = TypeVar("Tree")


def homes(devices: Sequence[jax.Device] | None) -> list[jax.Device | None]:
    """The devices; one ``None``, which is the default device, unless told.

    Raises:
        ValueError: a list without devices.
    """
    if devices is None:
        return [None]
    if not devices:
        raise ValueError("devices is empty: give at least one, as jax.devices(), or None for the default device")
    return list(devices)


def moved(value: Tree, device: jax.Device | None) -> Tree:
    """Its arrays on a device; ``None`` leaves them where they are."""
    if device is None:
        return value
    dynamic, static = eqx.partition(value, eqx.is_array)
    return eqx.combine(jax.device_put(dynamic, device), static)
