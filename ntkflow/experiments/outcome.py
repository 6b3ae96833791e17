"""What an experiment returns, before anything is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import numpy as np
import xarray as xr

from ntkflow.report import Drawing
from ntkflow.results import Summary

Variable = tuple[Sequence[str], np.ndarray, str, str]
"""Dimensions, values, units, long name."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Results, their headline, and the figures to draw from them.

    Attributes:
        tree: groups theory, training, comparison and scenario, as far as the kind has them.
        summary: the headline.
        drawings: figures, drawn from ``tree``.
        timings: seconds by stage.
        files: what else belongs into the folder, by name.
        scenario_is: what scenario.yaml is.
    """

    tree: xr.DataTree
    summary: Summary
    drawings: tuple[Drawing, ...]
    timings: Mapping[str, float]
    files: Mapping[str, bytes] = dataclasses.field(default_factory=dict, repr=False)
    scenario_is: str = "the scenario with every default filled in"


def dataset(variables: Mapping[str, Variable], coordinates: Mapping[str, Sequence[str] | np.ndarray]) -> xr.Dataset:
    """A group of variables that all say their unit and what they are, with labelled dimensions."""
    return xr.Dataset(
        {
            name: (tuple(dimensions), np.asarray(values), {"units": units, "long_name": long_name})
            for name, (dimensions, values, units, long_name) in variables.items()
        },
        coords={name: np.asarray(labels) for name, labels in coordinates.items()},
    )


def scenario_group(*, kind: str, name: str, seed: int, loss_scale: str, text: str) -> xr.Dataset:
    """The group that says what was run: ``loss_scale`` reads like "Z = N = 80"."""
    return xr.Dataset(attrs={"kind": kind, "name": name, "seed": seed, "loss_scale": loss_scale, "yaml": text})


def device() -> str:
    """The device that arrays are made on, as JAX names it."""
    first = jax.devices()[0]
    return f"{first.platform}:{first.id} ({first.device_kind})"
