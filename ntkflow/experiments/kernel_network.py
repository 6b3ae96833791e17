"""The network of the `kernel` kind: made or read from a file, trained, and as a function of one sample."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from ntkflow import scenario as schema
from ntkflow.data import Dataset
from ntkflow.errors import ScenarioError
from ntkflow.experiments.networks import make_network
from ntkflow.experiments.settings import named_key
from ntkflow.experiments.stored_network import stored_network
from ntkflow.networks import (
    AbstractBatchClassifier,
    AbstractClassifier,
    BatchMode,
    require_statistics,
    unwrapped,
    with_statistics_of,
)
from ntkflow.progress import Progress
from ntkflow.training import Checkpoint, Problem, train_by_gradient_descent


@dataclasses.dataclass(frozen=True)
class StartingNetwork:
    """The network before this run trains it.

    Attributes:
        network: as it was made or read.
        dataset: the data with inputs in the shape that the network takes.
        step: training steps that it has behind it.
        built: the part of a scenario that builds such a network.
        normalization: which statistics are used, in words; empty for a network without.
        refresh: makes of the network at a moment the function of one sample whose kernel is measured.
        batch_mode: whether training normalises by the batch.
        origin: the file that it is from, in words; empty for a new one.
    """

    network: AbstractClassifier
    dataset: Dataset
    step: int
    built: Mapping[str, Any]
    normalization: str
    refresh: Callable[[AbstractClassifier], AbstractClassifier]
    batch_mode: bool
    origin: str = ""


def starting_network(scenario: schema.KernelScenario, dataset: Dataset, folder: Path) -> StartingNetwork:
    """The scenario's network, from its initial weights or from a file.

    Raises:
        CheckpointError: a file that is damaged, or holds no network for these data.
        DataError: samples that are no images, for a network that needs them.
        ScenarioError: statistics that the network does not have.
    """
    if not isinstance(scenario.network, schema.CheckpointNetwork):
        dataset = _shaped(scenario.network, dataset)
        network = _made(scenario.network, dataset, named_key(scenario.seed, "network"))
        return _with_statistics(scenario.network, scenario.network, network, dataset, 0)
    stored = stored_network(scenario.network.path, dataset, folder)
    start = _with_statistics(scenario.network, stored.built, stored.network, stored.dataset, stored.step)
    return dataclasses.replace(start, origin=stored.origin)


def trained(
    start: StartingNetwork, problem: Problem, scenario: schema.KernelScenario, progress: Progress
) -> tuple[Checkpoint, ...]:
    """The network at each step that the scenario asks for; steps and times are those of this run.

    Raises:
        DivergenceError: training whose loss left the finite numbers.
    """
    if scenario.training is None:
        return (Checkpoint(0.0, 0, start.refresh(start.network)),)
    network = start.network
    if start.batch_mode:
        assert isinstance(network, AbstractBatchClassifier)
        network = BatchMode(network)
    history = train_by_gradient_descent(
        network,
        problem,
        step_size=scenario.training.step_size,
        steps=scenario.at[-1],
        snapshots=scenario.at,
        records=2,
        progress=progress,
    )
    return tuple(
        dataclasses.replace(moment, network=start.refresh(unwrapped(moment.network))) for moment in history.checkpoints
    )


def _made(section: schema.BuiltNetwork, dataset: Dataset, key: PRNGKeyArray) -> AbstractClassifier:
    return make_network(section, input_shape=dataset.inputs.shape[1:], classes=dataset.classes, key=key)


def _shaped(network: schema.BuiltNetwork, dataset: Dataset) -> Dataset:
    """The samples as images of shape (channels, rows, columns) for a network that needs them."""
    return dataset if isinstance(network, schema.MLP) else dataset.as_images()


def _with_statistics(
    asked: schema.Network,
    built: schema.BuiltNetwork,
    network: AbstractClassifier,
    dataset: Dataset,
    step: int,
) -> StartingNetwork:
    section = built.model_dump(mode="json")
    if not isinstance(network, AbstractBatchClassifier):
        if not isinstance(asked, schema.MLP) and asked.statistics == "batch":
            raise ScenarioError(
                "the network in this checkpoint has no batch normalisation",
                place="network.statistics",
                remedy="Leave statistics away, or write stored.",
            )
        return StartingNetwork(network, dataset, step, section, "", lambda network: network, False)
    assert not isinstance(asked, schema.MLP)
    everything = asked.reference == "all"
    reference = jnp.concatenate([dataset.inputs, dataset.test_inputs]) if everything else dataset.inputs
    named = f"the {reference.shape[0]} samples of {'all of the data' if everything else 'the kernel'}"

    def measured(network: AbstractClassifier) -> AbstractClassifier:
        assert isinstance(network, AbstractBatchClassifier)
        return with_statistics_of(network, reference)

    if asked.statistics == "batch":
        said = (
            "Training normalises by the statistics of its batch. Each kernel is that of the function of one sample "
            f"that normalises by fixed statistics, those of {named} under the same parameters."
        )
        return StartingNetwork(network, dataset, step, section, said, measured, True)
    if isinstance(asked, schema.CheckpointNetwork):
        require_statistics(network)
        said = "Layers normalise by the statistics in the checkpoint, in training and for every kernel."
    else:
        network = measured(network)
        said = (
            f"Layers normalise by fixed statistics, those of {named} before training, in training and for every kernel."
        )
    return StartingNetwork(network, dataset, step, section, said, lambda network: network, False)
