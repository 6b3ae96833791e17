"""The data of a scenario: every key reaches the data set, relative paths start at the scenario."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data.archives import archive
from data.official import cifar_arrays, cifar_binary, mnist_arrays, numbers, write_mnist
from experiments.command import SCENARIOS, ntkflow, settings

from ntkflow.data import Dataset
from ntkflow.errors import ScenarioError
from ntkflow.experiments.sources import load_dataset
from ntkflow.scenario import ComparisonScenario, load_scenario


def loaded(data: str, folder: Path, **options: str) -> Dataset:
    """The data of the shipped comparison with another section ``data``, as if it lay in ``folder``."""
    scenario = load_scenario(SCENARIOS / "digits.yaml", (f"data={data}",)).scenario
    assert isinstance(scenario, ComparisonScenario)
    return load_dataset(scenario.data, seed=3, folder=folder, **options)


def test_every_key_of_a_published_source(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    keys = "classes: 4, samples_per_class: 6, test_samples_per_class: 5, labels: zero_centred, label_noise: 0.5"
    made = loaded(f"{{source: mnist, path: ., {keys}}}", tmp_path, dtype="float32")
    assert made.name == "MNIST"
    assert (made.inputs.shape, made.test_inputs.shape, made.inputs.dtype) == ((24, 784), (20, 784), np.float32)
    np.testing.assert_array_equal(made.targets, np.eye(4, dtype=np.float32) - np.float32(0.25))
    true = mnist_arrays()["train-labels-idx1-ubyte"][numbers(made.inputs)]
    np.testing.assert_array_equal(made.true_labels, true)
    assert np.sum(true != np.asarray(made.labels)) == 12
    assert numbers(made.test_inputs).min() >= 60_000


def test_defaults_of_a_published_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ntkflow.data.cifar10.IMAGES", 100)
    for name, batch in cifar_arrays(100).items():
        (tmp_path / f"{name}.bin").write_bytes(cifar_binary(*batch))
    made = loaded(f"{{source: cifar10, path: {tmp_path}, samples_per_class: 6}}", Path("elsewhere"))
    assert (made.classes, made.per_class, made.inputs.dtype) == (10, 6, np.float64)
    assert made.test_inputs.shape == (100, 3072)
    assert made.normalization == "pixels divided by 255, to [0, 1]"
    np.testing.assert_array_equal(made.true_labels, made.labels)
    np.testing.assert_array_equal(made.targets, np.eye(10))


def test_a_file_of_images(tmp_path: Path) -> None:
    inputs = np.random.default_rng(0).normal(size=(12, 3, 4))
    archive(tmp_path / "own.npz", inputs=inputs, labels=np.arange(12) % 2)
    made = loaded("{source: file, path: own.npz, samples_per_class: 6, normalization: standardized}", tmp_path)
    assert (made.inputs.shape, made.as_images().inputs.shape) == ((12, 3, 4), (12, 1, 3, 4))
    values = np.sort(np.asarray(made.inputs).ravel())
    np.testing.assert_allclose(values, np.sort((inputs.ravel() - inputs.mean()) / inputs.std()), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("{source: mnits, samples_per_class: 4}", "did you mean 'mnist'?"),
        ("{source: mnist, samples_per_class: 4}", "path"),
        ("{source: cifar10, path: x, samples_per_class: 4, classes: 11}", "classes"),
        ("{source: digits, samples_per_class: 4, path: x}", "data.path: unknown key"),
        ("{source: digits, samples_per_class: 4, label_noise: 1.5}", "label_noise"),
        ("{source: digits, samples_per_class: 4, test_samples_per_class: 0}", "test_samples_per_class"),
        ("{source: file, path: x, samples_per_class: 4, normalization: unit_interval}", "normalization"),
    ],
)
def test_what_no_data_are(data: str, said: str) -> None:
    with pytest.raises(ScenarioError, match=said.replace("?", r"\?")):
        load_scenario(SCENARIOS / "digits.yaml", (f"data={data}",))


def test_a_run_whose_data_are_not_there(tmp_path: Path) -> None:
    data = settings("data={source: cifar10, path: nowhere, samples_per_class: 4}")
    said = ntkflow("run", SCENARIOS / "digits.yaml", "-o", tmp_path / "out", *data).refused()
    assert said.startswith(
        f"{SCENARIOS / 'nowhere'}: there is no such folder\n  Name a folder with the published batches"
    )
