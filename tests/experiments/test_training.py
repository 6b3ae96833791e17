"""Kind `training`: what is recorded, resuming bit for bit, members, snapshots, stopping, smoke tests, estimates."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from experiments.command import SCENARIOS, ntkflow
from pydantic import ValidationError

import ntkflow.experiments.write_result as write_module
from ntkflow.errors import CheckpointError, InterruptedRun, ScenarioError
from ntkflow.experiments import estimate, experiment, run_scenario
from ntkflow.results import read_result
from ntkflow.scenario import SCENARIO, LoadedScenario, TrainingScenario, load_scenario

GROUPS = ["losses", "collapse", "residuals", "block_values"]


def described(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "kind": "training",
        "name": "tiny",
        "loss_scale": "samples",
        "data": {"source": "digits", "classes": 3, "samples_per_class": 6, "test_samples_per_class": 5},
        "network": {"kind": "mlp", "width": 8, "hidden_layers": 1, "features": 6, "activation": "tanh"},
        "training": {
            "optimizer": {"kind": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3},
            "step_size": 0.05,
            "schedule": {"kind": "steps", "every": 4, "factor": 10.0},
            "epochs": 6,
            "batch_per_class": 2,
            "precision": "float64",
        },
        "records": {"epochs": [1, 3], "groups": GROUPS, "kernel_samples_per_class": 3},
        "checkpoints": {"every": 2, "snapshots": [0, 2]},
    }
    for key, value in changes.items():
        base[key] = {**base[key], **value} if isinstance(base.get(key), dict) and isinstance(value, dict) else value
    return base


def scenario(**changes: Any) -> TrainingScenario:
    found = SCENARIO.validate_python(described(**changes))
    assert isinstance(found, TrainingScenario)
    return found


def loaded(**changes: Any) -> LoadedScenario:
    return LoadedScenario(scenario(**changes), Path("tiny.yaml"), "", ())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result of a run that nothing interrupted."""
    return run_scenario(loaded(), tmp_path_factory.mktemp("whole") / "out")[0]


@functools.cache
def tree(path: Path) -> xr.DataTree:
    with xr.open_datatree(path / "results.nc", engine="h5netcdf") as found:
        return found.load()


def same_but_for_seconds(first: Path, second: Path) -> None:
    one, other = tree(first), tree(second)
    assert set(one.groups) == set(other.groups)
    for group in set(one.groups) - {"/cost"}:
        for name, values in one[group].data_vars.items():
            np.testing.assert_array_equal(values.values, other[group][name].values, err_msg=f"{group} {name}")
    networks = sorted(path.relative_to(first) for path in first.rglob("*.ckpt") if "checkpoints" not in path.parts)
    assert len(networks) >= 3
    for name in networks:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_what_is_recorded(whole: Path) -> None:
    found = tree(whole)
    assert {name.lstrip("/") for name in found.groups} == {"", "training", *GROUPS, "cost", "scenario"}
    assert found["losses"].ds.epoch.values.tolist() == [0, 1, 3, 6]
    assert found["losses"].ds.step.values.tolist() == [0, 3, 9, 18]
    # Σ η/(1 − β): three steps of 0.05 an epoch, divided by ten from epoch 4 on.
    np.testing.assert_allclose(found["losses"].ds.time.values, [0, 1.5, 4.5, 4 * 1.5 + 2 * 0.15], rtol=1e-12)
    assert found["training"].ds.trained_epoch.values.tolist() == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(found["training"].ds.step_size.values, [0.05] * 4 + [0.005] * 2, rtol=1e-12)
    for group in ("training", *GROUPS, "cost"):
        for name, values in found[group].data_vars.items():
            assert values.attrs["units"], name
            assert values.attrs["long_name"], name
            if name != "gradient_norm":
                assert np.isfinite(values.values).all(), (group, name)


def test_the_recorded_loss_is_that_of_the_recorded_residual(whole: Path) -> None:
    found = tree(whole)
    norms = found["residuals"].ds["residual_norm"].values
    loss = found["losses"].ds["loss"].values[:, 0]
    np.testing.assert_allclose((norms**2).sum(axis=1) / (2 * 18), loss, rtol=1e-12)


class Stopping:
    """Progress that is interrupted at its n-th call."""

    def __init__(self, call: int) -> None:
        self.left = call

    def __call__(self, stage: str, done: float, total: float) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time of so small a run."""
    monkeypatch.setattr(write_module, "write_figures", lambda folder, drawings: ())


@pytest.mark.usefixtures("no_figures")
def test_a_resumed_run_is_the_same_bit_for_bit(tmp_path: Path, whole: Path) -> None:
    output, said, last = tmp_path / "out", [], 0
    while last < 4:
        with pytest.raises(InterruptedRun) as stopped:
            run_scenario(loaded(), output, progress=Stopping(3))
        said.append(str(stopped.value))
        epochs = [int(path.stem[-6:]) for path in (output / "checkpoints").glob("epoch-*.ckpt")]
        assert max(epochs, default=0) >= last
        last = max(epochs, default=0)
    assert len(said) > 1
    assert said[-1].endswith("goes on from its last checkpoint.")
    folder, summary = run_scenario(loaded(), output)
    assert any(f"Resumed from the checkpoint of epoch {last}" in statement for statement in summary.statements)
    same_but_for_seconds(whole, folder)
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["epoch-000006.ckpt"]
    read_result(folder)


@pytest.mark.usefixtures("no_figures")
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path: Path, whole: Path) -> None:
    output = tmp_path / "out"
    with pytest.raises(InterruptedRun):
        run_scenario(loaded(), output, progress=Stopping(7))
    older, newest = sorted((output / "checkpoints").glob("epoch-*.ckpt"))
    flipped = bytearray(newest.read_bytes())
    flipped[-9] ^= 1
    newest.write_bytes(flipped)
    folder, summary = run_scenario(loaded(), output)
    text = " ".join(summary.statements)
    assert f"{newest.name}: the checkpoint is damaged" in text
    assert f"Resumed from the checkpoint of epoch {int(older.stem[-6:])}." in text
    same_but_for_seconds(whole, folder)


@pytest.mark.usefixtures("no_figures")
def test_no_checkpoint_that_can_be_used(tmp_path: Path) -> None:
    output = tmp_path / "out"
    with pytest.raises(InterruptedRun):
        run_scenario(loaded(), output, progress=Stopping(7))
    for path in (output / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="no checkpoint of the stopped run can be used") as refusal:
        run_scenario(loaded(), output)
    assert "--overwrite starts again" in str(refusal.value)


@pytest.mark.usefixtures("no_figures")
def test_members_are_the_single_runs(tmp_path: Path, whole: Path) -> None:
    """Member 0 is the run above, to rounding: one program for all members adds in another order."""
    changed = loaded(ensemble={"seeds": 2, "step_sizes": [0.05, 0.02]}, checkpoints={"snapshots": [2]})
    folder, summary = run_scenario(changed, tmp_path / "out")
    found, single = tree(folder), tree(whole)
    assert found["losses"].ds["loss"].dims == ("member", "epoch", "split")
    assert found["losses"].ds.initial_step_size.values.tolist() == [0.05, 0.05, 0.02, 0.02]
    assert found["losses"].ds.seed.values.tolist() == [0, 1, 0, 1]
    for group, name in (("losses", "loss"), ("collapse", "nc1_trace_ratio"), ("block_values", "logit_block_value")):
        ours, theirs = found[group].ds[name].values[0], single[group].ds[name].values
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, err_msg=name)
    assert not np.allclose(found["losses"].ds["loss"].values[0], found["losses"].ds["loss"].values[1])
    assert {path.name for path in folder.glob("network-*.ckpt")} == {f"network-00{i}.ckpt" for i in range(4)}
    assert (folder / "snapshots" / "member-003" / "snapshot-000002.ckpt").exists()
    assert [len(table.rows) for table in summary.tables if table.title == "Members"] == [4]


def test_a_member_that_diverges_leaves_the_others_alone(tmp_path: Path) -> None:
    changed = scenario(ensemble={"step_sizes": [0.05, 1e9]}, records={"groups": ["losses"]})
    found = experiment(changed, folder=Path(), text="")
    losses = found.tree["losses"].ds["loss"].values
    assert np.isfinite(losses[0]).all()
    assert np.isnan(losses[1, -1]).all()
    assert any("left the finite numbers" in warning for warning in found.summary.warnings)


def test_a_snapshot_is_measured_by_a_kernel_scenario(tmp_path: Path, whole: Path) -> None:
    kernel = {
        "kind": "kernel",
        "name": "later",
        "loss_scale": "samples",
        "data": described()["data"],
        "network": {"kind": "checkpoint", "path": str(whole / "snapshots" / "snapshot-000002.ckpt")},
        "measure": {"of": ["logits"], "which": "values"},
    }
    found = experiment(SCENARIO.validate_python(kernel), folder=Path(), text="")
    assert found.tree["training"].ds.step.values.tolist() == [6]


@pytest.mark.usefixtures("no_figures")
def test_a_rule_stops_a_run_and_a_resumed_one_at_the_same_place(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "training": {"batch_per_class": None, "epochs": 400, "stopping": {"kind": "loss_below", "threshold": 0.2}},
        "records": {"epochs": [2, 4], "groups": ["losses"]},
        "checkpoints": {"every": 5, "snapshots": []},
    }
    found = experiment(scenario(**changes), folder=Path(), text="")
    epochs = found.tree["losses"].ds.epoch.values
    assert epochs.tolist()[:3] == [0, 2, 4]
    assert 4 < epochs[-1] < 400
    assert found.tree["losses"].ds["loss"].values[-1, 0] < 0.2
    assert (found.tree["training"].ds["loss"].values >= 0.2).all()
    assert any("the loss fell below 0.2" in statement for statement in found.summary.statements)
    output = tmp_path / "out"
    with pytest.raises(InterruptedRun):
        run_scenario(loaded(**changes), output, progress=Stopping(6))
    folder, _ = run_scenario(loaded(**changes), output)
    np.testing.assert_array_equal(tree(folder)["losses"].ds["loss"].values, found.tree["losses"].ds["loss"].values)


@pytest.mark.slow
def test_a_normalised_network_in_float32(tmp_path: Path) -> None:
    changed = SCENARIO.validate_python(
        {
            **described(),
            "network": {"kind": "resnet", "depth": 8, "channels": [2, 3, 4]},
            "training": {**described()["training"], "precision": "float32", "epochs": 1, "loss": "cross_entropy"},
            "records": {"groups": ["losses", "collapse"], "statistics": "running", "kernel_samples_per_class": 2},
            "checkpoints": {},
        }
    )
    found = experiment(changed, folder=Path(), text="")
    assert found.tree["losses"].ds["cross_entropy"].dtype == np.float64
    assert np.isfinite(found.tree["collapse"].ds["nc1_trace_ratio"].values).all()
    assert any("running averages" in statement for statement in found.summary.statements)


@pytest.mark.parametrize("path", sorted((SCENARIOS / "paper3").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_papers_runs_validate_in_full_and_in_miniature(path: Path) -> None:
    found = load_scenario(path).scenario
    assert isinstance(found, TrainingScenario)
    assert found.training.epochs == 400
    assert found.training.batch_per_class == 12
    small = load_scenario(path, ["smoke=true"]).scenario
    assert isinstance(small, TrainingScenario)
    assert small.as_run.training.epochs == 2
    assert small.as_run.data.samples_per_class <= 8
    assert small.as_run.network.kind == found.network.kind
    assert small.as_run.network.depth <= 11
    assert found.as_run.network == found.network
    SCENARIO.validate_python(small.as_run.model_dump(mode="json"))


def test_an_estimate_counts_what_the_run_does() -> None:
    found = estimate(scenario(), folder=Path())
    assert (found.steps, found.records) == (18, 4)
    assert found.step > 0
    assert found.seconds >= found.step * 18 + found.record * 4
    assert found.networks == 3
    parameters = sum(np.prod(shape) for shape in ((8, 64), (8,), (6, 8), (6,), (3, 6), (3,)))
    assert found.network > 8 * parameters
    # Parameters and momentum, and the records.
    assert found.checkpoint > 2 * 8 * parameters
    text = str(found.summary("tiny", 2))
    assert re.search(r"'disk'.*'MB'", text)


def test_only_training_is_estimated() -> None:
    other = load_scenario(SCENARIOS / "residual_eigenspaces.yaml").scenario
    with pytest.raises(ScenarioError, match="kind residuals is not estimated"):
        estimate(other, folder=Path())


def test_estimates_on_the_command_line(tmp_path: Path) -> None:
    said = ntkflow("estimate", SCENARIOS / "residual_eigenspaces.yaml")
    assert "only kinds training, regression and width are" in said.refused()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": {"batch_per_class": 7}}, "a batch of 7 samples of each class, but data.samples_per_class is 6"),
        ({"records": {"epochs": [1, 9]}}, "records.epochs: epoch 9 is after the last, training.epochs: 6"),
        ({"checkpoints": {"snapshots": [7]}}, "checkpoints.snapshots: epoch 7 is after the last"),
        ({"records": {"kernel_samples_per_class": 12}}, "kernel_samples_per_class is 12, but data.samples_per_class"),
        ({"loss_scale": "one", "training": {"loss": "cross_entropy"}}, "write loss_scale: samples"),
        ({"training": {"stopping": {"kind": "loss_below", "threshold": 0.1}}}, "leave batch_per_class away"),
        ({"training": {"optimizer": {"kind": "sgd", "nesterov": True}}}, "nesterov: true needs momentum"),
        ({"ensemble": {"step_sizes": [0.1, 0.1]}}, "a value is listed twice"),
        ({"devices": 0}, "devices"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        scenario(**changes)


def test_devices_that_there_are_not() -> None:
    with pytest.raises(ScenarioError, match="devices: 3 devices, but JAX sees 1 here") as refusal:
        experiment(scenario(devices=3), folder=Path(), text="")
    assert "Set JAX_NUM_CPU_DEVICES=3" in str(refusal.value)


@pytest.mark.slow
@pytest.mark.parametrize("shared", [{}, {"ensemble": {"seeds": 2, "step_sizes": [0.05, 0.02]}}], ids=str)
def test_two_devices_record_what_one_records_and_resume_bit_for_bit(tmp_path: Path, shared: dict[str, Any]) -> None:
    """In processes of their own: the number of devices is fixed when JAX starts."""

    def run(devices: int, output: Path, kill_after: float | None = None) -> str:
        path = tmp_path / f"{devices}.yaml"
        path.write_text(
            json.dumps(described(devices=devices, training={"epochs": 40}, checkpoints={"every": 1}, **shared))
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "ntkflow", "run", str(path), "--output", str(output)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "JAX_NUM_CPU_DEVICES": "2", "XLA_FLAGS": ""},
        )
        if kill_after is not None:
            checkpoints = output / "checkpoints"
            while process.poll() is None and not (checkpoints.is_dir() and len([*checkpoints.iterdir()]) > 1):
                time.sleep(kill_after)
            process.kill()
        return process.communicate()[0]

    assert "shared out" not in run(1, tmp_path / "one")
    assert "shared out among cpu:0, cpu:1." in " ".join(run(2, tmp_path / "two").split())
    run(2, tmp_path / "again", kill_after=0.05)
    assert "Resumed from the checkpoint" in run(2, tmp_path / "again")
    same_but_for_seconds(tmp_path / "two", tmp_path / "again")
    one, two = tree(tmp_path / "one"), tree(tmp_path / "two")
    for group in ("training", *GROUPS):
        for name, values in one[group].data_vars.items():
            np.testing.assert_allclose(two[group][name].values, values.values, rtol=1e-6, atol=1e-9, err_msg=name)
