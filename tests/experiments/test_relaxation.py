"""What the shipped relaxations claim, that their numbers are their arrays', and that every model starts as it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from experiments.command import SCENARIOS
from experiments.conftest import Runs
from pydantic import TypeAdapter

from ntkflow import scenario as schema
from ntkflow.errors import ScenarioError
from ntkflow.experiments.relaxation import run_relaxation
from ntkflow.experiments.relaxed_flows import one_size, relaxed_flow, resized
from ntkflow.experiments.relaxed_record import Recorder
from ntkflow.flows import InvariantSides, SampleFlow, SampleState, random_state
from ntkflow.kernels import BlockKernel, split_eigenspaces
from ntkflow.progress import silent
from ntkflow.scenario import SCENARIO, load_scenario

CLASSES, PER_CLASS, FEATURES, Z = 3, 4, 5, 32.0
KERNEL = BlockKernel(8.0, 6.4, 1.6, classes=CLASSES, per_class=PER_CLASS)
STATE = random_state(jax.random.key(0), classes=CLASSES, per_class=PER_CLASS, features=FEATURES)
MODELS: dict[str, dict[str, Any]] = {
    "block": {"kind": "block"},
    "unequal_classes": {"kind": "unequal_classes", "sizes": [7, 5, 4]},
    "class_values": {
        "kind": "class_values",
        "diagonal": [8.0, 7.0, 9.0],
        "same_class": [6.4, 5.0, 6.0],
        "different_class": 1.6,
    },
    "matrix_blocks": {"kind": "matrix_blocks", "spread": 4.0, "shared": True},
    "cross_entropy": {"kind": "cross_entropy"},
    "weight_decay": {"kind": "weight_decay", "weight": 0.1, "features": 0.2},
    "varying_values": {
        "kind": "varying_values",
        "snapshots": [
            {"time": 0.0, "diagonal": 8.0, "same_class": 6.4, "different_class": 1.6},
            {"time": 1.0, "diagonal": 9.0, "same_class": 6.0, "different_class": 1.0},
        ],
    },
    "noisy": {"kind": "noisy", "noise": {"diagonal": 1.0}, "step": 0.1},
    "correlated": {"kind": "noisy", "noise": {"diagonal": 1.0}, "step": 0.1, "correlation_time": 2.0},
}
OWN_INVARIANT = ("unequal_classes", "class_values", "matrix_blocks")


def model(name: str) -> Any:
    return TypeAdapter(schema.RelaxationCase).validate_python({"name": name, "model": MODELS[name]}).model


def of_class(state: SampleState, sizes: tuple[int, ...]) -> list[np.ndarray]:
    return np.split(np.asarray(state.features), np.cumsum(sizes)[:-1], axis=1)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_starts_from_the_same_state(name: str) -> None:
    """The record of the initial state is that of the common state, up to what the model defines otherwise."""
    sizes = (7, 5, 4) if name == "unequal_classes" else (PER_CLASS,) * CLASSES
    flow, initial = relaxed_flow(model(name), STATE, KERNEL, Z, jax.random.key(1))
    found = Recorder(flow, initial, sizes).at(jnp.zeros(()), initial)
    base = SampleFlow(KERNEL, loss_scale=Z)
    w, b, h = np.asarray(STATE.weight), np.asarray(STATE.bias), np.asarray(STATE.features)
    means = np.stack([block.mean(axis=1) for block in of_class(STATE, (PER_CLASS,) * CLASSES)], axis=1)
    logits = w @ means + b[:, None]
    residual = w @ h + b[:, None] - np.repeat(np.eye(CLASSES), PER_CLASS, axis=1)
    if name == "cross_entropy":
        outputs = w @ h + b[:, None]
        residual = residual - outputs + np.exp(outputs) / np.exp(outputs).sum(axis=0)
        by_class = residual.reshape(CLASSES, CLASSES, PER_CLASS).mean(axis=2)
    else:
        by_class = logits - np.eye(CLASSES)
    np.testing.assert_allclose(found["class_residual"], np.linalg.norm(by_class, axis=0), rtol=1e-10)
    if name != "unequal_classes":
        np.testing.assert_allclose(
            found["residual_norm"], split_eigenspaces(jnp.asarray(residual), CLASSES).norms(), rtol=1e-10
        )
    centred = means - means.mean(axis=1, keepdims=True)
    unit = centred / np.linalg.norm(centred, axis=0)
    np.testing.assert_allclose(found["mean_cosine"], unit.T @ unit, rtol=1e-10, atol=1e-12)
    variances = [np.trace(np.cov(block, bias=True)) for block in of_class(STATE, (PER_CLASS,) * CLASSES)]
    ratio = np.mean(variances) / np.mean(np.sum(centred**2, axis=0))
    assert float(found["nc1_trace_ratio"]) == pytest.approx(ratio, rel=1e-10)
    assert np.isnan(float(found["nc4_disagreement"])) == (name == "unequal_classes")
    assert float(found["invariant_change"]) <= 1e-14
    assert float(found["invariant_law_error"]) <= 1e-14
    if name not in OWN_INVARIANT:
        sides = InvariantSides.of(STATE, KERNEL)
        assert float(found["invariant_relative_norm"]) == pytest.approx(float(sides.norm / sides.scale), rel=1e-10)
        assert float(found["invariant_alignment"]) == pytest.approx(float(sides.alignment), rel=1e-10)
    if name not in ("cross_entropy", "weight_decay", "unequal_classes"):
        assert float(found["loss"]) == pytest.approx(float(base.loss(STATE)), rel=1e-10)


@pytest.mark.parametrize("sizes", [(9, 4, 6), (12, 4, 3), (2, 2, 2)])
def test_other_class_sizes_keep_means_and_covariances(sizes: tuple[int, ...]) -> None:
    """Where a class has too few samples for its covariance, the trace and the leading directions are kept."""
    other = resized(STATE, PER_CLASS, sizes)
    back = one_size(other, sizes)
    assert back.features.shape[1] == CLASSES * max(sizes)
    before = of_class(STATE, (PER_CLASS,) * CLASSES)
    for size, old, new, again in zip(
        sizes, before, of_class(other, sizes), of_class(back, (max(sizes),) * CLASSES), strict=True
    ):
        assert new.shape[1] == size
        np.testing.assert_allclose(new.mean(axis=1), old.mean(axis=1), atol=1e-12)
        np.testing.assert_allclose(again.mean(axis=1), old.mean(axis=1), atol=1e-12)
        covariances = [np.cov(block, bias=True) for block in (old, new, again)]
        np.testing.assert_allclose(covariances[2], covariances[1], atol=1e-12)
        assert np.trace(covariances[1]) == pytest.approx(np.trace(covariances[0]), rel=1e-10)
        if size >= PER_CLASS:
            np.testing.assert_allclose(covariances[1], covariances[0], atol=1e-12)
        else:
            top = [np.linalg.eigh(covariance)[1][:, -1] for covariance in covariances[:2]]
            assert abs(top[0] @ top[1]) == pytest.approx(1, abs=1e-8)


@pytest.mark.slow
def test_jumps_and_kinks_in_a_run() -> None:
    """Constant and linear values in one run: the law of E holds for both, and E moves."""
    snapshots = MODELS["varying_values"]["snapshots"]
    scenario = SCENARIO.validate_python(
        {
            "kind": "relaxation",
            "name": "values",
            "loss_scale": Z,
            "problem": {"classes": CLASSES, "samples_per_class": PER_CLASS, "features": FEATURES},
            "kernel": {"diagonal": 8.0, "same_class": 6.4, "different_class": 1.6},
            "initial": {"kind": "random"},
            "time": {"end": 3.0, "points": 7, "spacing": "linear"},
            "cases": [
                {
                    "name": how,
                    "model": {
                        "kind": "varying_values",
                        "snapshots": [snapshots[0], {**snapshots[1], "time": 1.3}],
                        "interpolation": how,
                    },
                }
                for how in ("linear", "constant")
            ],
        }
    )
    outcome = run_relaxation(scenario, folder=Path(), text="", progress=silent)
    theory = outcome.tree["theory"]
    np.testing.assert_allclose(theory["time"], np.linspace(0, 3, 7))
    assert float(theory["invariant_law_error"].max()) <= 1e-9
    change = theory["invariant_change"]
    assert (change[:, -1] > 0.01).all()
    # A jump at 1.3, between the third and the fourth time: nothing before, nothing after.
    jumping = change.sel(case="constant").values
    assert jumping[:3].max() <= 1e-9
    np.testing.assert_allclose(jumping[3:], jumping[3], rtol=1e-6)
    assert (np.diff(change.sel(case="linear").values)[:2] > 1e-3).all()


@pytest.fixture(scope="module")
def decay(runs: Runs) -> xr.DataTree:
    return runs.tree("weight_decay")["theory"]


def test_equal_decay_removes_the_invariant_and_collapses(decay: xr.DataTree) -> None:
    with_decay, without = decay.sel(case="equal decay"), decay.sel(case="no decay")
    assert float(decay["invariant_law_error"].max()) <= 1e-8
    assert float(without["invariant_relative_norm"][-1]) > 0.2
    assert float(with_decay["invariant_relative_norm"][-1]) < 1e-6
    for metric in ("nc1_trace_ratio", "nc2_etf_distance", "nc3_unit_means"):
        assert float(with_decay[metric][-1]) < 1e-3
        assert float(without[metric][-1]) > 1e-2
    assert float(decay.sel(case="unequal decay")["nc1_trace_ratio"][-1]) < 1e-6
    assert float(decay.sel(case="readout only")["invariant_change"][-1]) > 0.5
    # The class means of the residual rest at (1 − φ)(I − 11ᵀ/C), φ = 1 − Zλ/√(m μ_class).
    shortfall = 32.0 * 0.01 / np.sqrt(4 * (8.0 - 6.4 + 4 * (6.4 - 1.6)))
    expected = shortfall * np.linalg.norm(np.eye(3)[0] - 1 / 3)
    np.testing.assert_allclose(with_decay["class_residual"][-1], expected, rtol=1e-3)


def test_small_classes_wait_and_their_means_meet(runs: Runs) -> None:
    theory = runs.tree("imbalance")["theory"]
    residual = theory["class_residual"]
    half = (residual < 0.5 * residual[:, 0]).sel(case="ratio 5")
    waited = [int(np.argmax(half.values[:, one])) for one in range(4)]
    assert max(waited[:2]) < min(waited[2:])
    closest = theory["mean_cosine"].values[:, :, 2, 3].max(axis=1)
    assert closest[1] > closest[0] + 0.1
    assert np.isfinite(theory["nc4_disagreement"].values[0]).all()
    assert np.isnan(theory["nc4_disagreement"].values[1]).all()
    assert any("nc4_disagreement is left out" in line for line in runs.result("imbalance").summary.statements)


def test_noise_moves_the_invariant_and_says_how_well_it_is_known(runs: Runs) -> None:
    theory = runs.tree("noise")["theory"]
    change, error = theory["invariant_change"], theory["invariant_change_standard_error"]
    assert float(change.sel(case="constant").max()) <= 1e-9
    assert float(change.sel(case="white")[-1]) > 3 * float(error.sel(case="white")[-1]) > 0
    assert np.isnan(theory["invariant_law_error"].sel(case="white")).all()
    for name in ("loss", "residual_norm", "nc1_trace_ratio"):
        assert np.isnan(theory[f"{name}_standard_error"].sel(case="constant")).all()
        assert (theory[f"{name}_standard_error"].sel(case="white")[1:] > 0).all()
    table = runs.result("noise").summary.tables[1]
    for row in table.rows:
        assert row[1] == 8
        found = theory.sel(case=row[0])
        assert row[2] == pytest.approx(float(found["nc1_trace_ratio"][-1]))
        assert row[3] == pytest.approx(float(found["nc1_trace_ratio_standard_error"][-1]))
        assert row[-2] == pytest.approx(float(found["invariant_change_standard_error"][-1]))
        assert np.isfinite(row[-1])


@pytest.mark.parametrize("name", ["imbalance", "noise", "weight_decay"])
def test_the_summary_is_the_last_time(name: str, runs: Runs) -> None:
    theory, table = runs.tree(name)["theory"], runs.result(name).summary.tables[0]
    assert [row[0] for row in table.rows] == theory["case"].values.tolist()
    for row in table.rows:
        found = theory.sel(case=row[0])
        assert row[1] == str(found["model"].values)
        expected = [
            float(np.linalg.norm(found["residual_norm"].values[-1])),
            *(float(found[metric][-1]) for metric in ("nc1_trace_ratio", "nc2_etf_distance", "nc3_unit_means")),
            *(float(found["invariant_relative_norm"][index]) for index in (0, -1)),
            float(found["invariant_change"][-1]),
        ]
        assert list(row[2:-1]) == pytest.approx(expected, rel=1e-12)
        law = float(found["invariant_law_error"].values.max())
        assert row[-1] is None if np.isnan(law) else row[-1] == pytest.approx(law)


MISTAKES = [
    ("sizes: [136, 136, 34, 34]", "sizes: [136, 136, 34]", "gives sizes for 3 classes, but problem.classes is 4"),
    ("sizes: [136, 136, 34, 34]", "sizes: [136, 136, 34, 1]", "sizes[3]"),
    ("kind: block", "kind: blocks", "block"),
    ("name: ratio 4", "name: ratio 1", "every case needs its own name"),
    (
        "kind: unequal_classes, sizes: [136, 136, 34, 34]",
        "kind: class_values, diagonal: [9, 9, 9, 9], same_class: [8, 8, 9, 8], different_class: 1",
        "the order diagonal > same_class > different_class is violated in class 2: 9, 9, 1",
    ),
    (
        "kind: unequal_classes, sizes: [136, 136, 34, 34]",
        "kind: class_values, diagonal: [9, 9, 9], same_class: [8, 8, 8, 8], different_class: 1",
        "diagonal has 3 values, but same_class has 4",
    ),
    (
        "kind: unequal_classes, sizes: [136, 136, 34, 34]",
        "kind: varying_values, snapshots: [{time: 1, diagonal: 3, same_class: 2, different_class: 1}, "
        "{time: 1, diagonal: 3, same_class: 2, different_class: 1}]",
        "must increase, but they are 1, 1",
    ),
    ("kind: unequal_classes, sizes: [136, 136, 34, 34]", "kind: noisy, noise: {}, step: 0.1, paths: 1", "paths"),
    ("kind: unequal_classes, sizes: [136, 136, 34, 34]", "kind: weight_decay, weight: -0.1", "weight"),
]


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES, ids=[message[:30] for *_, message in MISTAKES])
def test_mistakes_are_named(old: str, new: str, message: str, tmp_path: Any) -> None:
    text = (SCENARIOS / "imbalance.yaml").read_text()
    assert text.count(old) == 1
    path = tmp_path / "mistake.yaml"
    path.write_text(text.replace(old, new))
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    assert message in str(caught.value)
