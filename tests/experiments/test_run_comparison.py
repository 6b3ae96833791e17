"""Forecasts from the snapshots of a training run, and from networks that were trained elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from experiments.test_training import described

import ntkflow
from ntkflow.comparison import RUNGS, Descent, KernelsOfSnapshot
from ntkflow.comparison.rungs import MEAN_STEPS
from ntkflow.data import class_targets
from ntkflow.errors import DataError, ResultFolderError, ScenarioError, UserError
from ntkflow.experiments import experiment, run_scenario
from ntkflow.experiments.stored_run import StoredRun
from ntkflow.networks import MLP, as_trained
from ntkflow.report import comparison_drawings
from ntkflow.results import read_result
from ntkflow.scenario import SCENARIO, LoadedScenario
from ntkflow.training import Checkpoint, Problem, descend, measure_snapshot, network_history

EPOCHS = [0, 5, 10, 20, 30, 40, 60, 80]
PLAIN: dict[str, Any] = {
    "network": {"kind": "mlp", "width": 40, "hidden_layers": 1, "features": 24, "activation": "tanh"},
    "training": {
        "optimizer": {"kind": "sgd", "momentum": 0.5, "nesterov": False, "weight_decay": 0.0},
        "step_size": 0.01,
        "schedule": {"kind": "constant"},
        "epochs": 100,
        "batch_per_class": None,
    },
    "records": {"epochs": [1], "groups": ["losses"], "kernel_samples_per_class": 3},
    "checkpoints": {"every": 50, "snapshots": EPOCHS},
}


def trained(folder: Path, network: dict[str, Any] | None = None, **changes: Any) -> Path:
    wanted = described(**changes)
    found = SCENARIO.validate_python(wanted if network is None else {**wanted, "network": network})
    return run_scenario(LoadedScenario(found, folder / "tiny.yaml", "", ()), folder / "run")[0]


def scenario(**changes: Any) -> Any:
    return SCENARIO.validate_python(
        {
            "kind": "run_comparison",
            "name": "later",
            "result": "run",
            "snapshots": [0, 20],
            "forecast": {"models": ["updated_linear", "full_frozen", "three_values"]},
            **changes,
        }
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    trained(folder, **PLAIN)
    return folder


@pytest.fixture(scope="module")
def tree(plain: Path) -> xr.DataTree:
    return experiment(scenario(), folder=plain, text="").tree


def test_the_run_is_that_of_its_networks(plain: Path, tree: xr.DataTree) -> None:
    training = tree["training"].to_dataset()
    # η/(1 − β) a step, one step an epoch.
    np.testing.assert_allclose(training["time"].to_numpy(), 0.02 * np.array([*EPOCHS, 100]), rtol=1e-12)
    np.testing.assert_array_equal(training["step"].to_numpy(), [*EPOCHS, 100])
    np.testing.assert_allclose(training["moment_time"].to_numpy(), [0.0, 0.4, 2.0], rtol=1e-12)
    stored = StoredRun.of(scenario(), plain)
    problem = Problem.of(stored.dataset, stored.setup.loss_scale)
    for index, moment in enumerate(stored.checkpoints):
        residual = moment.network.logit_matrix(problem.inputs) - stored.dataset.target_matrix
        np.testing.assert_allclose(training["residual"].to_numpy()[index], residual, rtol=0, atol=1e-12)


def test_the_whole_kernel_forecasts_it(tree: xr.DataTree) -> None:
    """A wide tanh network, full batches, small steps; momentum's own time scale is a few steps."""
    errors = (
        tree["comparison"].to_dataset()["norm_error"].max("point")[..., 1:]
    )  # Momentum lets the fast global part swing.
    assert float(errors.sel(model="updated_linear").max()) < 0.05
    assert float(errors.sel(model="full_frozen").max()) < 0.15
    assert float(errors.sel(model="three_values").max()) > float(errors.sel(model="full_frozen").max())


def test_few_times_are_marked_in_figures(tree: xr.DataTree) -> None:
    """The run is known at nine times: from the last snapshots a line would hardly show."""
    drawings = {drawing.name: drawing for drawing in comparison_drawings(tree)}
    for name in ("ladder", "errors"):
        curves = [line for axes in drawings[name].draw().axes for line in axes.get_lines() if len(line.get_xdata()) > 2]
        assert curves
        assert all(line.get_marker() == "o" for line in curves), name


def test_rates_go_through_the_map_with_momentum(tree: xr.DataTree) -> None:
    theory, training = tree["theory"].to_dataset(), tree["training"].to_dataset()
    z = 18.0
    d, c, _ = training["logit_block_value"].to_numpy()[0]
    x, beta = 0.01 * (d - c) / z, 0.5
    root = np.abs(np.roots([1, -(1 + beta - x), beta])).max()
    assert float(theory["rate_block"][0, 2]) == pytest.approx(-np.log(root) * 0.5 / 0.01, rel=1e-9)


@pytest.mark.slow
def test_batch_normalisation(tmp_path: Path) -> None:
    """The forecast leaves the snapshot in the direction of full-batch training, through the batch's statistics."""
    trained(tmp_path, network={"kind": "resnet", "depth": 8, "channels": [2, 3, 4]})
    stored = StoredRun.of(scenario(snapshots=[2]), tmp_path)
    problem = Problem.of(stored.dataset, stored.setup.loss_scale)
    network = stored.at((2,))[0].network
    snapshot = measure_snapshot(Checkpoint(0.0, 0, network), problem, problem.inputs[:0], jnp.zeros(0, int))
    h = 1e-5
    moved = descend(as_trained(network), problem, h)
    slope = (moved.feature_matrix(problem.inputs) - snapshot.state.features) / h
    directions = {}
    for name in ("full_frozen", "neuron_diagonal"):
        flow, state = RUNGS[name].start(KernelsOfSnapshot(snapshot, (snapshot,), problem))
        directions[name] = np.asarray(flow.vector_field(jnp.asarray(0.0), state, None).features)
    off = {name: float(np.linalg.norm(one - slope) / np.linalg.norm(slope)) for name, one in directions.items()}
    assert off["full_frozen"] < 1e-3, off
    assert off["neuron_diagonal"] > 1e-2, off


def test_a_result_folder(plain: Path) -> None:
    loaded = LoadedScenario(scenario(member=0), plain / "later.yaml", "", ())
    folder, summary = run_scenario(loaded, plain / "later")
    assert read_result(folder).summary == summary
    assert "took" in " ".join(summary.statements)
    assert (folder / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"snapshots": [7]}, ScenarioError, "no network of epoch 7 to forecast from; it kept epochs 0, 5, 10"),
        ({"snapshots": [100]}, ScenarioError, "no network of epoch 100"),
        ({"member": 3}, ScenarioError, "there is no member 3: the run has 1"),
        ({"result": "nowhere"}, ResultFolderError, "there is no such folder"),
    ],
)
def test_what_is_refused(plain: Path, changes: dict[str, Any], error: type[UserError], says: str) -> None:
    with pytest.raises(error, match=says):
        experiment(scenario(**changes), folder=plain, text="")


def test_other_results_are_refused(plain: Path, tmp_path: Path) -> None:
    shutil.copytree(plain / "run", tmp_path / "run")
    path = tmp_path / "run" / "snapshots" / "snapshot-000020.ckpt"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ResultFolderError, match="snapshot-000020"):
        experiment(scenario(), folder=tmp_path, text="")
    shutil.rmtree(tmp_path / "run")
    trained(tmp_path, training={"loss": "cross_entropy"})
    with pytest.raises(ScenarioError, match="squared error"):
        experiment(scenario(), folder=tmp_path, text="")


def own() -> tuple[MLP, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = np.array([0, 1, 2, 0, 1, 2, 2, 1, 0, 0, 1, 2])
    inputs = generator.standard_normal((12, 5)) + 2 * np.eye(3)[labels] @ generator.standard_normal((3, 5))
    network = MLP(jax.random.key(0), inputs=5, outputs=3, width=32, hidden_layers=1, features=16, activation="tanh")
    return network, inputs, labels


def test_from_python(tmp_path: Path) -> None:
    network, inputs, labels = own()
    found = ntkflow.compare(network, inputs, labels, step_size=0.05, steps=200, snapshots=[0, 50])
    within = found.tree["comparison"]["norm_error"].sel(model="full_frozen", part="within_class")
    assert float(within.sel(snapshot="step 50").max()) < 0.2
    assert "MLP of" in str(found)
    assert read_result(found.save(tmp_path / "own")).summary.title == "Comparison"
    with pytest.raises(ResultFolderError):
        found.save(tmp_path / "own")


@pytest.mark.slow
def test_networks_trained_elsewhere_are_compared_alike() -> None:
    network, inputs, labels = own()
    order = np.argsort(labels, kind="stable")
    problem = Problem(jnp.asarray(inputs[order]), class_targets(3, "one_hot"), 12.0)
    later, moved = [], network
    for step in range(1, 201):
        moved = descend(moved, problem, 0.05)
        if step % 25 == 0:
            later.append((0.05 * step, moved))
    found = ntkflow.compare(network, inputs, labels, later=later, models=["three_values"])
    here = ntkflow.compare(network, inputs, labels, step_size=0.05, steps=200, models=["three_values"])
    own_norms = found.tree["training"]["residual_norm"].to_numpy()
    np.testing.assert_allclose(own_norms, here.tree["training"]["residual_norm"].to_numpy()[::25], rtol=1e-10)
    assert found.tree["theory"].sizes["snapshot"] == 8


def test_wrong_arrays() -> None:
    network, inputs, labels = own()
    with pytest.raises(DataError, match="classes of 3 to 4 samples"):
        ntkflow.compare(network, inputs[:-1], labels[:-1], step_size=0.1, steps=5)
    with pytest.raises(DataError, match="11 inputs but 12 labels"):
        ntkflow.compare(network, inputs[:-1], labels, step_size=0.1, steps=5)
    with pytest.raises(DataError, match="the first is sample 2"):
        ntkflow.compare(network, np.where(np.arange(12)[:, None] == 2, np.nan, inputs), labels, step_size=0.1, steps=5)
    with pytest.raises(ValueError, match="either step_size and steps, or later"):
        ntkflow.compare(network, inputs, labels)
    with pytest.raises(AttributeError):
        ntkflow.contrast  # noqa: B018


@pytest.mark.parametrize("descent", [None, Descent(0.01), Descent(50.0, momentum=0.9)])
def test_the_steps_of_a_mean_jacobian_are_stable(descent: Descent | None) -> None:
    """With momentum a run takes steps of η that would blow up without."""
    network, inputs, labels = own()
    problem = Problem(jnp.asarray(inputs[np.argsort(labels, kind="stable")]), class_targets(3, "one_hot"), 12.0)
    snapshot = measure_snapshot(Checkpoint(0.0, 0, network), problem, problem.inputs[:0], jnp.zeros(0, int))
    kernels = KernelsOfSnapshot(snapshot, (snapshot,), problem, descent)
    networks = kernels.mean_jacobian(snapshot).networks
    losses = [float(problem.loss(jax.tree.map(lambda leaf, k=k: leaf[k], networks))[0]) for k in range(MEAN_STEPS)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


def test_a_history_of_networks_refuses() -> None:
    network, inputs, _ = own()
    problem = Problem(jnp.asarray(inputs), class_targets(3, "one_hot"), 12.0)
    first, second = Checkpoint(0.0, 0, network), Checkpoint(1.0, None, network)
    with pytest.raises(ValueError, match="two or more increasing"):
        network_history([first], problem)
    with pytest.raises(ValueError, match="two or more increasing"):
        network_history([first, first], problem)
    with pytest.raises(ValueError, match="of all networks are needed, or of none"):
        network_history([first, second], problem)
    broken = eqx.tree_at(lambda item: item.readout.bias, network, jnp.full(3, jnp.nan))
    with pytest.raises(ValueError, match="network 1"):
        network_history([first, Checkpoint(1.0, 5, broken)], problem)
