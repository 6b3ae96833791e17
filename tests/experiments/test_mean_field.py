"""The mean-field kind against its recursions written out for erf, and its answers at the edges of what it can say."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from experiments.command import SCENARIOS
from experiments.conftest import Runs
from experiments.reduced import REDUCED

from ntkflow.errors import ScenarioError
from ntkflow.experiments import experiment
from ntkflow.experiments.outcome import Outcome
from ntkflow.scenario import load_scenario


@pytest.fixture(scope="module")
def tree(runs: Runs) -> xr.DataTree:
    return runs.tree("mean_field")


def run(*overrides: str) -> Outcome:
    loaded = load_scenario(SCENARIOS / "mean_field.yaml", (*REDUCED["mean_field"], *overrides))
    return experiment(loaded.scenario, folder=SCENARIOS, text="")


def erf_layers(weight: float, bias: float, correlation: float, depth: int) -> dict[str, np.ndarray]:
    """q, c, χ₁, χ_sr and the moments of activations of every layer; inputs with ‖x‖² = input dimension."""
    q, mixed = weight + bias, weight * correlation + bias
    rows: dict[str, list[float]] = {name: [] for name in ("q", "c", "chi", "chi_sr", "own", "beside")}
    for _ in range(depth):
        root, cross = np.sqrt((1 + 2 * q) ** 2 - 4 * q**2), np.sqrt((1 + 2 * q) ** 2 - 4 * mixed**2)
        own, beside = (2 / np.pi * np.arcsin(2 * of / (1 + 2 * q)) for of in (q, mixed))
        values = (q, mixed / q, weight * 4 / np.pi / root, weight * 4 / np.pi / cross, own, beside)
        for name, value in zip(rows, values, strict=True):
            rows[name].append(float(value))
        q, mixed = weight * own + bias, weight * beside + bias
    return {name: np.array(of) for name, of in rows.items()}


@pytest.mark.parametrize("network", [0, 1, 2])
def test_profiles_and_kernels_by_hand(tree: xr.DataTree, network: int) -> None:
    limits, profiles, kernels = (tree[name].to_dataset() for name in ("limits", "profiles", "kernels"))
    weight, bias = (float(limits[name][network]) for name in ("sigma_w2", "sigma_b2"))
    depth = profiles.sizes["layer"]
    for index, correlation in enumerate(profiles["correlation_of_inputs"].to_numpy()):
        expected = erf_layers(weight, bias, float(correlation), depth)
        assert np.allclose(np.exp(profiles["log_variance"][network]), expected["q"], rtol=1e-12)
        assert np.allclose(profiles["correlation"][network, :, index], expected["c"], rtol=1e-12)
        assert np.allclose(np.exp(profiles["log_chi_1"][network]), expected["chi"][:-1], rtol=1e-12)
        own, beside = 1.0, float(correlation)
        for layer in range(depth - 1):
            own = expected["own"][layer] + expected["chi"][layer] * own
            beside = expected["beside"][layer] + expected["chi_sr"][layer] * beside
            # Of depth L = layer + 2, α = L − 1.
            assert float(np.exp(kernels["log_kappa_1"][network, layer])) == pytest.approx(own / (layer + 1), rel=1e-12)
            assert float(kernels["kernel_correlation"][network, layer, index]) == pytest.approx(beside / own, rel=1e-11)


def test_the_plane_and_its_line(tree: xr.DataTree) -> None:
    plane = tree["plane"].to_dataset()
    chi, variance = plane["chi_1"].to_numpy(), plane["variance"].to_numpy()
    weights, biases = plane["sigma_w2"].to_numpy(), plane["sigma_b2"].to_numpy()
    for (row, column), q in np.ndenumerate(variance):
        expected = erf_layers(weights[row], biases[column], 0.0, 400)
        assert q == pytest.approx(expected["q"][-1], rel=1e-9)
        assert chi[row, column] == pytest.approx(expected["chi"][-1], rel=1e-9)
    for weight, bias in zip(plane["edge"].to_numpy()[1:], plane["edge_sigma_b2"].to_numpy()[1:], strict=True):
        assert erf_layers(weight, bias, 0.0, 400)["chi"][-1] == pytest.approx(1, abs=1e-9)
    for weight, bias in zip(plane["edge_at_depth"].to_numpy(), plane["edge_sigma_b2"].to_numpy(), strict=True):
        assert np.prod(erf_layers(weight, bias, 0.0, 7)["chi"]) == pytest.approx(1, abs=1e-9)


def test_phases_in_words(tree: xr.DataTree) -> None:
    assert tree["limits"]["phase"].to_numpy().tolist() == ["ordered", "edge", "chaotic"]


def test_beyond_float64() -> None:
    """Chaotic ReLU at depth 2 000: correlations are there, and the summary says what is not."""
    found = run("activation=relu", "depth=2000", "initializations=[{sigma_w2: 8.0}]")
    assert any("beyond what float64 can hold" in text for text in found.summary.warnings)
    (row,) = found.summary.tables[1].rows
    assert row[1:] == (None,) * 5
    kernels = found.tree["kernels"]
    assert np.all(np.isfinite(kernels["log_kappa_1"]))
    assert 3 < float(1 / kernels["kernel_correlation"][0, -1, 0]) < 4
    for drawing in found.drawings:
        drawing.draw()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("depth=1", "depth"),
        ("plane.sigma_w2={start: 0.0, end: 1.0}", r"sigma_w2.start must be above 0"),
        ("plane.sigma_b2={start: 1.0, end: 0.5}", "end must be above start"),
        ("initializations=[{sigma_w2: 0.0}]", "sigma_w2"),
        ("correlations=[1.5]", "correlations"),
    ],
)
def test_what_is_refused(override: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        load_scenario(SCENARIOS / "mean_field.yaml", (override,))
