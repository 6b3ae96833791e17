"""Scenarios at the edge: what is exactly zero, or overflows, ends in a clean report and not in warnings of NumPy.

The tests' settings make every warning an error, so a run that ends with 0 has had none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from experiments.command import SCENARIOS, ntkflow, settings
from experiments.reduced import REDUCED
from training.tiny import CLASSES, PER_CLASS, dataset

from ntkflow.results import read_result


@pytest.mark.slow
def test_classes_whose_samples_are_all_the_same(tmp_path: Path) -> None:
    """Nothing is within a class, in the run as in every forecast: no rate, and nothing to be wrong about."""
    np.savez(
        tmp_path / "same.npz",
        inputs=np.repeat(np.asarray(dataset().inputs)[::PER_CLASS], PER_CLASS, axis=0),
        labels=np.repeat(np.arange(CLASSES), PER_CLASS),
    )
    (tmp_path / "same.yaml").write_text((SCENARIOS / "digits.yaml").read_text())
    data = "data={source: file, path: same.npz, samples_per_class: 4, labels: zero_centred}"
    own = [item for item in REDUCED["digits"] if not item.startswith("data.")]
    said = ntkflow("run", tmp_path / "same.yaml", "-o", tmp_path / "out", *settings(*own, data))
    assert said.code == 0, said.err
    result = read_result(tmp_path / "out")
    with result.tree() as tree:
        assert not tree["training"]["residual_norm"].sel(part="within_class").values.any()
        assert np.isnan(tree["comparison"]["rate_measured"].sel(part="within_class")).all()
    assert not [text for text in result.summary.warnings if "within-class" in text]


@pytest.mark.slow
def test_descent_that_grows_beyond_all_numbers(tmp_path: Path) -> None:
    said = ntkflow(
        "run",
        SCENARIOS / "residual_eigenspaces.yaml",
        "-o",
        tmp_path / "out",
        *settings("step_sizes=[0.1, 50.0]", "steps=5000"),
    )
    assert said.code == 0, said.err
    result = read_result(tmp_path / "out")
    with result.tree() as tree:
        assert np.isinf(tree["theory"]["descent_norm"].sel(step_size=50.0).values[-1]).any()
    (warning,) = result.summary.warnings
    assert "η = 50 is above the largest stable step" in warning
