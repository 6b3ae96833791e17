"""Data and initial states from the user's own files: found beside the scenario, used as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
from experiments.command import SCENARIOS, ntkflow, settings
from experiments.conftest import Runs
from experiments.reduced import REDUCED

from ntkflow.experiments import experiment
from ntkflow.flows import zero_invariant_state
from ntkflow.kernels import BlockKernel
from ntkflow.scenario import load_scenario


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Copies of the scenarios somewhere else, from where this process does not run."""
    for path in SCENARIOS.glob("*.yaml"):
        (tmp_path / path.name).write_text(path.read_text())
    return tmp_path


@pytest.mark.slow
def test_digits_from_a_file_train_as_digits_do(folder: Path, runs: Runs) -> None:
    images, labels = sklearn.datasets.load_digits(return_X_y=True)
    wanted = labels < 3
    np.savez(folder / "mine.npz", inputs=images[wanted] / 16, labels=labels[wanted])
    overrides = [item for item in REDUCED["digits"] if not item.startswith("data.")]
    data = "data={source: file, path: mine.npz, samples_per_class: 4, labels: zero_centred}"
    loaded = load_scenario(folder / "digits.yaml", (*overrides, data))
    own = experiment(loaded.scenario, folder=loaded.path.parent, text="").tree["training"]
    expected = runs.tree("digits")["training"]
    for name in ("residual", "feature_kernel", "features"):
        np.testing.assert_array_equal(own[name].values, expected[name].values)


CASE = "cases=[{name: given, initial: {kind: file, path: state.npz}}]"


def state(folder: Path, **changed: np.ndarray) -> None:
    import jax

    made = zero_invariant_state(jax.random.key(3), BlockKernel(8.0, 6.4, 1.6, classes=3, per_class=4), features=8)
    arrays = {"features": made.features, "weight": made.weight, "bias": made.bias, **changed}
    np.savez(folder / "state.npz", **{name: np.asarray(array) for name, array in arrays.items()})


def test_a_flow_from_a_given_state(folder: Path) -> None:
    state(folder)
    loaded = load_scenario(folder / "block_flow.yaml", (*REDUCED["block_flow"], CASE))
    theory = experiment(loaded.scenario, folder=loaded.path.parent, text="").tree["theory"]
    with np.load(folder / "state.npz") as stored:
        logits = stored["weight"] @ stored["features"] + stored["bias"][:, None]
    norm = np.linalg.norm(logits - np.repeat(np.eye(3), 4, axis=1))
    assert np.linalg.norm(theory["residual_norm"].values[0, 0]) == pytest.approx(norm, rel=1e-12)
    assert float(theory["invariant_relative_norm"][0, 0]) < 1e-12
    assert float(theory["nc1_trace_ratio"][0, -1]) < 1e-6 * float(theory["nc1_trace_ratio"][0, 0])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"weight": np.zeros((8, 3))}, "array 'weight' has shape (8, 3), but the scenario's problem asks for (3, 8)"),
        (
            {"features": np.zeros((8, 9))},
            "array 'features' has shape (8, 9), but the scenario's problem asks for (8, 12)",
        ),
        ({"bias": np.array([0, np.nan, 0])}, "array 'bias' has values that are NaN or infinite"),
        ({"bias": np.array([0, np.inf, 0])}, "array 'bias' has values that are NaN or infinite"),
        ({"bias": np.zeros(3, dtype=complex)}, "array 'bias' holds complex128, not numbers"),
    ],
)
def test_a_given_state_that_cannot_be_used(folder: Path, changed: dict[str, np.ndarray], said: str) -> None:
    state(folder, **changed)
    message = ntkflow(
        "run", folder / "block_flow.yaml", "-o", folder / "out", *settings(*REDUCED["block_flow"], CASE)
    ).refused()
    assert message.startswith(f"{folder / 'state.npz'}: {said}\n")
    assert message.endswith("which was left without a manifest.")


def test_a_given_state_that_is_not_there(folder: Path) -> None:
    message = ntkflow(
        "run", folder / "block_flow.yaml", "-o", folder / "out", *settings(*REDUCED["block_flow"], CASE)
    ).refused()
    assert message.startswith(
        f"{folder / 'state.npz'}: no such file\n"
        "  Write it with numpy.savez(path, features=..., weight=..., bias=...).\n"
    )
