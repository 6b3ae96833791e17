"""`residual_eigenspaces.yaml` against dense matrix powers and exponentials."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from experiments.command import SCENARIOS
from experiments.conftest import Runs
from experiments.reduced import REDUCED
from kernels.dense import block_matrix, projectors
from scipy.linalg import expm

from ntkflow.experiments import experiment
from ntkflow.scenario import load_scenario

CLASSES, PER_CLASS = 4, 5
SAMPLES = CLASSES * PER_CLASS
KERNEL = block_matrix(10.0, 8.0, 2.0, CLASSES, PER_CLASS)


def residual(norms: tuple[float, float, float]) -> np.ndarray:
    """Another residual whose parts have these norms; within each eigenspace its direction is without effect."""
    random = np.random.default_rng(5).standard_normal((CLASSES, SAMPLES))
    parts = [random @ on for on in projectors(CLASSES, PER_CLASS)]
    return sum(norm * part / np.linalg.norm(part) for norm, part in zip(norms, parts, strict=True))


def norms_of(array: np.ndarray) -> list[float]:
    return [float(np.linalg.norm(array @ on)) for on in projectors(CLASSES, PER_CLASS)]


@pytest.fixture(scope="module")
def theory(runs: Runs) -> xr.DataTree:
    return runs.tree("residual_eigenspaces")["theory"]


def test_steps_are_powers_of_the_dense_matrix(theory: xr.DataTree) -> None:
    initial = residual((1.0, 1.0, 1.0))
    assert theory["step"].values.tolist() == list(range(61))
    for size in theory["step_size"].values:
        for step in (0, 1, 2, 7, 60):
            power = np.linalg.matrix_power(np.eye(SAMPLES) - size * KERNEL / SAMPLES, step)
            own = theory["descent_norm"].sel(step_size=size, step=step).values
            # Above the limit the dense power drowns the other parts in the rounding of the one that grows.
            rounding = 1e-14 * np.linalg.norm(power, 2)
            np.testing.assert_allclose(own, norms_of(initial @ power), rtol=1e-9, atol=1e-12 + rounding)


def test_the_flow_is_the_dense_exponential(theory: xr.DataTree) -> None:
    initial = residual((1.0, 1.0, 1.0))
    for size in theory["step_size"].values:
        for step in (0, 1, 7, 60):
            own = theory["flow_norm"].sel(step_size=size, step=step).values
            assert float(theory["time"].sel(step_size=size, step=step)) == pytest.approx(size * step, rel=1e-14)
            expected = norms_of(initial @ expm(-size * step * KERNEL / SAMPLES))
            np.testing.assert_allclose(own, expected, rtol=1e-9, atol=1e-12)


def test_eigenvalues_rates_and_the_limit(theory: xr.DataTree) -> None:
    values = np.linalg.eigvalsh(KERNEL)
    own = np.repeat(theory["eigenvalue"].values, theory["multiplicity"].values)
    np.testing.assert_allclose(np.sort(own), values, rtol=1e-12)
    np.testing.assert_allclose(theory["rate"], theory["eigenvalue"].values / SAMPLES, rtol=1e-14)
    assert float(theory["step_limit"]) == pytest.approx(2 * SAMPLES / values[-1], rel=1e-12)


def test_the_summary(theory: xr.DataTree, runs: Runs) -> None:
    summary = runs.result("residual_eigenspaces").summary
    values = {item.name: item.value for item in summary.quantities}
    assert values["largest stable step"] == pytest.approx(float(theory["step_limit"]), rel=1e-14)
    rate = theory["rate"].values
    assert values["condition"] == pytest.approx(rate[0] / rate[2], rel=1e-14)
    for part, row in enumerate(summary.tables[0].rows):
        factors = [1 - size * rate[part] for size in theory["step_size"].values]
        assert list(row[1:]) == pytest.approx(
            [float(theory["eigenvalue"][part]), int(theory["multiplicity"][part]), rate[part], *factors], rel=1e-12
        )
    beyond = [size for size in theory["step_size"].values if size > float(theory["step_limit"])]
    assert [text.split()[2] for text in summary.warnings] == [f"{size:g}" for size in beyond]


def test_above_the_limit_it_grows_and_is_said_to() -> None:
    """From initial norms of the user's choice."""
    overrides = (
        *REDUCED["residual_eigenspaces"],
        "step_sizes=[0.5, 0.7]",
        "initial={global_mean: 3.0, class_means: 0.5}",
    )
    scenario = load_scenario(SCENARIOS / "residual_eigenspaces.yaml", overrides).scenario
    outcome = experiment(scenario, folder=SCENARIOS, text="")
    theory = outcome.tree["theory"]
    limit = float(theory["step_limit"])
    top = np.linalg.eigvalsh(KERNEL)[-1]
    assert limit == pytest.approx(2 * SAMPLES / top, rel=1e-12)
    grown = 3.0 * abs(1 - 0.7 * top / SAMPLES) ** 60
    assert float(theory["descent_norm"].sel(step_size=0.7, step=60, part="global_mean")) == pytest.approx(
        grown, rel=1e-9
    )
    np.testing.assert_allclose(theory["descent_norm"].values[:, 0], [[3.0, 0.5, 1.0]] * 2, rtol=1e-12)
    unstable = [size for size in (0.5, 0.7) if size > limit]
    assert unstable == [0.7]
    assert outcome.summary.warnings == (
        f"η = 0.7 is above the largest stable step {limit:.4g}: the global mean grows, by the end to {grown:.3g}.",
    )
