"""Everything of a training run that follows from its scenario: data, members, recipe, what is measured and when."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from ntkflow import scenario as schema
from ntkflow.data import Dataset, Samples, first_of_each, made_up_images
from ntkflow.errors import ScenarioError
from ntkflow.experiments.networks import make_network
from ntkflow.experiments.settings import named_key
from ntkflow.experiments.sources import load_dataset
from ntkflow.flows import describe_loss_scale, loss_scale_value
from ntkflow.networks import AbstractBatchClassifier, AbstractClassifier, with_statistics_of
from ntkflow.training import (
    SGD,
    AbstractObjective,
    AbstractOptimizer,
    AbstractSchedule,
    AbstractStoppingRule,
    Adam,
    Constant,
    CrossEntropy,
    LossBelow,
    Recipe,
    SquaredError,
    StalledLoss,
    Steps,
    TrainingState,
    device_mesh,
    replicate,
    split_batches,
    split_members,
    stack_members,
)
from ntkflow.training.observations import (
    AbstractObservation,
    AlignmentObservation,
    BlockValueObservation,
    CollapseObservation,
    InvariantObservation,
    KernelMethod,
    LossObservation,
    Moment,
    Objective,
    Observed,
    ResidualObservation,
    SharpnessObservation,
    kernel_sample,
    listed_epochs,
    record_epochs,
)

CHECKPOINTS = 50
"""Checkpoints of a run beside those at measured epochs, unless the scenario says otherwise."""


@dataclasses.dataclass(frozen=True)
class Member:
    """One run of an ensemble.

    Attributes:
        seed: 0, 1, …: of its initial weights and of its order of samples.
        step_size: η at the beginning.
        initial_scale: what its initial weights were multiplied by.
    """

    seed: int
    step_size: float
    initial_scale: float

    def __str__(self) -> str:
        scale = "" if self.initial_scale == 1 else f", weights × {self.initial_scale:g}"
        return f"seed {self.seed}, η = {self.step_size:g}{scale}"


@dataclasses.dataclass(frozen=True)
class TrainingSetup:
    """A training run before its first step.

    Attributes:
        scenario: as it is run (a smoke test is the scenario in miniature).
        dataset: samples in the shape and precision of the network.
        made_up: whether the samples are made up, in a smoke test without the data.
        recipe: data, loss, optimiser, batches.
        members: of the ensemble; one, of a single run.
        observations: what is measured.
        observed: on what.
        epochs: that are measured, from 0 to the last.
        stops: epochs at which training comes back to be measured or saved, rising; they follow from the scenario alone,
            so that a run that was interrupted meets the same ones.
        loss_scale: Z.
        z: "Z = N = 80".
        normalization: which statistics the measured function uses, in words; empty for a network without.
        mesh: the devices that share the members or the batches; None: there is one.
    """

    scenario: schema.TrainingScenario
    dataset: Dataset
    made_up: bool
    recipe: Recipe
    members: tuple[Member, ...]
    observations: tuple[AbstractObservation, ...]
    observed: Observed
    epochs: tuple[int, ...]
    stops: tuple[int, ...]
    loss_scale: float
    z: str
    normalization: str
    mesh: Mesh | None

    @property
    def stacked(self) -> bool:
        """Whether states have an axis of members."""
        return len(self.members) > 1

    def network(self, member: Member) -> AbstractClassifier:
        """A member's network with its initial weights."""
        # The first one is that of every other kind of scenario with this seed.
        names = ("network",) if member.seed == 0 else ("network", str(member.seed))
        network = make_network(
            self.scenario.network,
            input_shape=self.dataset.inputs.shape[1:],
            classes=self.dataset.classes,
            key=named_key(self.scenario.seed, *names),
            dtype=self.scenario.training.precision,
        )
        return network if member.initial_scale == 1 else _scaled(network, member.initial_scale)

    def start(self) -> TrainingState:
        """The state before the first step, stacked for an ensemble."""
        states = [
            self.recipe.start(self.network(member), named_key(self.scenario.seed, "order of samples", str(member.seed)))
            for member in self.members
        ]
        return self.placed(stack_members(states) if self.stacked else states[0])

    def placed(self, state: TrainingState) -> TrainingState:
        """A state on the devices that train it: members shared out, or a single run's parameters on each."""
        if self.mesh is None:
            return state
        return split_members(state, self.mesh) if self.stacked else replicate(state, self.mesh)

    def schedule(self) -> AbstractSchedule:
        """η by epoch, stacked for an ensemble."""
        schedules = [self.schedule_of(member) for member in self.members]
        if not self.stacked:
            return schedules[0]
        stacked = stack_members(schedules)
        return stacked if self.mesh is None else split_members(stacked, self.mesh)

    def schedule_of(self, member: Member) -> AbstractSchedule:
        """A member's η by epoch."""
        step_size = jnp.asarray(member.step_size, self.scenario.training.precision)
        match self.scenario.training.schedule:
            case schema.ConstantSchedule():
                return Constant(step_size)
            case schema.StepSchedule(every=every, factor=factor):
                return Steps(step_size, every, factor)

    def step_sizes(self, member: Member) -> np.ndarray:
        """A member's η of every epoch."""
        epochs = jnp.arange(self.scenario.training.epochs, dtype=jnp.int32)
        return np.asarray(jax.vmap(self.schedule_of(member))(epochs), dtype=float)

    def times(self, member: Member) -> np.ndarray:
        """Gradient-flow time Σ η/(1 − β) at the beginning of every epoch and at the end; NaN where there is no flow."""
        optimizer = self.recipe.optimizer
        if not isinstance(optimizer, SGD):
            return np.full(self.scenario.training.epochs + 1, np.nan)
        passed = np.cumsum(self.step_sizes(member)) * self.recipe.steps_per_epoch
        return optimizer.time_factor * np.append(0.0, passed)

    def rule(self) -> AbstractStoppingRule | None:
        """What ends training earlier."""
        match self.scenario.training.stopping:
            case None:
                return None
            case schema.StalledLoss(least_decrease=least, patience=patience):
                return StalledLoss(least, patience)
            case schema.LossBelow(threshold=threshold):
                return LossBelow(threshold)

    def moment(self, network: AbstractClassifier, member: Member, epoch: int, time: float) -> Moment:
        """A member at one moment, as the function of one sample that is measured."""
        if isinstance(network, AbstractBatchClassifier) and (
            epoch == 0 or self.scenario.records.statistics == "reference"
        ):
            network = with_statistics_of(network, self.observed.kernel_inputs)
        step_size = float(self.step_sizes(member)[min(epoch, self.scenario.training.epochs - 1)])
        return Moment(network, self.observed, epoch, epoch * self.recipe.steps_per_epoch, time, step_size)


def training_setup(asked: schema.TrainingScenario, folder: Path) -> TrainingSetup:
    """Read the data and put a run together.

    Args:
        asked: the scenario.
        folder: where relative paths start.

    Raises:
        DataError: data that cannot be used, or that are no images for a network that needs them.
        ScenarioError: epochs that the run does not reach, or devices that there are not, or that cannot have equal
            shares.
    """
    scenario = asked.as_run
    members = _members(scenario)
    mesh = _mesh(scenario.devices)
    training, records = scenario.training, scenario.records
    made_up = _made_up(scenario)
    dataset = load_dataset(scenario.data, seed=scenario.seed, folder=folder, dtype=training.precision, samples=made_up)
    if not isinstance(scenario.network, schema.MLP):
        dataset = dataset.as_images()
    samples = dataset.inputs.shape[0]
    loss_scale = loss_scale_value(scenario.loss_scale, samples=samples, outputs=dataset.classes)
    recipe = Recipe.of(
        dataset,
        _objective(training, loss_scale),
        _optimizer(training.optimizer),
        training.batch_per_class or dataset.per_class,
        training.precision,
    )
    if mesh is not None:
        recipe = _shared(recipe, mesh, len(members))
    observed = _observed(scenario, dataset, loss_scale)
    epochs = (
        record_epochs(training.epochs, records.count, records.spacing)
        if records.epochs is None
        else listed_epochs(training.epochs, records.epochs)
    )
    every = scenario.checkpoints.every or max(1, training.epochs // CHECKPOINTS)
    stops = {*epochs, *scenario.checkpoints.snapshots, *range(every, training.epochs, every), training.epochs}
    return TrainingSetup(
        scenario=scenario,
        dataset=dataset,
        made_up=made_up is not None,
        recipe=recipe,
        members=members,
        observations=_observations(scenario),
        observed=observed,
        epochs=epochs,
        stops=tuple(sorted(stops - {0})),
        loss_scale=loss_scale,
        z=describe_loss_scale(scenario.loss_scale, loss_scale),
        normalization=_normalization(scenario, observed),
        mesh=mesh,
    )


def _mesh(devices: int) -> Mesh | None:
    if devices == 1:
        return None
    known = jax.devices()
    if len(known) < devices:
        remedy = f"Set JAX_NUM_CPU_DEVICES={devices}" if known[0].platform == "cpu" else f"Write devices: {len(known)}"
        raise ScenarioError(
            f"{devices} devices, but JAX sees {len(known)} here ({', '.join(map(str, known))})",
            place="devices",
            remedy=f"{remedy}, or leave devices away.",
        )
    return device_mesh(known[:devices])


def _shared(recipe: Recipe, mesh: Mesh, members: int) -> Recipe:
    """The recipe where the devices need it: each has all samples."""
    shares, what = (members, "members of the ensemble") if members > 1 else (recipe.batch_size, "samples of a batch")
    if shares % mesh.size:
        raise ScenarioError(
            f"the {shares} {what} cannot be shared equally by {mesh.size} devices",
            place="devices",
            remedy=f"Take a number that divides {shares}, or leave devices away.",
        )
    return replicate(recipe, mesh) if members > 1 else split_batches(recipe, mesh)


def _made_up(scenario: schema.TrainingScenario) -> Samples | None:
    """For a smoke test that needs files which the user may not have."""
    if not scenario.smoke:
        return None
    match scenario.data:
        case schema.MNISTData() | schema.FashionMNISTData():
            return made_up_images("MNIST", (1, 28, 28))
        case schema.CIFAR10Data():
            return made_up_images("CIFAR-10", (3, 32, 32))
    return None


def _members(scenario: schema.TrainingScenario) -> tuple[Member, ...]:
    ensemble = scenario.ensemble
    step_sizes = ensemble.step_sizes or (scenario.training.step_size,)
    return tuple(
        Member(seed, step_size, scale)
        for scale, step_size, seed in itertools.product(ensemble.initial_scales, step_sizes, range(ensemble.seeds))
    )


def _objective(training: schema.StochasticTraining, loss_scale: float) -> AbstractObjective:
    return CrossEntropy() if training.loss == "cross_entropy" else SquaredError(loss_scale)


def _optimizer(optimizer: schema.Optimizer) -> AbstractOptimizer:
    decay = {"weight_decay": optimizer.weight_decay, "decay": optimizer.decay, "decayed": optimizer.decayed}
    match optimizer:
        case schema.SGD():
            return SGD(momentum=optimizer.momentum, nesterov=optimizer.nesterov, **decay)
        case schema.Adam():
            return Adam(b1=optimizer.b1, b2=optimizer.b2, eps=optimizer.eps, **decay)


def _observed(scenario: schema.TrainingScenario, dataset: Dataset, loss_scale: float) -> Observed:
    records, classes = scenario.records, dataset.classes
    m = records.samples_per_class or dataset.per_class
    samples = dataset.inputs.shape[0]
    objective = Objective(scenario.training.loss, loss_scale)
    return Observed(
        inputs=first_of_each(dataset.inputs, classes, m),
        classes=classes,
        targets=dataset.targets,
        test_inputs=dataset.test_inputs,
        test_labels=dataset.test_labels,
        kernel_inputs=kernel_sample(dataset.inputs, classes, records.kernel_samples_per_class),
        objective=objective.scaled(classes * m, samples),
        true_labels=(None if dataset.original_labels is None else _first_labels(dataset.original_labels, classes, m)),
    )


def _first_labels(labels: Array, classes: int, per_class: int) -> Array:
    return labels.reshape(classes, -1)[:, :per_class].reshape(-1)


def _observations(scenario: schema.TrainingScenario) -> tuple[AbstractObservation, ...]:
    records, optimizer = scenario.records, scenario.training.optimizer
    kernels = KernelMethod(
        random_features=records.random_features, seed=scenario.seed, matrices="alignments" in records.groups
    )
    momentum, nesterov = (optimizer.momentum, optimizer.nesterov) if isinstance(optimizer, schema.SGD) else (0.0, False)
    known: dict[schema.Group, AbstractObservation] = {
        "losses": LossObservation(),
        "collapse": CollapseObservation(),
        "residuals": ResidualObservation(),
        "block_values": BlockValueObservation(kernels=kernels),
        "alignments": AlignmentObservation(kernels=kernels),
        "invariant": InvariantObservation(kernels=kernels),
        "sharpness": SharpnessObservation(
            per_class=records.sharpness_samples_per_class, momentum=momentum, nesterov=nesterov
        ),
    }
    return tuple(known[group] for group in records.groups)


def _normalization(scenario: schema.TrainingScenario, observed: Observed) -> str:
    if isinstance(scenario.network, schema.MLP):
        return ""
    of_samples = f"those of {observed.of_kernels} under the same parameters"
    return (
        "Training normalises by the statistics of its batch. What is measured is the function of one sample that "
        "normalises by fixed statistics: "
        + (
            f"{of_samples}."
            if scenario.records.statistics == "reference"
            else f"the running averages of training (at epoch 0 {of_samples})."
        )
    )


def _scaled(network: AbstractClassifier, factor: float) -> AbstractClassifier:
    """Weights, the arrays of two or more axes, times a factor."""
    parameters, rest = eqx.partition(network, eqx.is_inexact_array)
    return eqx.combine(jax.tree.map(lambda array: factor * array if array.ndim >= 2 else array, parameters), rest)
