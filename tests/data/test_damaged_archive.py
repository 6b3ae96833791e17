"""An archive damaged anywhere is either refused in words or, where the damage hits nothing that is read, unchanged."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ntkflow.data import read_archive
from ntkflow.errors import DataError

ARRAYS = {"inputs": np.arange(6.0).reshape(3, 2), "labels": np.arange(3)}


def outcome(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    try:
        # NumPy warns of headers written by Python 2; whether it does is its own affair.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            arrays = read_archive(path, tuple(ARRAYS))
    except DataError as error:
        return "refused" if str(path) in str(error) else f"{error} does not name the file"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "same" if all(np.array_equal(arrays[name], ARRAYS[name]) for name in ARRAYS) else "wrong numbers"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("flip", [0x01, 0xFF])
def test_one_damaged_byte_anywhere(tmp_path: Path, save: Callable[..., None], flip: int) -> None:
    path = tmp_path / "mine.npz"
    save(path, **ARRAYS)
    whole = path.read_bytes()
    # Zip archives check their contents by CRC-32: wrong numbers cannot come out of one flipped byte.
    found = {i: outcome(path, whole[:i] + bytes([whole[i] ^ flip]) + whole[i + 1 :]) for i in range(len(whole))}
    bad = {place: what for place, what in found.items() if what not in ("refused", "same")}
    assert not bad, f"{len(bad)} of {len(whole)} places, such as {dict(list(bad.items())[:3])}"
    assert sum(what == "refused" for what in found.values()) > len(whole) / 3


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_cut_off_anywhere(tmp_path: Path, save: Callable[..., None]) -> None:
    path = tmp_path / "mine.npz"
    save(path, **ARRAYS)
    whole = path.read_bytes()
    assert {outcome(path, whole[:size]) for size in range(len(whole))} == {"refused"}
