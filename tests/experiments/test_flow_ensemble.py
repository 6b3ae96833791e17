"""Ensembles of the `flow` kind: each member is its own flow, the means are means, and what cannot be run is refused."""

from __future__ import annotations

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from experiments.command import SCENARIOS, ntkflow, settings
from experiments.conftest import Runs
from experiments.reduced import REDUCED
from flows.lowering import lower_for_cuda
from flows.paper_equations import Problem, full_residual, integrate_with_scipy, invariant_sides

from ntkflow.experiments.ensemble_members import ensemble_members, member_flow
from ntkflow.experiments.flow_ensemble import Kept, measure
from ntkflow.flows import unbalanced_state
from ntkflow.kernels import BlockKernel
from ntkflow.report import ensemble_drawings, render
from ntkflow.scenario import FlowEnsemble, FlowScenario, load_scenario

C, M, N = 3, 4, 5
METRICS = ("nc1_trace_ratio", "nc2_etf_distance", "nc3_unit_means")


def scenario(name: str, *overrides: str) -> tuple[FlowScenario, FlowEnsemble]:
    loaded = load_scenario(SCENARIOS / f"{name}.yaml", [*REDUCED[name], *overrides]).scenario
    assert isinstance(loaded, FlowScenario)
    assert loaded.ensemble is not None
    return loaded, loaded.ensemble


@pytest.fixture(scope="module")
def ratio(runs: Runs) -> xr.DataTree:
    return runs.tree("kernel_ratio")


@pytest.fixture(scope="module")
def phase(runs: Runs) -> xr.DataTree:
    return runs.tree("phase_diagram")


def test_a_member_is_the_flow_of_its_values(ratio: xr.DataTree) -> None:
    """Against SciPy on (19) in NumPy, from the state that the member says it has; every saved time."""
    theory, (loaded, ensemble) = ratio["theory"], scenario("kernel_ratio")
    key = ensemble_members(ensemble, loaded.seed).keys[4]
    kappa = (8.0, 6.4, float(theory["kernel_different_class"][4]))
    assert kappa[2] == 6.0
    kernel = BlockKernel(*kappa, classes=C, per_class=M)
    state = unbalanced_state(key, kernel, features=N, mean_scale=0.5)
    initial = (np.asarray(state.features), np.asarray(state.weight), np.asarray(state.bias))
    problem = Problem(kappa, M, np.eye(C), 32.0, initial, end=600.0)
    for index, (h, w, b) in enumerate(integrate_with_scipy(problem)):
        found = theory.isel(member=4, time=index)
        means = h.reshape(N, C, M).mean(axis=2)
        centred = means - means.mean(axis=1, keepdims=True)
        away = h - np.repeat(means, M, axis=1)
        expected = {
            "loss": (full_residual(problem, (h, w, b)) ** 2).sum() / 64,
            "nc1_trace_ratio": (away**2).sum() / M / (centred**2).sum(),
            "bias_mean": b.mean(),
            "weight_cosine": mean_cosine(w),
            "means_cosine": mean_cosine(means.T),
        }
        for name, value in expected.items():
            assert float(found[name]) == pytest.approx(value, rel=1e-4, abs=1e-7), (name, index)


def mean_cosine(rows: np.ndarray) -> float:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return float((unit @ unit.T)[~np.eye(len(rows), dtype=bool)].mean())


def test_angles_are_those_of_the_final_bias(ratio: xr.DataTree) -> None:
    """(62) and (66) with the corrected (68): γ = (1 − |1 − βC|√(1 − αC))/C, θ with the root in the denominator."""
    theory = ratio["theory"]
    beta = theory["bias_mean"].values[:, -1]
    kappa_n = theory["kernel_different_class"].values
    mu_class = 8.0 - 6.4 + M * (6.4 - kappa_n)
    root = np.sqrt(mu_class / (mu_class + C * M * kappa_n))
    for name, factor in (("weight_cosine", root), ("means_cosine", 1 / root)):
        constant = (1 - np.abs(1 - beta * C) * factor) / C
        np.testing.assert_allclose(theory[f"predicted_{name}"], -constant / (1 - constant), rtol=1e-12)
        np.testing.assert_allclose(theory[name].values[:, -1], -constant / (1 - constant), rtol=1e-6)
    assert np.abs(beta - 1 / C).min() > 0.01
    # Only κ_n > 0 tells the two angles apart.
    apart = np.abs(theory["weight_cosine"].values[:, -1] - theory["means_cosine"].values[:, -1])
    assert apart[:3].max() < 1e-6 < 1e-2 < apart[3:].min()


def test_means_and_standard_errors(ratio: xr.DataTree) -> None:
    theory, combined = ratio["theory"], ratio["combinations"]
    assert theory["combination"].values.tolist() == [0, 0, 0, 1, 1, 1]
    assert theory["repeat"].values.tolist() == [0, 1, 2] * 2
    assert combined["kernel_different_class"].values.tolist() == [0.0, 6.0]
    for name in ("nc3_unit_means", "bias_mean"):
        values = theory[name].values[:, -1].reshape(2, 3)
        np.testing.assert_allclose(combined[name], values.mean(axis=1), rtol=1e-14)
        expected = np.sqrt(((values - values.mean(axis=1, keepdims=True)) ** 2).sum(axis=1) / 2 / 3)
        np.testing.assert_allclose(combined[f"{name}_standard_error"], expected, rtol=1e-8, atol=1e-16)


def test_what_spoils_which_part_of_collapse(phase: xr.DataTree, runs: Runs) -> None:
    theory = phase["theory"]
    shape = (2, 3)  # weight_ratio, outside_scale
    nc1, nc2, nc3 = (theory[name].values[:, -1].reshape(shape) for name in METRICS)
    assert nc1[1, 0] < 1e-6
    assert (nc1[:, 2] > 1e-3).all()
    assert (nc1[:, 1] < nc1[:, 2] / 30).all()
    assert nc2[0].min() > 1e-3 > 1e-5 > nc2[1].max()
    assert nc3[0].min() > 1e-3 > 1e-5 > nc3[1].max()
    # One random state, so the scatter outside goes with the square of its scale.
    assert nc1[1, 2] == pytest.approx(100 * nc1[1, 1], rel=1e-3)
    assert theory["negative_directions"].values.reshape(shape).tolist() == [[2, 4, 4], [0, 2, 2]]
    relative = theory["invariant_relative_norm"].values.reshape(shape)
    assert relative[1, 0] < 1e-14
    # weight_ratio s alone: E = (s² − 1)F over (s² + 1)‖F‖.
    assert relative[0, 0] == pytest.approx((1 - 0.8**2) / (1 + 0.8**2), rel=1e-10)
    share = next(item for item in runs.result("phase_diagram").summary.quantities if item.name == "share collapsed")
    below = (nc1 < 1e-3) & (nc2 < 1e-3) & (nc3 < 1e-3)
    assert share.value == below.mean() > 0
    assert share.standard_error is None


def test_the_relative_invariant_at_the_start_is_that_of_the_state(phase: xr.DataTree) -> None:
    loaded, ensemble = scenario("phase_diagram")
    kernel = BlockKernel(12.0, 6.0, 1.5, classes=C, per_class=M)
    key = ensemble_members(ensemble, loaded.seed).keys[2]
    state = unbalanced_state(key, kernel, features=N, weight_ratio=0.8, outside_scale=0.1)
    arrays = (np.asarray(state.features), np.asarray(state.weight), np.asarray(state.bias))
    weight, feature = invariant_sides(Problem((12.0, 6.0, 1.5), M, np.eye(C), 1.0, arrays), arrays)
    expected = np.linalg.norm(weight - feature) / (np.linalg.norm(weight) + np.linalg.norm(feature))
    assert float(phase["theory"]["invariant_relative_norm"][2]) == pytest.approx(expected, rel=1e-10)


def test_draws_are_of_the_distribution_and_each_key_has_its_own() -> None:
    _, ensemble = scenario(
        "kernel_ratio",
        "ensemble.repeats=4000",
        "ensemble.vary=[{key: kernel.different_class, values: [0.5, 1.0]}, "
        "{key: initial.mean_scale, low: 0.01, high: 1, draw: log_uniform}, "
        "{key: initial.within_scale, low: 0.2, high: 0.6}]",
    )
    members = ensemble_members(ensemble, 3)
    mean, within = members.values["initial.mean_scale"], members.values["initial.within_scale"]
    # Kolmogorov's distance of 4000 draws exceeds 0.0308 with a probability of 0.001.
    for uniform in (np.log10(mean[:4000]) / 2 + 1, (within[:4000] - 0.2) / 0.4):
        distance = np.abs(np.sort(uniform) - (np.arange(4000) + 0.5) / 4000).max()
        assert distance < 0.0308
    assert abs(np.corrcoef(np.log(mean[:4000]), within[:4000])[0, 1]) < 4 / np.sqrt(4000)
    # The repeats of every combination share their numbers, and stay what they are beside other lists.
    assert np.array_equal(mean[:4000], mean[4000:])
    alone = ensemble_members(ensemble.model_copy(update={"vary": ensemble.vary[1:]}), 3)
    assert np.array_equal(alone.values["initial.mean_scale"], mean[:4000])
    assert np.array_equal(jax.random.key_data(alone.keys), jax.random.key_data(members.keys)[:4000])


def refused(output: Path, name: str, *overrides: str) -> str:
    return ntkflow("run", SCENARIOS / f"{name}.yaml", "-o", output, *settings(*REDUCED[name], *overrides)).refused()


def test_drawn_kernels_without_order_are_refused_before_anything_is_run(tmp_path: Path) -> None:
    message = refused(
        tmp_path / "out",
        "kernel_ratio",
        "ensemble.vary=[{key: kernel.same_class, low: 6.5, high: 9.5}]",
        "ensemble.repeats=40",
    )
    found = re.match(
        r"ensemble, member (\d+): the order diagonal > same_class > different_class >= 0 \(paper 3, Definition 3\.1\) "
        r"is violated by 8, (\S+), 1\.6 of the member with kernel\.same_class = (\S+)\n  Change the ranges",
        message,
    )
    assert found, message
    assert found[2] == found[3]
    assert float(found[2]) >= 8


def test_a_kernel_without_invariant_is_refused(tmp_path: Path) -> None:
    tiny = "kernel={diagonal: 2.0e-310, same_class: 1.0e-310, different_class: 0.0}"
    for name, place in (("phase_diagram", "ensemble, member 0"), ("block_flow", "kernel")):
        message = refused(tmp_path / name, name, tiny)
        assert message.startswith(f"{place}: the invariant E divides by mu_"), message


def test_a_chunk_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ntkflow.flows.ensemble.free_memory", lambda: 50_000)
    message = refused(tmp_path / "out", "kernel_ratio", "ensemble.chunk=6")
    said = r"the ensemble: 6 members at once need .* of memory, but .* can be used\n  A chunk of \d fits\."
    assert re.match(said, message), message


@pytest.mark.slow
def test_members_that_fail_are_nan_and_counted(tmp_path: Path) -> None:
    """The last two members, far larger than the others, need more steps than are allowed (250 against 230)."""
    output = tmp_path / "out"
    said = ntkflow(
        "run",
        SCENARIOS / "kernel_ratio.yaml",
        "-o",
        output,
        *settings(
            *REDUCED["kernel_ratio"],
            "ensemble.vary=[{key: initial.feature_scale, values: [0.5, 30]}]",
            "ensemble.repeats=2",
            "solver={method: tsit5, rtol: 1e-6, atol: 1e-8, max_steps: 240}",
        ),
    )
    assert said.code == 0, said.err
    assert "The solver gave up on 2 of 4 members" in said.out.replace("\n", " ")
    with xr.open_datatree(output / "results.nc", engine="h5netcdf") as tree:
        theory, combined = tree["theory"].load(), tree["combinations"].load()
    assert theory["failed"].values.tolist() == [False, False, True, True]
    assert np.isfinite(theory["loss"].values[:2]).all()
    assert np.isnan(theory["nc1_trace_ratio"].values[2:, -1]).all()
    assert combined["members"].values.tolist() == [2, 0]
    assert np.isfinite(combined["loss"].values).tolist() == [True, False]


@pytest.mark.slow
def test_bands_where_nothing_is_listed(phase: xr.DataTree) -> None:
    unlisted = phase.copy()
    unlisted["combinations"].attrs["listed"] = ""
    drawings = ensemble_drawings(unlisted)
    assert [drawing.name for drawing in drawings] == ["collapse", "residuals"]
    axes = drawings[0].draw().axes
    line = axes[0].get_lines()[0]
    median = np.median(phase["theory"]["nc1_trace_ratio"].values, axis=0)
    np.testing.assert_allclose(line.get_ydata(), np.maximum(median, 1e-10), rtol=1e-12)
    assert render(drawings[1]).svg_dark != render(drawings[1]).svg_light


def test_the_boundary_is_where_the_metric_crosses(phase: xr.DataTree) -> None:
    (drawing,) = ensemble_drawings(phase)
    panels = drawing.draw().axes[:3]
    for panel, name in zip(panels, METRICS, strict=True):
        below = phase["combinations"][name].values.reshape(2, 3).T < 1e-3
        edges = {tuple(np.round([*line.get_xdata(), *line.get_ydata()], 6)) for line in panel.get_lines()}
        expected = {
            (x - 0.5, x + 0.5, y + 0.5, y + 0.5) for x in range(2) for y in range(2) if below[y, x] != below[y + 1, x]
        } | {(0.5, 0.5, y - 0.5, y + 0.5) for y in range(3) if below[y, 0] != below[y, 1]}
        assert edges == expected
        assert edges or name != "nc1_trace_ratio"


def test_measuring_lowers_for_cuda() -> None:
    loaded, ensemble = scenario("phase_diagram")
    members = ensemble_members(ensemble, 0)
    first = jax.tree.map(lambda leaf: leaf[0], members.tree)
    make = member_flow(loaded, ensemble, 72.0)
    flow, state = make(first)
    assert "callback" not in lower_for_cuda(make, first)
    assert "callback" not in lower_for_cuda(measure, Kept(state, flow.kernel, flow.eigenvalues), jnp.asarray(72.0))
