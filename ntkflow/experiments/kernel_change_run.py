"""A plane of networks: cell by cell trained, measured, saved, and taken up again where it was stopped."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, Final

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ntkflow import scenario as schema
from ntkflow.data import Dataset
from ntkflow.experiments.latest_usable import latest_usable
from ntkflow.experiments.networks import make_network
from ntkflow.experiments.regression_kernel import dual_of
from ntkflow.experiments.settings import named_key
from ntkflow.experiments.sources import load_dataset
from ntkflow.flows import describe_loss_scale, loss_scale_value
from ntkflow.initialization import edge_of_chaos
from ntkflow.kernels import stable_step_limit
from ntkflow.kernels.empirical.empirical_ntk import DEFAULT_MEMORY, computed_kernel
from ntkflow.networks import MLP, AbstractClassifier, in_precision
from ntkflow.progress import Progress, silent
from ntkflow.training import (
    DIVERGED,
    CheckpointSeries,
    DescentEnsemble,
    Problem,
    StalledLoss,
    descend_together,
    look,
    member,
)

TRAINING: Final = 0
MEASURING: Final = 1
STAGES = ("training", "measuring")


class KernelChangeRun:
    """A plane and what was found of it.

    A cell is the networks of one width and depth: every σ_w² and every seed, trained together. Networks of one seed
    are the same random numbers in every σ_w², scaled.

    Args:
        scenario: what to run.
        folder: where relative paths start.
        checkpoints: where finished cells are kept; None: nowhere, and the run cannot be resumed.

    Attributes:
        scenario: what is run.
        dataset: the samples, in float64.
        z: "Z = N = 40".
        border: σ_w² with χ₁ = 1, if there is one.
        found: arrays over width, depth, σ_w², seed; NaN, or −1, where nothing was found yet.
        seconds: of training and of measuring, all sessions.
        messages: what has to be told about resuming.
    """

    def __init__(self, scenario: schema.KernelChangeScenario, folder: Path, checkpoints: Path | None = None) -> None:
        self.scenario = scenario
        self.dataset: Dataset = load_dataset(scenario.data, seed=scenario.seed, folder=folder)
        scale = loss_scale_value(
            scenario.loss_scale, samples=self.dataset.inputs.shape[0], outputs=self.dataset.classes
        )
        self.z = describe_loss_scale(scenario.loss_scale, scale)
        border = float(edge_of_chaos(dual_of(scenario.network.activation), math.sqrt(scenario.network.sigma_b2)))
        self.border = border if math.isfinite(border) else None
        dtype = jnp.dtype(scenario.precision)
        self._problem = Problem(self.dataset.inputs.astype(dtype), self.dataset.targets.astype(dtype), scale)
        self._rule = StalledLoss(scenario.stopping.least_decrease, scenario.stopping.patience)
        self._series = None if checkpoints is None else CheckpointSeries(checkpoints)
        self._cells = [(i, j) for i in range(len(scenario.widths)) for j in range(len(scenario.depths))]
        self._done = np.zeros((), int)
        shape = (len(scenario.widths), len(scenario.depths), len(scenario.sigma_w2), scenario.seeds)
        self.found: dict[str, np.ndarray] = {
            "change": np.full((*shape, len(scenario.measured_steps) + 1), np.nan),
            **{name: np.full(shape, np.nan) for name in ("initial_loss", "least_loss", "step_limit")},
            **{name: np.full(shape, -1) for name in ("steps", "end")},
        }
        self.seconds = np.zeros(len(STAGES))
        self.messages: tuple[str, ...] = ()

    def resume(self) -> None:
        """Take up the cells that a stopped run has finished.

        Raises:
            CheckpointError: there are checkpoints, and none of them can be used.
        """
        if self._series is None:
            return
        found = latest_usable(self._series, self._tree())
        self.messages = tuple(f"Not used: {message}" for message in found.refused)
        if found.tree is None:
            return
        self.found, self.seconds, self._done = (found.tree[name] for name in ("found", "seconds", "done"))
        self.messages += (f"Resumed after {int(self._done)} of {len(self._cells)} pairs of width and depth.",)

    def to_the_end(self, progress: Progress = silent) -> None:
        """Every cell that is not done yet."""
        for index, (i, j) in enumerate(self._cells):
            if index < self._done:
                continue
            self._cell(i, j, index, progress)
            self._done = np.asarray(index + 1)
            if self._series is not None:
                self._series.save(self._tree(), epoch=index + 1, step=index + 1, seed=self.scenario.seed)
        progress("training", len(self._cells), len(self._cells))

    def prune(self) -> None:
        """Delete the checkpoints: the results hold all that was in them."""
        if self._series is not None:
            for index in self._series.epochs():
                self._series.path(index).unlink(missing_ok=True)
            if self._series.folder.is_dir():
                self._series.folder.rmdir()

    def networks(self, width: int, depth: int) -> list[MLP]:
        """Those of a cell at their starts, by σ_w², then seed."""
        drawn = [self._drawn(width, depth, seed) for seed in range(self.scenario.seeds)]
        return [_scaled(network, value**0.5) for value in self.scenario.sigma_w2 for network in drawn]

    def _drawn(self, width: int, depth: int, seed: int) -> MLP:
        """With σ_w = 1."""
        section = schema.MLP(
            kind="mlp",
            width=width,
            hidden_layers=depth - 2,
            features=width,
            activation=self.scenario.network.activation,
            sigma_w=1.0,
            sigma_b=self.scenario.network.sigma_b2**0.5,
        )
        return make_network(
            section,
            input_shape=self.dataset.inputs.shape[1:],
            classes=self.dataset.classes,
            key=named_key(self.scenario.seed, "network", f"{width}", f"{depth}", f"{seed}"),
            dtype=jnp.dtype(self.scenario.precision),
        )

    def _cell(self, i: int, j: int, index: int, progress: Progress) -> None:
        scenario, clock = self.scenario, time.perf_counter()
        cells = len(self._cells)
        progress("training", index, cells)
        networks = self.networks(scenario.widths[i], scenario.depths[j])
        self._spent(TRAINING, clock)
        clock = time.perf_counter()
        starts = [self._theta(network) for network in networks]
        scale = self._problem.loss_scale
        limits = [stable_step_limit(in_precision(one, "float64"), self.dataset.inputs, scale) for one in networks]
        self._spent(MEASURING, clock)
        ensemble = look(DescentEnsemble.of(networks, self._rule), self._problem)
        initial = np.asarray(ensemble.loss, float)
        changes = np.full((len(networks), self.found["change"].shape[-1]), np.nan)
        before, measured = 0, np.full(len(networks), -1)
        for column, stop in enumerate((*scenario.measured_steps, scenario.steps)):

            def told(stage: str, done: float, total: float, before: int = before) -> None:
                progress(stage, index + (before + done) / scenario.steps, cells)

            clock = time.perf_counter()
            ensemble = descend_together(
                ensemble, self._problem, scenario.step_size, self._rule, stop - before, progress=told
            )
            ensemble = look(ensemble, self._problem)
            self._spent(TRAINING, clock)
            clock, before = time.perf_counter(), stop
            steps, ends = np.asarray(ensemble.step), np.asarray(ensemble.end)
            for one, start in enumerate(starts):
                if ends[one] == DIVERGED:
                    continue
                if steps[one] == measured[one]:  # It has not moved since the last time.
                    changes[one, column] = changes[one, column - 1]
                    continue
                changes[one, column] = _relative(self._theta(member(ensemble, one).networks), start)
                measured[one] = steps[one]
            self._spent(MEASURING, clock)
        values = {
            "change": changes,
            "initial_loss": initial,
            "least_loss": np.asarray(ensemble.least_loss, float),
            "step_limit": np.array(limits),
            "steps": np.asarray(ensemble.step),
            "end": np.asarray(ensemble.end),
        }
        for name, array in values.items():
            self.found[name][i, j] = array.reshape(len(scenario.sigma_w2), scenario.seeds, *array.shape[1:])

    def _theta(self, network: AbstractClassifier) -> Float[np.ndarray, "rows columns"]:
        """Θ on the training samples, finite or not, as a matrix."""
        trace = "sum" if self.scenario.kernel == "traced" else None
        kernel = computed_kernel(
            in_precision(network, "float64"),
            self.dataset.inputs,
            None,
            "logits",
            trace,
            eqx.is_inexact_array,
            "auto",
            DEFAULT_MEMORY,
            None,
            silent,
        )
        values = np.asarray(kernel.values)
        return values if values.ndim == 2 else values.reshape(values.shape[0] * values.shape[1], -1)

    def _spent(self, stage: int, since: float) -> None:
        self.seconds[stage] += time.perf_counter() - since

    def _tree(self) -> dict[str, Any]:
        return {"found": self.found, "seconds": self.seconds, "done": self._done}


def _scaled(network: MLP, factor: float) -> MLP:
    """All weights times a factor, biases as they are."""
    return eqx.tree_at(
        lambda at: [layer.weight for layer in (*at.layers, at.readout)],
        network,
        replace_fn=lambda weight: jnp.asarray(factor, weight.dtype) * weight,
    )


def _relative(later: Float[np.ndarray, "rows columns"], start: Float[np.ndarray, "rows columns"]) -> float:
    """‖Θᵗ − Θ⁰‖_F/‖Θ⁰‖_F; NaN where one is not finite, or Θ⁰ is 0."""
    with np.errstate(all="ignore"):
        ratio = np.linalg.norm(later - start) / np.linalg.norm(start)
    return float(ratio) if np.isfinite(ratio) else float("nan")
