"""The user's own .npz files: what is in them arrives, and each mistake gets one clear message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data.archives import INPUTS, LABELS, archive

from ntkflow.data import load_file, read_archive
from ntkflow.errors import DataError

HOW = "\n  Write it with numpy.savez(path, inputs=..., labels=...)."


def test_a_good_file(tmp_path: Path) -> None:
    path = archive(tmp_path / "mine.npz")
    made = load_file(path, samples_per_class=2, encoding="zero_centred", seed=0)
    assert made.name == str(path)
    assert (made.classes, made.per_class) == (2, 2)
    assert made.normalization == "values as in the file"
    np.testing.assert_array_equal(made.targets, [[0.5, -0.5], [-0.5, 0.5]])
    own = np.concatenate([made.inputs, made.test_inputs])
    np.testing.assert_array_equal(own[np.argsort(own[:, 0])], INPUTS)


@pytest.mark.parametrize("kind", ["float32", "float16", "uint8", "int64", "bool"])
def test_numbers_of_every_kind(tmp_path: Path, kind: str) -> None:
    path = archive(tmp_path / "mine.npz", inputs=(INPUTS * 8).astype(kind), labels=LABELS.astype("uint16"))
    made = load_file(path, samples_per_class=3, seed=0)
    assert made.inputs.dtype == np.float64
    own = np.asarray(made.inputs)
    expected = (INPUTS * 8).astype(kind).astype(float)
    assert sorted(map(tuple, own.tolist())) == sorted(map(tuple, expected.tolist()))


def test_other_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "state.npz", features=INPUTS, bias=LABELS, unused=LABELS)
    arrays = read_archive(tmp_path / "state.npz", ("bias", "features"))
    assert list(arrays) == ["bias", "features"]
    np.testing.assert_array_equal(arrays["features"], INPUTS)


def absent(path: Path) -> None:
    pass


def folder(path: Path) -> None:
    path.mkdir()


def empty(path: Path) -> None:
    path.touch()


def text(path: Path) -> None:
    path.write_text("inputs, labels\n1.5, 0\n")


def array_alone(path: Path) -> None:
    with open(path, "wb") as stream:
        np.save(stream, INPUTS)


def truncated(path: Path) -> None:
    archive(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def pickled(path: Path) -> None:
    archive(path, inputs=np.array([{"a": 1}, None], dtype=object))


def not_arrays(path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(path, "w") as stream:
        stream.writestr("inputs", "no array")
        stream.writestr("labels", "no array")


NOT_WHOLE = "is not a whole NumPy archive of numeric arrays"


@pytest.mark.parametrize(
    ("write", "what"),
    [
        (absent, "no such file"),
        (folder, "cannot be read (Is a directory)"),
        (empty, NOT_WHOLE),
        (text, NOT_WHOLE),
        (array_alone, NOT_WHOLE),
        (truncated, NOT_WHOLE),
        (pickled, NOT_WHOLE),
        (not_arrays, NOT_WHOLE),
        (lambda path: archive(path, labels=None), "has no array 'labels'; it holds inputs"),
        (lambda path: archive(path, inputs=None, labels=None), "has no array 'inputs'; it holds nothing"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, write: Callable[[Path], object], what: str) -> None:
    path = tmp_path / "mine.npz"
    write(path)
    with pytest.raises(DataError) as caught:
        load_file(path, samples_per_class=2, seed=0)
    assert str(caught.value) == f"{path}: {what}{HOW}"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_pickles_are_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "sprung",))

    archive(tmp_path / "mine.npz", inputs=np.array([Trap()], dtype=object))
    with pytest.raises(DataError):
        load_file(tmp_path / "mine.npz", samples_per_class=2, seed=0)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("arrays", "what"),
    [
        ({"inputs": INPUTS.astype(str)}, "array 'inputs' holds <U32, not numbers"),
        ({"inputs": INPUTS + 0j}, "array 'inputs' holds complex128, not numbers"),
        ({"inputs": INPUTS.astype("M8[s]")}, "array 'inputs' holds datetime64[s], not numbers"),
        ({"labels": LABELS.astype(str)}, "array 'labels' holds <U21, not numbers"),
        ({"labels": LABELS.astype(float)}, "labels must be one row of whole numbers, not float64 of shape (6,)"),
        ({"labels": LABELS + 0.5}, "labels must be one row of whole numbers, not float64 of shape (6,)"),
        ({"labels": LABELS.astype(bool)}, "labels must be one row of whole numbers, not bool of shape (6,)"),
        (
            {"labels": np.eye(2, dtype=int)[LABELS]},
            "labels must be one row of whole numbers, not int64 of shape (6, 2)",
        ),
        ({"inputs": INPUTS[:, 0]}, "inputs must have shape (samples, …), not (6,)"),
        ({"inputs": np.float64(1.0)}, "inputs must have shape (samples, …), not ()"),
        ({"labels": LABELS - 1}, "labels must be whole numbers from 0 to C - 1"),
        ({"labels": LABELS * 0}, "there is only one class; classification needs at least 2"),
        ({"labels": LABELS[:5]}, "6 inputs but 5 labels"),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value)),
)
def test_arrays_that_cannot_be_used(tmp_path: Path, arrays: dict[str, np.ndarray], what: str) -> None:
    path = archive(tmp_path / "mine.npz", **arrays)
    with pytest.raises(DataError) as caught:
        load_file(path, samples_per_class=2, seed=0)
    assert str(caught.value) == f"{path}: {what}"


def test_numbers_too_large_for_float64(tmp_path: Path) -> None:
    inputs = INPUTS.astype(np.longdouble)
    inputs[3, 1] = np.longdouble("1e4000")
    path = archive(tmp_path / "mine.npz", inputs=inputs)
    with pytest.raises(DataError, match="the first is sample 3"):
        load_file(path, samples_per_class=2, seed=0)
