"""The shipped runs to neural collapse, whole: one step size collapses, the other does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from experiments.command import SCENARIOS, ntkflow

from ntkflow.results import read_result

METRICS = ("nc1_within_std", "nc1_trace_ratio", "nc2_etf_distance", "nc3_unit_means")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("collapse_digits", 10), ("collapse_mnist5k", 6)])
def test_one_step_size_collapses_and_the_other_does_not(name: str, least: float, tmp_path: Path) -> None:
    said = ntkflow("run", SCENARIOS / f"{name}.yaml", "-o", tmp_path / "out")
    assert said.code == 0, said.err
    with read_result(tmp_path / "out").tree() as tree:
        losses, collapse = tree["losses"].ds.load(), tree["collapse"].ds.load()
        alignment = tree["invariant"].ds["zero_mean_alignment"].sel(sample="kernels").load()
    wrong = losses["misclassified"].sel(split="train")
    falls = np.empty((2, len(METRICS)))
    for member in range(2):
        fitted = wrong.isel(member=member).values == 0
        first = int(np.argmax(fitted))
        assert fitted[first:].mean() > 0.8
        assert fitted[-1]
        for column, metric in enumerate(METRICS):
            values = collapse[metric].isel(member=member).values
            falls[member, column] = values[first] / values[-1]
        epoch = int(losses["epoch"].values[first])
        print(
            f"{name}, member {member}: zero error at epoch {epoch};", *zip(METRICS, falls[member].round(1), strict=True)
        )
        print("  alignment of the invariant's sides", alignment.isel(member=member).values[[0, first, -1]].round(3))
    assert (falls[0] >= least).all()
    assert (falls[1] <= 5).all()
