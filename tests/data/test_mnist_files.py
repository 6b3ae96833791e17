"""MNIST and FashionMNIST from IDX files: what is in them arrives, and each fault of a file gets one clear message."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data.official import MNIST_TEST, MNIST_TRAIN, idx, mnist_arrays, numbers, write_mnist

from ntkflow.data import Samples, balanced_dataset, read_fashion_mnist, read_mnist
from ntkflow.data.fashion_mnist import DEBIAN_FOLDER, debian_has_fashion_mnist
from ntkflow.errors import DataError

NAMES = list(mnist_arrays())
LABELS = "t10k-labels-idx1-ubyte"
needs_debian = pytest.mark.skipif(
    not debian_has_fashion_mnist(), reason="Debian's package dataset-fashion-mnist is not installed"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mnist(tmp_path_factory.mktemp("mnist"))


@pytest.fixture(scope="module")
def mnist(folder: Path) -> Samples:
    return read_mnist(folder)


@pytest.fixture(scope="module")
def fashion() -> Samples:
    return read_fashion_mnist()


@pytest.fixture
def links(folder: Path, tmp_path: Path) -> Path:
    """Good files in a folder of this test's own, where one can be replaced."""
    for name in NAMES:
        (tmp_path / name).symlink_to(folder / name)
    return tmp_path


def replace(folder: Path, name: str, data: bytes, suffix: str = "") -> None:
    (folder / name).unlink()
    (folder / f"{name}{suffix}").write_bytes(data)


def test_what_is_in_the_files_arrives(mnist: Samples) -> None:
    arrays = mnist_arrays()
    assert np.array_equal(mnist.inputs.reshape(-1, 28, 28), arrays[NAMES[0]])
    np.testing.assert_array_equal(mnist.labels, arrays[NAMES[1]])
    assert mnist.test_inputs is not None
    assert np.array_equal(mnist.test_inputs.reshape(-1, 28, 28), arrays[NAMES[2]])
    np.testing.assert_array_equal(mnist.test_labels, arrays[NAMES[3]])
    assert str(mnist) == (
        "MNIST: 60000 images of 28×28, 5421 to 6742 of each of 10 classes; 10000 for testing, 892 to 1135 of each of "
        "10 classes"
    )


def test_the_test_set_is_the_published_one(mnist: Samples) -> None:
    made = balanced_dataset(mnist, samples_per_class=20, seed=0, dtype="float32")
    labels = np.concatenate([mnist_arrays()[NAMES[1]], mnist_arrays()[NAMES[3]]])
    trained, tested = numbers(made.inputs), numbers(made.test_inputs)
    np.testing.assert_array_equal(labels[trained], np.repeat(np.arange(10), 20))
    assert len(set(trained.tolist())) == 200
    np.testing.assert_array_equal(tested, np.arange(60_000, 70_000))
    np.testing.assert_array_equal(made.test_labels, labels[60_000:])


def test_fewer_classes_and_test_samples(mnist: Samples) -> None:
    made = balanced_dataset(mnist, samples_per_class=5, classes=3, test_samples_per_class=7, seed=0, dtype="float32")
    labels = np.concatenate([mnist_arrays()[NAMES[1]], mnist_arrays()[NAMES[3]]])
    tested = numbers(made.test_inputs)
    assert tested.min() >= 60_000
    assert len(set(tested.tolist())) == 21
    np.testing.assert_array_equal(labels[tested], np.repeat(np.arange(3), 7))
    np.testing.assert_array_equal(made.test_labels, np.repeat(np.arange(3), 7))


def test_more_than_the_rarest_digit_has(mnist: Samples) -> None:
    with pytest.raises(DataError, match=r"class 5 has 5421 samples, fewer than the 5422 asked for"):
        balanced_dataset(mnist, samples_per_class=5422, seed=0)
    with pytest.raises(DataError, match=r"data.test_samples_per_class: class 5 has 892 samples for testing, fewer"):
        balanced_dataset(mnist, samples_per_class=2, test_samples_per_class=893, seed=0)


@pytest.mark.parametrize(
    ("suffix", "packed"), [(".gz", True), ("", True), (".gz", False)], ids=["gzipped", "gzip unnamed", "plain named gz"]
)
def test_gzip_is_told_by_the_content(links: Path, suffix: str, packed: bool) -> None:
    for name in NAMES[1::2]:
        data = idx(mnist_arrays()[name])
        replace(links, name, gzip.compress(data) if packed else data, suffix)
    np.testing.assert_array_equal(read_mnist(links).labels, mnist_arrays()[NAMES[1]])


def test_the_name_that_unpacking_gives(links: Path) -> None:
    (links / LABELS).rename(links / "t10k-labels.idx1-ubyte")
    assert read_mnist(links).test_labels is not None


TEST_LABELS = idx(mnist_arrays()[LABELS])
PACKED = gzip.compress(TEST_LABELS)
OTHER = np.where(mnist_arrays()[LABELS] == 3, 4, mnist_arrays()[LABELS])
FAULTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the file is empty"),
    "cut off": (TEST_LABELS[:5000], "is cut off: 4992 of 10000 bytes of labels are there"),
    "cut off in the header": (TEST_LABELS[:6], "holds nothing according to its header"),
    "too long": (TEST_LABELS + b"\0", "goes on after the 10000 bytes of labels that its header announces"),
    "gzip cut off": (PACKED[:-20], "the gzipped file is cut off: its stream ends early"),
    "gzip damaged": (PACKED[:2000] + bytes([PACKED[2000] ^ 255]) + PACKED[2001:], "the gzipped file is damaged"),
    "gzip with a wrong sum": (PACKED[:-8] + b"\0\0\0\0" + PACKED[-4:], "the gzipped file is damaged"),
    "gzip with more behind it": (PACKED + b"more", "the gzipped file is damaged"),
    "gzipped twice": (gzip.compress(PACKED), "the file is gzipped twice"),
    "web page": (b"<!DOCTYPE html><html>404</html>", "no IDX file of unsigned bytes; it looks like a web page"),
    "archive": (b"PK\3\4" + bytes(50), "no IDX file of unsigned bytes; it looks like an archive"),
    "floats": (b"\0\0\x0d\1" + bytes(50), "no IDX file of unsigned bytes; it begins with the bytes 00 00 0d 01"),
    "images": (idx(np.zeros((10, 28, 28), np.uint8)), "holds images, and labels are expected in a file of this name"),
    "two dimensions": (idx(np.zeros((10, 28), np.uint8)), "holds an array of 2 dimensions, and labels are expected"),
    "other number": (idx(mnist_arrays()[LABELS][:9999]), "holds 9999 according to its header; MNIST's test labels are"),
    "a label of 10": (idx(np.where(OTHER == 9, 10, OTHER).astype(np.uint8)), "there is a label 10, and MNIST's go"),
    "other labels": (idx(OTHER.astype(np.uint8)), "these are not the labels of MNIST: 0 of them are 3, and not 1010"),
}


@pytest.mark.parametrize(("data", "said"), FAULTS.values(), ids=FAULTS.keys())
def test_faulty_labels(links: Path, data: bytes, said: str) -> None:
    replace(links, LABELS, data)
    with pytest.raises(DataError) as caught:
        read_mnist(links)
    assert str(caught.value).startswith(f"{links / LABELS}: ")
    assert said in str(caught.value)


def test_labels_in_place_of_images(links: Path) -> None:
    replace(links, "t10k-images-idx3-ubyte", TEST_LABELS)
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte: holds labels, and images are expected in a file of"):
        read_mnist(links)


def test_images_of_another_size(links: Path) -> None:
    replace(links, "t10k-images-idx3-ubyte", struct.pack(">IIII", 0x803, 10_000, 32, 32))
    with pytest.raises(DataError, match="holds 10000×32×32 according to its header; MNIST's test images are 10000×28"):
        read_mnist(links)


@pytest.mark.parametrize("read", [read_mnist, read_fashion_mnist])
def test_a_folder_without_them(read: Callable[[Path], Samples], links: Path) -> None:
    (links / LABELS).unlink()
    with pytest.raises(DataError) as caught:
        read(links)
    assert str(caught.value).startswith(f"{links}: there is no {LABELS}\n")
    assert str(caught.value).endswith(f"gzipped or not: {', '.join(NAMES)}.")
    with pytest.raises(DataError, match="there is no such folder"):
        read(links / "nowhere")
    with pytest.raises(DataError, match="is a file, and a folder is needed"):
        read(links / NAMES[0])


def test_a_header_that_promises_more_than_memory(links: Path) -> None:
    replace(links, LABELS, struct.pack(">BBBBI", 0, 0, 8, 1, 2**32 - 1) + bytes(100))
    with pytest.raises(DataError, match="holds 4294967295 according to its header"):
        read_mnist(links)


def test_a_gzip_that_unpacks_to_more_than_it_may(links: Path) -> None:
    """A small file of many zeros is not unpacked to its end."""
    replace(links, LABELS, gzip.compress(TEST_LABELS + bytes(1 << 24)))
    with pytest.raises(DataError, match="goes on after the 10000 bytes"):
        read_mnist(links)


def test_mnist_offered_as_fashion_mnist(folder: Path) -> None:
    with pytest.raises(DataError, match="this is MNIST, and not FashionMNIST\n  Take source: mnist for it"):
        read_fashion_mnist(folder)


def test_something_else_offered_as_fashion_mnist(links: Path) -> None:
    replace(links, LABELS, idx(OTHER.astype(np.uint8)))
    with pytest.raises(DataError, match="not the published file: the SHA-256 of its content is "):
        read_fashion_mnist(links)


def test_without_debians_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("ntkflow.data.fashion_mnist.DEBIAN_FOLDER", tmp_path / "nowhere")
    with pytest.raises(DataError) as caught:
        read_fashion_mnist()
    assert str(caught.value).startswith(
        "data.path: FashionMNIST is not here: Debian's package dataset-fashion-mnist is not installed\n"
        "  Install Debian's package dataset-fashion-mnist, or name a folder with "
    )


@needs_debian
def test_fashion_mnist_offered_as_mnist() -> None:
    with pytest.raises(DataError, match="this is FashionMNIST, and not MNIST\n  Take source: fashion_mnist for it"):
        read_mnist(DEBIAN_FOLDER)


@needs_debian
def test_fashion_mnist_is_debians(fashion: Samples) -> None:
    """Against the bytes of the packed files, read without the package's reader."""
    assert fashion.test_inputs is not None
    for name, array, start in zip(
        NAMES, (fashion.inputs, fashion.labels, fashion.test_inputs, fashion.test_labels), (16, 8, 16, 8), strict=True
    ):
        with gzip.open(DEBIAN_FOLDER / f"{name}.gz") as stream:
            assert stream.read()[start:] == np.asarray(array).tobytes()
    assert (np.bincount(fashion.labels).tolist(), np.bincount(fashion.test_labels).tolist()) == (
        [6000] * 10,
        [1000] * 10,
    )


@needs_debian
def test_fashion_mnist_plain_and_changed(tmp_path: Path, fashion: Samples) -> None:
    """The files unpacked are the same data set; one pixel or two labels changed is none."""
    for name in NAMES:
        with gzip.open(DEBIAN_FOLDER / f"{name}.gz") as stream:
            (tmp_path / name).write_bytes(stream.read())
    np.testing.assert_array_equal(read_fashion_mnist(tmp_path).labels, fashion.labels)
    data = bytearray((tmp_path / LABELS).read_bytes())
    data[8], data[9] = data[9], data[8]
    (tmp_path / LABELS).write_bytes(data)
    with pytest.raises(DataError, match=f"{LABELS}: not the published file: the SHA-256"):
        read_fashion_mnist(tmp_path)


def test_counts_that_are_told_from_fashion_mnist() -> None:
    assert (sum(MNIST_TRAIN), sum(MNIST_TEST)) == (60_000, 10_000)
    assert len(set(MNIST_TRAIN)) == 10
