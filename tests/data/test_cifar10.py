"""CIFAR-10 from files in its two published formats, and what is said of files that are not whole, or not its own."""

from __future__ import annotations

import contextlib
import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest
from data.official import (
    cifar_arrays,
    cifar_binary,
    cifar_python,
    numbers,
    python2_array,
    python2_list,
    text,
    whole,
)

from ntkflow.data import balanced_dataset, read_cifar10
from ntkflow.errors import DataError

SMALL = 100  # Images a batch, where the size of the published ones does not matter.
BATCHES = cifar_arrays(SMALL)


def write(folder: Path, version: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, batch in BATCHES.items():
        if version == "binary":
            (folder / f"{name}.bin").write_bytes(cifar_binary(*batch))
        else:
            (folder / name).write_bytes(cifar_python(*batch))
    return folder


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ntkflow.data.cifar10.IMAGES", SMALL)


def test_the_python_batches_of_the_tests_are_what_numpy_takes_them_for() -> None:
    """The writer of these tests is right: NumPy's own unpickling finds the same arrays in its files."""
    pixels, labels = BATCHES["data_batch_2"]
    batch = pickle.loads(cifar_python(pixels, labels), encoding="bytes")
    np.testing.assert_array_equal(batch[b"data"], pixels)
    assert batch[b"data"].dtype == np.uint8
    assert batch[b"labels"] == labels.tolist()


def test_the_size_of_a_published_batch(tmp_path: Path) -> None:
    write(tmp_path, "binary")
    assert "it holds 307300 bytes, and a batch has 30730000" in refusal(tmp_path)


@pytest.mark.slow
def test_batches_of_the_published_size(tmp_path: Path) -> None:
    batches = cifar_arrays(10_000)
    for name, (pixels, labels) in batches.items():
        (tmp_path / f"{name}.bin").write_bytes(np.column_stack([labels, pixels]).tobytes())
        assert (tmp_path / f"{name}.bin").stat().st_size == 30_730_000
    samples = read_cifar10(tmp_path)
    assert str(samples) == (
        "CIFAR-10: 50000 images of 3×32×32, 5000 of each of 10 classes; 10000 for testing, 1000 of each of 10 classes"
    )
    np.testing.assert_array_equal(samples.labels, np.concatenate([batches[f"data_batch_{k}"][1] for k in range(1, 6)]))
    np.testing.assert_array_equal(samples.inputs[-1], batches["data_batch_5"][0][-1])


@pytest.mark.parametrize("inside", ["", "archive's folder"])
@pytest.mark.parametrize("version", ["binary", "python"])
def test_what_is_in_the_files_arrives(tmp_path: Path, small: None, version: str, inside: str) -> None:
    name = {"binary": "cifar-10-batches-bin", "python": "cifar-10-batches-py"}[version]
    write(tmp_path / name if inside else tmp_path, version)
    samples = read_cifar10(tmp_path)
    pixels, labels = (np.concatenate(parts) for parts in zip(*BATCHES.values(), strict=True))
    assert samples.test_inputs is not None
    assert samples.test_labels is not None
    np.testing.assert_array_equal(np.concatenate([samples.inputs, samples.test_inputs]), pixels)
    np.testing.assert_array_equal(np.concatenate([samples.labels, samples.test_labels]), labels)
    assert len(samples.labels) == 5 * SMALL


def test_red_comes_first_and_then_row_by_row(tmp_path: Path, small: None) -> None:
    """Pixel (channel, row, column) is byte 1024·channel + 32·row + column of its image, as the format says."""
    write(tmp_path, "binary")
    made = balanced_dataset(read_cifar10(tmp_path), samples_per_class=3, seed=0, dtype="float32").as_images()
    assert made.inputs.shape == (30, 3, 32, 32)
    for image, number in zip(np.asarray(made.inputs), numbers(made.inputs), strict=True):
        row = np.concatenate([batch[0] for batch in BATCHES.values()])[number]
        for channel, line, column in [(0, 0, 2), (0, 0, 1), (2, 31, 31), (1, 4, 7)]:
            assert image[channel, line, column] == np.float32(row[1024 * channel + 32 * line + column] / 255)


def refusal(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_cifar10(folder)
    return str(caught.value)


def test_batches_that_are_missing(tmp_path: Path, small: None) -> None:
    assert refusal(tmp_path / "nowhere").startswith(f"{tmp_path / 'nowhere'}: there is no such folder\n  Name a folder")
    assert refusal(tmp_path).startswith(f"{tmp_path}: there is no data_batch_1\n")
    write(tmp_path, "binary")
    (tmp_path / "data_batch_3.bin").unlink()
    assert refusal(tmp_path).startswith(f"{tmp_path}: there is no data_batch_3.bin\n  Name a folder with the published")
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"")
    assert "An archive has to be unpacked first." in refusal(tmp_path / "cifar-10-binary.tar.gz")


BINARY = cifar_binary(*BATCHES["test_batch"])
BINARY_FAULTS = {
    "cut off": (BINARY[:-1], "is cut off, or no batch of CIFAR-10: it holds 307299 bytes, and a batch has 307300"),
    "too long": (BINARY + b"\0", "is no batch of CIFAR-10: it holds 307301 bytes, and a batch has 307300"),
    "empty": (b"", "the file is empty"),
    "damaged gzip": (gzip.compress(BINARY)[:-9], "the gzipped file is cut off"),
    "labels": (BINARY[:3073] + b"\x0a" + BINARY[3074:], "image 1 has the label 10, and labels go from 0 to 9"),
    "a training batch": (cifar_binary(*BATCHES["data_batch_1"]), "these are not the test batches of CIFAR-10: "),
}


@pytest.mark.parametrize(("data", "said"), BINARY_FAULTS.values(), ids=BINARY_FAULTS.keys())
def test_faulty_binary_batches(tmp_path: Path, small: None, data: bytes, said: str) -> None:
    write(tmp_path, "binary")
    (tmp_path / "test_batch.bin").write_bytes(data)
    assert said in refusal(tmp_path)


def test_one_batch_copied_over_another(tmp_path: Path, small: None) -> None:
    write(tmp_path, "binary")
    (tmp_path / "data_batch_2.bin").write_bytes(cifar_binary(*BATCHES["data_batch_1"]))
    assert "these are not the training batches of CIFAR-10" in refusal(tmp_path)


class Malice:
    """What a pickle can do to somebody who loads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return open, (str(self.path), "w")


PIXELS, LABELS = BATCHES["test_batch"]
LONG = python2_list(np.concatenate([LABELS, LABELS[:1]]))
FLOATS = python2_array(PIXELS).replace(text(b"u1"), text(b"f4"))
PYTHON_FAULTS = {
    "cut off": (cifar_python(PIXELS, LABELS)[:-500], "is no whole batch in the published Python format"),
    "text": (b"<html>no such page</html>", "it looks like a web page"),
    "a memory of 32 GB": (b"\x80\x02}r\xff\xff\xff\x7f.", "is no whole batch in the published Python format"),
    "a list": (b"\x80\x02].", "the batch has no data and labels"),
    "no labels": (cifar_python(PIXELS, LABELS, labels=None), "the batch has no data and labels"),
    "CIFAR-100": (cifar_python(PIXELS, LABELS, fine_labels=python2_list(LABELS)), "this is CIFAR-100, and not"),
    "fewer images": (cifar_python(PIXELS[1:], LABELS[1:]), "the batch's data are no array of 100×3072 bytes"),
    "other numbers": (cifar_python(PIXELS, LABELS, data=FLOATS), "the batch's data are no array of 100×3072 bytes"),
    "no array": (cifar_python(PIXELS, LABELS, data=whole(3)), "the batch's data are no array of 100×3072 bytes"),
    "a label of 10": (cifar_python(PIXELS, LABELS + 1), "the batch's labels are no list of whole numbers from 0 to 9"),
    "one label more": (cifar_python(PIXELS, LABELS, labels=LONG), "there are 100 images, but 101 labels"),
}


@pytest.mark.parametrize(("data", "said"), PYTHON_FAULTS.values(), ids=PYTHON_FAULTS.keys())
def test_faulty_python_batches(tmp_path: Path, small: None, data: bytes, said: str) -> None:
    write(tmp_path, "python")
    (tmp_path / "test_batch").write_bytes(data)
    assert refusal(tmp_path).startswith(f"{tmp_path / 'test_batch'}: ")
    assert said in refusal(tmp_path)


@pytest.mark.parametrize(
    "name", ["io.open", "os.system", "builtins.eval", "numpy.load", "numpy.core.multiarray.scalar"]
)
def test_a_pickle_that_asks_for_more_runs_nothing(tmp_path: Path, small: None, name: str) -> None:
    write(tmp_path, "python")
    target = tmp_path / "written"
    module, _, attribute = name.rpartition(".")
    call = f"c{module}\n{attribute}\n(".encode() + text(str(target).encode()) + text(b"w") + b"tR"
    (tmp_path / "data_batch_1").write_bytes(cifar_python(PIXELS, LABELS, batch_label=call))
    said = refusal(tmp_path)
    assert f"data_batch_1: the pickle asks for {name}, which no published batch of CIFAR-10 does; nothing" in said
    assert not target.exists()


def test_pickles_of_this_python_that_would_write_a_file(tmp_path: Path, small: None) -> None:
    write(tmp_path, "python")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / "data_batch_1").write_bytes(pickle.dumps({"data": Malice(tmp_path / "written")}, protocol))
        assert "the pickle asks for " in refusal(tmp_path)
    assert not (tmp_path / "written").exists()


def test_every_byte_that_is_changed_is_refused_or_harmless(tmp_path: Path) -> None:
    """A damaged pickle ends in a message of ours, whatever it makes Python's unpickler do."""
    from ntkflow.data.cifar_pickle import read_pickled_batch

    pixels = np.arange(12, dtype=np.uint8).reshape(2, 6)
    good = cifar_python(pixels, np.array([3, 4]))
    for place in range(len(good)):
        for flip in (1, 255):
            data = good[:place] + bytes([good[place] ^ flip]) + good[place + 1 :]
            with contextlib.suppress(DataError):
                read_pickled_batch(data, tmp_path, (2, 6))
    np.testing.assert_array_equal(read_pickled_batch(good, tmp_path, (2, 6))[0], pixels)
