"""The numbers of a comparison's summary, from the arrays of its results file, by NumPy."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import xarray as xr
from experiments.conftest import Runs
from experiments.reduced import SNAPSHOTS
from training.backpropagation import part_norms
from training.tiny import CLASSES, PER_CLASS, SAMPLES, STEP, STEPS, Z, dataset

from ntkflow.comparison import WINDOW
from ntkflow.results import Summary, Table, format_number

PARTS = ["global mean", "class means", "within class"]


@pytest.fixture(scope="module")
def tree(runs: Runs) -> xr.DataTree:
    return runs.tree("digits")


@pytest.fixture(scope="module")
def summary(runs: Runs) -> Summary:
    return runs.result("digits").summary


def table(summary: Summary, title: str) -> Table:
    (found,) = [table for table in summary.tables if table.title == title]
    return found


def quantity(summary: Summary, name: str) -> float:
    (found,) = [item.value for item in summary.quantities if item.name == name]
    return found


def test_loss_and_accuracies(tree: xr.DataTree, summary: Summary) -> None:
    training = tree["training"]
    last = training["residual"].values[-1]
    assert quantity(summary, "‖R‖² at the end") == pytest.approx((last**2).sum(), rel=1e-12)
    end = training.isel(moment=-1)
    logits = end["weight"].values @ end["features"].values + end["bias"].values[:, None]
    np.testing.assert_allclose(logits - np.asarray(dataset().target_matrix), last, rtol=0, atol=1e-12)
    right = np.mean(logits.argmax(axis=0) == np.repeat(np.arange(CLASSES), PER_CLASS))
    assert quantity(summary, "training accuracy") == pytest.approx(right, abs=1e-12)


def test_times_steps_and_norms(tree: xr.DataTree) -> None:
    training = tree["training"]
    np.testing.assert_allclose(training["norm_time"], STEP * np.arange(STEPS + 1), rtol=1e-14)
    np.testing.assert_allclose(training["time"], STEP * training["step"].values, rtol=1e-14)
    expected = np.stack([part_norms(item, CLASSES) for item in training["residual"].values])
    np.testing.assert_allclose(training["residual_norm"].values[training["step"].values], expected, rtol=1e-10)
    assert training["moment"].values.tolist() == [f"step {step}" for step in (*SNAPSHOTS, STEPS)]
    assert tree["theory"]["snapshot"].values.tolist() == [f"step {step}" for step in SNAPSHOTS]


def test_rates(tree: xr.DataTree, summary: Summary) -> None:
    rows = iter(table(summary, "Decay rates, measured and predicted").rows)
    training = tree["training"]
    for index, step in enumerate(SNAPSHOTS):
        d, c, n = training["logit_block_value"].values[index]
        single = d - c
        of_class = single + PER_CLASS * (c - n)
        for part, eigenvalue in enumerate([of_class + SAMPLES * n, of_class, single]):
            label, name, measured, curvature, block, _, whole = next(rows)
            assert (label, name) == (f"step {step}", PARTS[part])
            assert block == pytest.approx(-math.log(abs(1 - STEP * eigenvalue / Z)) / STEP, rel=1e-10)
            # The measured one: a straight line through the logarithm until it has moved so far.
            log = np.log(training["residual_norm"].values[step:, part])
            stop = max(5, 1 + next((k for k, x in enumerate(log) if abs(x - log[0]) >= WINDOW), len(log) - 1))
            slope = np.polyfit(STEP * np.arange(stop), log[:stop], 1)[0]
            assert measured == pytest.approx(-slope, rel=1e-8)
            stored = tree["comparison"].isel(snapshot=index, part=part)
            assert measured == pytest.approx(float(stored["rate_measured"]), rel=1e-14)
            assert curvature == pytest.approx(float(stored["rate_measured_curvature"]), rel=1e-14)
            assert whole == pytest.approx(float(tree["theory"]["rate_whole"][index, part]), rel=1e-14)
    assert next(rows, None) is None


def test_forecast_errors(tree: xr.DataTree, summary: Summary) -> None:
    found = table(summary, "Forecasts beside the real run: errors within the first e-fold")
    rows = iter(found.rows)
    training, theory = tree["training"], tree["theory"]
    moved = 0
    for index, step in enumerate(SNAPSHOTS):
        norms = training["residual_norm"].values[step:]
        fallen = [np.flatnonzero(norms[:, part] <= norms[0, part] / math.e) for part in range(3)]
        # A part that only falls to 0.9 of its norm moves too; the run then ends before its e-fold does.
        moves = [norms[-1, part] < 0.9 * norms[0, part] for part in range(3)]
        e_folds = [
            STEP * steps[0] if len(steps) else (math.inf if moves[part] else -1.0) for part, steps in enumerate(fallen)
        ]
        slowest = max(range(3), key=lambda part: (e_folds[part], part))
        reach = STEP * (len(norms) - 1)
        times = theory["forecast_time"].values[index]
        for model, label in (("full_frozen", "full frozen"), ("three_values", "three values")):
            row = next(rows)
            assert row[:2] == (f"step {step}", label)
            if e_folds[slowest] < 0:
                assert row[2:] == (None, None, None, None, None)
                continue
            moved += 1
            assert f"{PARTS[slowest]} from step {step}" in found.note
            if math.isinf(e_folds[slowest]):
                assert row[6] == f"> {format_number(reach)}"
            else:
                assert row[6] == pytest.approx(e_folds[slowest], rel=1e-9)
            forecast = theory["forecast_norm"].sel(model=model).values[index]
            real = tree["comparison"]["real_norm"].values[index]
            within = times <= step * STEP + min(e_folds[slowest], reach) * (1 + 1e-9)
            expected = 100 * (np.abs(forecast - real) / real)[within].max(axis=0)
            np.testing.assert_allclose(np.array(row[2:5], dtype=float), expected, rtol=1e-8)
            whole, real_whole = np.linalg.norm(forecast, axis=1), np.linalg.norm(real, axis=1)
            assert row[5] == pytest.approx(100 * (np.abs(whole - real_whole) / real_whole)[within].max(), rel=1e-8)
    assert moved >= 2
    assert next(rows, None) is None


def test_real_norms_are_those_of_the_run(tree: xr.DataTree) -> None:
    for index in range(len(SNAPSHOTS)):
        steps = np.rint(tree["theory"]["forecast_time"].values[index] / STEP).astype(int)
        expected = tree["training"]["residual_norm"].values[steps]
        np.testing.assert_allclose(tree["comparison"]["real_norm"].values[index], expected, rtol=1e-10)


def test_horizons(tree: xr.DataTree, summary: Summary) -> None:
    rows = iter(table(summary, "Forecasts beside the real run: reliable horizons").rows)
    for index, step in enumerate(SNAPSHOTS):
        since = tree["theory"]["forecast_time"].values[index] - STEP * step
        for model in ("full_frozen", "three_values"):
            errors = tree["comparison"]["norm_error"].sel(model=model).values[index]
            for part, cell in enumerate(next(rows)[2:]):
                beyond = np.flatnonzero(errors[:, part] > 0.1)
                if beyond.size:
                    assert cell == pytest.approx(since[beyond[0]], rel=1e-9)
                else:
                    assert isinstance(cell, str)
                    assert cell.startswith("> ")
    assert next(rows, None) is None


def test_kernels(tree: xr.DataTree, summary: Summary) -> None:
    rows = iter(table(summary, "Measured kernels").rows)
    same = np.kron(np.eye(CLASSES), np.ones((PER_CLASS, PER_CLASS))).astype(bool)
    diagonal = np.eye(SAMPLES, dtype=bool)
    for index, label in enumerate(tree["training"]["moment"].values):
        for name, symbol in (("logit", "Θ"), ("feature", "Θʰ")):
            kernel = tree["training"][f"{name}_kernel"].values[index]
            row = next(rows)
            assert row[:2] == (label, symbol)
            values = [kernel[diagonal].mean(), kernel[same & ~diagonal].mean(), kernel[~same].mean()]
            assert row[2:8:2] == pytest.approx(values, rel=1e-10)
            assert row[8] == pytest.approx(kernel[same].sum() / np.linalg.norm(kernel) / np.sqrt(same.sum()), rel=1e-10)
            limit = float(tree["training"]["step_limit"][index])
            assert row[10] == (pytest.approx(limit, rel=1e-12) if name == "logit" else None)


def test_collapse_metrics(tree: xr.DataTree, summary: Summary) -> None:
    found = table(summary, "Neural collapse and the invariant")
    place = [column.name for column in found.columns].index("nc1_trace_ratio")
    for index, row in enumerate(found.rows):
        by_class = np.split(tree["training"]["features"].values[index], CLASSES, axis=1)
        within = np.mean([block.var(axis=1).sum() for block in by_class])
        between = np.stack([block.mean(axis=1) for block in by_class]).var(axis=0).sum()
        assert row[place] == pytest.approx(within / between, rel=1e-9)


def test_the_statements_say_what_was_run(summary: Summary) -> None:
    text = " ".join(summary.statements)
    assert "scikit-learn digits: 12 training samples, 4 of each of 3 classes" in text
    assert "tanh network 64-8-6-3, 595 parameters, 600 full-batch gradient-descent steps of 0.05 (t = 30)" in text
    assert "Z = N = 12" in text


def test_the_statement_on_forecasts_is_the_worst_of_its_table(summary: Summary) -> None:
    found = table(summary, "Forecasts beside the real run: errors within the first e-fold")
    slowest = re.findall(r"([a-z ]+) from (step \d+)", found.note.split(":")[1])
    part_of = {step: PARTS.index(part.strip()) for part, step in slowest if part.strip() in PARTS}
    for label in ("full frozen", "three values"):
        worst = max(row[2 + part_of[row[0]]] for row in found.rows if row[1] == label and row[0] in part_of)
        (sentence,) = [text for text in summary.statements if text.startswith(f"{label.capitalize()} forecast:")]
        assert f"at most {worst:.2g} % off" in sentence


def test_the_ladder_adds_up(tree: xr.DataTree, summary: Summary) -> None:
    """Two rungs here: what is added is a difference of logarithms at the end of what is judged."""
    found = table(summary, "The ladder: what each assumption adds to the error")
    group, comparison, theory = tree["ladder"], tree["comparison"], tree["theory"]
    rows = iter(found.rows)
    judged = 0
    for index, step in enumerate(SNAPSHOTS):
        if not (name := str(group["ladder_part"].values[index])):
            assert np.isnan(group["log_ratio"].values[index]).all()
            continue
        judged += 1
        part = PARTS.index(name.replace("_", " "))
        since = theory["forecast_time"].values[index] - STEP * step
        last = int(np.flatnonzero(since <= float(comparison["judged_time"][index]) * (1 + 1e-9))[-1])
        norms = theory["forecast_norm"].values[index, :, last, part]
        logs = np.log(norms / comparison["real_norm"].values[index, last, part])
        added = np.array([logs[0], logs[1] - logs[0]])
        np.testing.assert_allclose(group["log_ratio"].values[index], logs, rtol=1e-9)
        np.testing.assert_allclose(group["added"].values[index], added, rtol=1e-9, atol=1e-12)
        for place, label in enumerate(("full frozen", "three values")):
            row = next(rows)
            assert (row[0], row[1], row[3]) == (f"step {step}", PARTS[part], label)
            assert row[2] == pytest.approx(since[last], rel=1e-9)
            assert row[4] == pytest.approx(np.exp(logs[place]), rel=1e-9)
            assert row[5] == pytest.approx(added[place], rel=1e-9)
            assert row[6] == pytest.approx(100 * added[place] / logs[1], rel=1e-9)
    assert judged >= 2
    assert next(rows, None) is None


def test_features_weights_and_biases_at_later_snapshots(tree: xr.DataTree, summary: Summary) -> None:
    """The table shows what is stored, for every later snapshot and no earlier one (their values: test_rungs.py)."""
    found = table(summary, "Features, weights and biases at later snapshots")
    errors, moments = tree["comparison"]["state_error"], [f"step {step}" for step in (*SNAPSHOTS, STEPS)]
    assert errors["moment"].values.tolist() == moments
    shown = {(row[0], row[1], row[2]): row[3:] for row in found.rows}
    for index, label in enumerate(moments[:-1]):
        of_snapshot = errors.sel(snapshot=label).values
        assert np.isnan(of_snapshot[:, : index + 1]).all()
        assert np.isfinite(of_snapshot[:, index + 1 :]).all()
        for place, title in enumerate(("full frozen", "three values")):
            for later in range(index + 1, len(moments)):
                np.testing.assert_allclose(shown[label, title, moments[later]], 100 * of_snapshot[place, later])


def test_forecast_losses_and_metrics(tree: xr.DataTree) -> None:
    theory, training = tree["theory"], tree["training"]
    norms = theory["forecast_norm"].values
    np.testing.assert_allclose(theory["forecast_loss"].values, (norms**2).sum(axis=-1) / (2 * Z), rtol=1e-10)
    # A forecast starts from the real features.
    for index in range(len(SNAPSHOTS)):
        for name in ("nc1_trace_ratio", "nc2_etf_distance", "nc3_means"):
            start = theory[f"forecast_{name}"].values[index, :, 0]
            np.testing.assert_allclose(start, float(training[name].values[index]), rtol=1e-8)
