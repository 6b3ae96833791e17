"""The network of the `comparison` kind: made, or from the file of an earlier run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ntkflow import scenario as schema
from ntkflow.data import Dataset
from ntkflow.errors import CheckpointError
from ntkflow.experiments.networks import make_network
from ntkflow.experiments.settings import named_key
from ntkflow.experiments.stored_network import stored_network
from ntkflow.networks import MLP


@dataclasses.dataclass(frozen=True)
class StartingMLP:
    """The network that a comparison trains.

    Attributes:
        network: as it was made or read.
        built: the part of a scenario that builds such a network.
        origin: the file that it is from, in words; empty for a new one.
    """

    network: MLP
    built: schema.MLP
    origin: str

    @classmethod
    def of(cls, scenario: schema.ComparisonScenario, dataset: Dataset, folder: Path) -> StartingMLP:
        """What the scenario asks for.

        Raises:
            CheckpointError: a file that is damaged, or holds no network for these data or for a forecast.
        """
        if isinstance(scenario.network, schema.MLP):
            key, shape = named_key(scenario.seed, "network"), dataset.inputs.shape[1:]
            network = make_network(scenario.network, input_shape=shape, classes=dataset.classes, key=key)
            return cls(network, scenario.network, "")
        stored = stored_network(scenario.network.path, dataset, folder)
        network, built = stored.network, stored.built
        if isinstance(network, MLP) and isinstance(built, schema.MLP) and built.parametrization == "standard":
            return cls(network, built, stored.origin)
        held = "fully-connected network in the NTK parametrisation" if isinstance(built, schema.MLP) else built.kind
        raise CheckpointError(
            f"holds a {held}; a comparison is of a fully-connected network in the standard parametrisation",
            place=str(folder / scenario.network.path),
            remedy="Give the file of such a network, or measure this one in a scenario of kind kernel.",
        )
