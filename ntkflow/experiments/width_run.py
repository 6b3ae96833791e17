"""What a study of widths measures: one network beside its linearisation, and the limit of infinite width."""

from __future__ import annotations

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ntkflow import scenario as schema
from ntkflow.comparison import PowerLaw, fit_power_law
from ntkflow.data import Dataset
from ntkflow.experiments.networks import make_network
from ntkflow.experiments.settings import named_key
from ntkflow.flows import DenseModes, KernelRegressionFlow, RegressionOutputs, WideEnsemble
from ntkflow.kernels import empirical_ntk
from ntkflow.kernels.infinite import KernelPair
from ntkflow.networks import MLP, AbstractClassifier
from ntkflow.training import Problem, train_by_gradient_descent

DISTANCES = {
    "kernel_error": "‖Θ₀ − I ⊗ Θ^∞‖_F/‖I ⊗ Θ^∞‖_F: the network's kernel at the start, all pairs of outputs, from that "
    "of infinite width; training samples",
    "output_deviation": "largest over the recorded steps of the root mean square over training and test samples of "
    "‖f_t(x) − f_t^lin(x)‖: the network from its own linearisation at the start, trained alike",
    "parameter_change": "largest over the recorded steps of ‖θ_t − θ₀‖/√m, θ of the NTK parametrisation, m the width",
    "kernel_change": "‖Θ_T − Θ₀‖_F at the end of training, all pairs of outputs; training samples",
    "training_curve": "largest over the recorded steps of the difference between two root mean square errors, over "
    "training samples and outputs: the network's and its own linearisation's",
    "test_curve": "largest over the recorded steps of the difference between two root mean square errors, over test "
    "samples and outputs: the network's and its own linearisation's",
}
"""What falls with the width m, at least like m^(−1/2) for large m."""


@dataclasses.dataclass(frozen=True)
class Finite:
    """One network.

    Attributes:
        distances: by name, :data:`DISTANCES`.
        squared_error: mean over samples and outputs of (f_t − y)² at the recorded steps; training and test samples.
        linear_squared_error: the same of its linearisation.
        accuracy: share of test samples whose largest output is that of their class, at the recorded steps.
        linear_accuracy: the same of its linearisation, at the end.
        kernel_accuracy: the same of kernel regression by its kernel at the start, from outputs 0.
        weights: W of a hidden layer in the NTK parametrisation, a corner of it, at the start and at the end.
    """

    distances: dict[str, float]
    squared_error: Float[np.ndarray, "2 records"]
    linear_squared_error: Float[np.ndarray, "2 records"]
    accuracy: Float[np.ndarray, " records"]
    linear_accuracy: float
    kernel_accuracy: float
    weights: Float[np.ndarray, "2 rows columns"]


@dataclasses.dataclass(frozen=True)
class Infinite:
    """The mean over networks of infinite width, after the same steps, and their variance.

    Attributes:
        squared_error: of the mean, at the recorded steps; training and test samples.
        variance: of an output over random starts, mean over samples; training and test samples.
        accuracy: of the mean, on the test samples.
        step_limit: 2Z/λ_max(Θ^∞).
    """

    squared_error: Float[np.ndarray, "2 records"]
    variance: Float[np.ndarray, "2 records"]
    accuracy: Float[np.ndarray, " records"]
    step_limit: float


@dataclasses.dataclass(frozen=True)
class WidthRun:
    """Everything that a study of widths found.

    Attributes:
        scenario: what was asked for.
        dataset: the samples.
        z: "Z = N = 80".
        steps: recorded ones.
        infinite: the limit.
        finite: by width, then seed.
    """

    scenario: schema.WidthScenario
    dataset: Dataset
    z: str
    steps: np.ndarray
    infinite: Infinite
    finite: tuple[tuple[Finite, ...], ...]

    def distances(self, name: str) -> Float[np.ndarray, "widths seeds"]:
        """One of :data:`DISTANCES` for every network."""
        return np.array([[one.distances[name] for one in row] for row in self.finite])

    @functools.cached_property
    def laws(self) -> dict[str, PowerLaw]:
        """Their power laws in the width; every network is a point."""
        widths = np.repeat(np.array(self.scenario.widths, float), self.scenario.seeds)
        return {name: fit_power_law(widths, self.distances(name).reshape(-1)) for name in DISTANCES}


@dataclasses.dataclass(frozen=True)
class WidthProblem:
    """What all networks of a study share.

    Attributes:
        scenario: what was asked for.
        dataset: the samples.
        problem: the training samples and Z.
        steps: recorded ones, from 0 to the last.
        theta: Θ^∞ on the training samples.
    """

    scenario: schema.WidthScenario
    dataset: Dataset
    problem: Problem
    steps: np.ndarray
    theta: Float[Array, "samples samples"]

    def infinite(self, own: KernelPair, cross: KernelPair, alone: KernelPair) -> Infinite:
        """The limit, from the kernels of training samples, of test with training samples, and of test samples alone."""
        modes, targets = DenseModes.of(own.ntk, cross.ntk), self.dataset.target_matrix
        flow = KernelRegressionFlow(modes, targets=targets, loss_scale=self.problem.loss_scale)
        steps = jnp.asarray(self.steps, dtype=float)
        outputs = flow.after_steps(self.scenario.step_size, steps)
        ensemble = WideEnsemble(
            modes,
            nngp=own.nngp,
            nngp_cross=cross.nngp,
            nngp_test=alone.nngp,
            targets=targets,
            loss_scale=self.problem.loss_scale,
        )
        spread = ensemble.after_steps(self.scenario.step_size, steps)
        variance = np.stack([np.asarray(item.mean(axis=1)) for item in (spread.variance_train, spread.variance_test)])
        return Infinite(self._errors(outputs), variance, self._accuracy(outputs.test), flow.step_limit())

    def finite(self, width: int, seed: int) -> Finite:
        """Train one network, and its linearisation in closed form."""
        scenario, data = self.scenario, self.dataset
        start = width_network(scenario, data, width, seed)
        theta = empirical_ntk(start, data.inputs).values
        rows = empirical_ntk(start, data.test_inputs, data.inputs).values
        flow = KernelRegressionFlow(
            DenseModes.of(theta, rows),
            targets=data.target_matrix,
            loss_scale=self.problem.loss_scale,
            initial=RegressionOutputs(start.logit_matrix(data.inputs), start.logit_matrix(data.test_inputs)),
        )
        steps = jnp.asarray(self.steps, dtype=float)
        linear = flow.after_steps(scenario.step_size, steps)
        # The same modes: an eigendecomposition of all outputs and samples is most of what this costs.
        regression = KernelRegressionFlow(flow.kernel, targets=flow.targets, loss_scale=flow.loss_scale)
        from_zero = regression.after_steps(scenario.step_size, steps[-1:])
        history = train_by_gradient_descent(
            start,
            self.problem,
            step_size=scenario.step_size,
            steps=scenario.steps,
            snapshots=tuple(int(step) for step in self.steps[:-1]),
            records=2,
        )
        networks = [item.network for item in history.moments]
        outputs = [_outputs(network, data.inputs, data.test_inputs) for network in networks]
        real = RegressionOutputs(*(jnp.stack(parts) for parts in zip(*outputs, strict=True)))
        apart = jnp.concatenate([real.train - linear.train, real.test - linear.test], axis=2)
        moved = [float(_distance(network, start)) / np.sqrt(width) for network in networks]
        limit = jnp.eye(data.classes)[:, None, :, None] * self.theta[None, :, None, :]
        errors, linear_errors = self._errors(real), self._errors(linear)
        curves = np.abs(np.sqrt(errors) - np.sqrt(linear_errors)).max(axis=1)
        last = networks[-1]
        assert isinstance(last, MLP)
        return Finite(
            distances={
                "kernel_error": float(jnp.linalg.norm((theta - limit).ravel()) / jnp.linalg.norm(limit.ravel())),
                "output_deviation": float(jnp.sqrt(jnp.max(jnp.mean(jnp.sum(apart**2, axis=1), axis=1)))),
                "parameter_change": max(moved),
                "kernel_change": float(jnp.linalg.norm((empirical_ntk(last, data.inputs).values - theta).ravel())),
                "training_curve": float(curves[0]),
                "test_curve": float(curves[1]),
            },
            squared_error=errors,
            linear_squared_error=linear_errors,
            accuracy=self._accuracy(real.test),
            linear_accuracy=float(self._accuracy(linear.test[-1:])[0]),
            kernel_accuracy=float(self._accuracy(from_zero.test)[0]),
            weights=np.stack([_corner(start), _corner(last)]),
        )

    def _errors(self, outputs: RegressionOutputs) -> Float[np.ndarray, "2 records"]:
        """Mean squared errors on training and test samples."""
        data = self.dataset
        pairs = ((outputs.train, data.target_matrix), (outputs.test, data.targets[:, data.test_labels]))
        return np.stack([np.asarray(jnp.mean((values - wanted) ** 2, axis=(1, 2))) for values, wanted in pairs])

    def _accuracy(self, outputs: Float[Array, "records outputs tests"]) -> Float[np.ndarray, " records"]:
        """On the test samples."""
        right = jnp.argmax(outputs, axis=1) == self.dataset.test_labels
        return np.asarray(jnp.mean(right, axis=1, dtype=float))


def width_network(scenario: schema.WidthScenario, dataset: Dataset, width: int, seed: int) -> MLP:
    """The network of a width and a seed at its start."""
    asked = scenario.network
    section = schema.MLP(
        kind="mlp",
        width=width,
        hidden_layers=asked.hidden_layers - 1,
        features=width,
        activation=asked.activation,
        parametrization="ntk",
        sigma_w=asked.sigma_w,
        sigma_b=asked.sigma_b,
    )
    key = named_key(scenario.seed, "network", f"{width}", f"{seed}")
    return make_network(section, input_shape=dataset.inputs.shape[1:], classes=dataset.classes, key=key)


@eqx.filter_jit
def _outputs(network: AbstractClassifier, train: Array, test: Array) -> tuple[Array, Array]:
    return network.logit_matrix(train), network.logit_matrix(test)


@eqx.filter_jit
def _distance(network: AbstractClassifier, start: AbstractClassifier) -> Float[Array, ""]:
    pairs = (jax.tree.leaves(eqx.filter(item, eqx.is_inexact_array)) for item in (network, start))
    return jnp.sqrt(sum((jnp.sum((one - other) ** 2) for one, other in zip(*pairs, strict=True)), jnp.asarray(0.0)))


CORNER = 24
"""Rows and columns of a weight matrix that are shown."""


def _corner(network: MLP) -> np.ndarray:
    """Of the last hidden layer, whose fan-in is the width but for a single hidden layer."""
    return np.asarray(network.layers[-1].weight[:CORNER, :CORNER])
