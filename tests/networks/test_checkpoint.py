"""Checkpoints: what is saved comes back bit by bit, and everything else is refused by name."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkflow.networks.checkpoint as checkpoint_module
from ntkflow.errors import CheckpointError
from ntkflow.networks import (
    MLP,
    BatchNorm,
    Statistics,
    encode_checkpoint,
    load_checkpoint,
    read_header,
    save_checkpoint,
)


def small(features: int = 3, activation: Any = "tanh", seed: int = 0) -> MLP:
    key = jax.random.key(seed)
    return MLP(key, inputs=2, outputs=2, width=2, hidden_layers=1, features=features, activation=activation)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "network.ckpt"
    save_checkpoint(path, small(), step=7, seed=5, details={"network": {"kind": "mlp"}})
    return path


def refusal(path: Path, like: Any = None) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, small() if like is None else like)
    assert caught.value.place == str(path)
    assert caught.value.remedy
    return caught.value.what


def test_a_network_comes_back(saved: Path) -> None:
    network, header = load_checkpoint(saved, small(seed=1))
    assert eqx.tree_equal(network, small(), typematch=True)
    assert (header.step, header.seed, header.details) == (7, 5, {"network": {"kind": "mlp"}})
    assert read_header(saved) == header


def test_into_shapes_only(saved: Path) -> None:
    network, _ = load_checkpoint(saved, eqx.filter_eval_shape(small))
    assert eqx.tree_equal(network, small(), typematch=True)


def test_statistics_come_back(tmp_path: Path) -> None:
    made = BatchNorm(2)
    measured = Statistics(jnp.asarray([1.0, 2.0]), jnp.asarray([3.0, 4.0]), 5)
    network = eqx.tree_at(lambda norm: norm.statistics, made, measured)
    save_checkpoint(tmp_path / "a", network, step=0, seed=0)
    loaded, _ = load_checkpoint(tmp_path / "a", made)
    assert eqx.tree_equal(loaded, network, typematch=True)
    assert not eqx.tree_equal(loaded, made)


def test_any_arrays_and_keys(tmp_path: Path) -> None:
    tree = {
        "key": jax.random.key(3),
        "keys": jax.random.split(jax.random.key(4), 2),
        "half": jnp.asarray([1.5, -2], jnp.bfloat16),
        "none": jnp.zeros((0, 2)),
        "whole": np.arange(3, dtype=np.int16),
        "nan": jnp.asarray([jnp.nan, -0.0, jnp.inf]),
        "function": jax.nn.relu,
        "number": 1.5,
    }
    save_checkpoint(tmp_path / "a", tree, step=0, seed=0)
    shapes = {name: leaf for name, leaf in tree.items() if name in ("function", "number", "whole")}
    like = {**eqx.filter_eval_shape(lambda: {k: v for k, v in tree.items() if k not in shapes}), **shapes}
    loaded, _ = load_checkpoint(tmp_path / "a", like)
    for name in ("key", "keys"):
        assert loaded[name].dtype == tree[name].dtype
        assert np.array_equal(jax.random.key_data(loaded[name]), jax.random.key_data(tree[name]))
    for name in ("half", "none", "whole", "nan"):
        assert loaded[name].dtype == tree[name].dtype
        assert np.asarray(loaded[name]).tobytes() == np.asarray(tree[name]).tobytes()
    assert loaded["function"] is jax.nn.relu
    assert isinstance(loaded["whole"], np.ndarray)


def test_every_byte_counts(tmp_path: Path) -> None:
    data = encode_checkpoint({"a": jnp.arange(3.0)}, step=1, seed=2)
    like = {"a": jnp.zeros(3)}
    path = tmp_path / "a"
    path.write_bytes(data)
    assert load_checkpoint(path, like)[0]["a"].tolist() == [0, 1, 2]
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << (at % 8))]) + data[at + 1 :])
        assert "damaged" in refusal(path, like), at
        path.write_bytes(data[:at])
        assert "damaged" in refusal(path, like), at
    for more in (b"\0", data):
        path.write_bytes(data + more)
        assert f"{24 + len(more)} bytes instead of 24" in refusal(path, like)


@pytest.mark.parametrize(
    ("like", "said"),
    [
        (small(features=4), "at .readout.weight it has float64[2, 3], and float64[2, 4] is needed"),
        (small(activation="relu"), "at .activation it has 'tanh', and 'relu' is needed"),
        (small().layers, "at the top it has MLP, and tuple is needed"),
        (
            eqx.tree_at(lambda net: net.readout.bias, small(), jnp.zeros(2, jnp.float32)),
            "at .readout.bias it has float64[2], and float32[2] is needed",
        ),
        (
            eqx.tree_at(lambda net: net.layers, small(), (*small().layers, small().layers[0])),
            "at .layers[2] it has nothing, and Dense is needed",
        ),
        (
            eqx.tree_at(lambda net: net.layers, small(), small().layers[:1]),
            "at .layers[1] it has Dense, and nothing is needed",
        ),
    ],
)
def test_another_network(saved: Path, like: Any, said: str) -> None:
    assert refusal(saved, like) == f"holds another network: {said}"


def test_another_function_or_number(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a", (jax.nn.relu, 1.5), step=0, seed=0)
    assert "[0] it has relu, and gelu is needed" in refusal(tmp_path / "a", (jax.nn.gelu, 1.5))
    assert "[1] it has 1.5, and 2.5 is needed" in refusal(tmp_path / "a", (jax.nn.relu, 2.5))


def test_a_newer_version(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_module, "CHECKPOINT_VERSION", 2)
    save_checkpoint(saved, small(), step=0, seed=0)
    monkeypatch.undo()
    assert refusal(saved) == "written by a newer ntkflow: format version 2, and this one reads up to 1"


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none") == "no such file"
    assert refusal(tmp_path) == "cannot be read (Is a directory)"
    for data in (b"", b"{}", json.dumps({"format_version": 1}).encode() * 10):
        (tmp_path / "a").write_bytes(data)
        assert refusal(tmp_path / "a").startswith("is no checkpoint of ntkflow")


def test_a_failed_write_leaves_the_old_one(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    before = saved.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="cannot be written \\(No space left on device\\)"):
        save_checkpoint(saved, small(seed=1), step=8, seed=5)
    monkeypatch.undo()
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["network.ckpt"]
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_checkpoint(saved / "below", small(), step=0, seed=0)


def test_no_address_of_an_object_is_kept(tmp_path: Path) -> None:
    """A function's ``repr`` has one, and another process another one."""
    save_checkpoint(tmp_path / "a", (jax.nn.relu, lambda x: x, jax.nn.silu, eqx.nn.Lambda(jnp.tanh)), step=0, seed=0)
    words = [what for _, what in read_header(tmp_path / "a").structure]
    assert words[0] == "tuple"
    assert words[1] == "relu"
    assert all("0x" not in what for what in words)
