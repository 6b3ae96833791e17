"""Networks from the file of an earlier run: which precision they get, what is forecast from them, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkflow.errors import CheckpointError
from ntkflow.experiments import experiment
from ntkflow.experiments.comparison_network import StartingMLP
from ntkflow.experiments.kernel_network import starting_network
from ntkflow.experiments.networks import make_network
from ntkflow.experiments.sources import load_dataset
from ntkflow.networks import encode_checkpoint
from ntkflow.networks.statistics import Statistics
from ntkflow.scenario import SCENARIO, BuiltNetwork
from ntkflow.training import Problem, residual_matrix

DATA = {"source": "digits", "classes": 3, "samples_per_class": 4, "test_samples_per_class": 2}
SECTION = {"kind": "mlp", "width": 5, "hidden_layers": 1, "features": 4, "activation": "tanh"}


def build(section: dict[str, Any], dtype: str) -> tuple[BuiltNetwork, Any]:
    found = SCENARIO.validate_python(
        {
            "kind": "kernel",
            "name": "source",
            "loss_scale": "samples",
            "data": DATA,
            "network": section,
            "measure": {"of": ["logits"]},
        }
    ).network
    shape = (1, 8, 8) if section["kind"] == "resnet" else (64,)
    return found, make_network(found, input_shape=shape, classes=3, key=jax.random.key(4), dtype=dtype)


def stored(folder: Path, section: dict[str, Any] = SECTION, *, network: Any = None, **details: Any) -> Any:
    dtype = "float32"
    built, made = build(section, dtype)
    network = made if network is None else network
    said = {"network": built.model_dump(mode="json"), "precision": dtype, **details}
    (folder / "a.ckpt").write_bytes(encode_checkpoint(network, step=120, seed=0, details=said))
    return network


def comparison(**changes: Any) -> Any:
    return SCENARIO.validate_python(
        {
            "kind": "comparison",
            "name": "later",
            "loss_scale": "samples",
            "data": DATA,
            "network": {"kind": "checkpoint", "path": "a.ckpt"},
            "training": {
                "method": "gradient_descent",
                "step_size": 0.05,
                "steps": 20,
                "snapshots": [0],
                "records": 5,
            },
            "forecast": {"models": ["full_frozen"]},
        }
        | changes
    )


def widened(network: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float64) if eqx.is_inexact_array(leaf) else leaf, network)


def test_a_comparison_starts_from_the_files_own_numbers(tmp_path: Path) -> None:
    network = stored(tmp_path)
    asked = comparison()
    dataset = load_dataset(asked.data, seed=asked.seed, folder=tmp_path)
    start = StartingMLP.of(asked, dataset, tmp_path)
    assert eqx.tree_equal(start.network, widened(network))
    assert start.network.readout.weight.dtype == jnp.float64
    assert start.origin == "The network of a.ckpt, saved at step 120 of training in float32, from here on in float64"
    assert (start.built.hidden_widths, start.built.features, start.built.activation) == ((5,), 4, "tanh")


@pytest.mark.slow
def test_the_whole_comparison(tmp_path: Path) -> None:
    network = stored(tmp_path)
    asked = comparison()
    found = experiment(asked, folder=tmp_path, text="")
    dataset = load_dataset(asked.data, seed=asked.seed, folder=tmp_path)
    residual = residual_matrix(Problem.of(dataset, dataset.inputs.shape[0]), widened(network))
    first = found.tree["training"].ds["residual"].values[0]
    # The forward pass of the file's own numbers in float64: float32 anywhere would show at 1e-8.
    np.testing.assert_allclose(first, residual, rtol=1e-13, atol=1e-15)
    assert any(statement.startswith("The network of a.ckpt, saved at") for statement in found.summary.statements)
    assert any("tanh network 64-5-4-3" in statement for statement in found.summary.statements)


def test_a_kernel_starts_from_the_files_own_numbers_statistics_included(tmp_path: Path) -> None:
    section = {"kind": "resnet", "depth": 8, "channels": [2, 2, 3]}
    shift = np.float32(0.1)  # no double
    network = with_statistics(
        build(section, "float32")[1], lambda node: Statistics(node.mean + shift, node.variance + shift, 7)
    )
    stored(tmp_path, section, network=network)
    described = {"kind": "kernel", "name": "later", "loss_scale": "samples", "data": DATA}
    asked = SCENARIO.validate_python(described | {"network": {"kind": "checkpoint", "path": "a.ckpt"}})
    start = starting_network(asked, load_dataset(asked.data, seed=0, folder=tmp_path), tmp_path)
    assert start.dataset.inputs.shape == (12, 1, 8, 8)
    assert start.origin.endswith("of training in float32, from here on in float64")
    expected = with_statistics(
        widened(network),
        lambda node: Statistics(node.mean.astype(jnp.float64), node.variance.astype(jnp.float64), node.values),
    )
    assert eqx.tree_equal(start.network, expected)


def with_statistics(network: Any, change: Callable[[Statistics], Statistics]) -> Any:
    def changed(node: Any) -> Any:
        return change(node) if isinstance(node, Statistics) else node

    return jax.tree.map(changed, network, is_leaf=lambda node: isinstance(node, Statistics))


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"kind": "resnet", "depth": 8, "channels": [2, 2, 3]}, "a.ckpt: holds a resnet; a comparison is of a fully"),
        (
            SECTION | {"parametrization": "ntk", "sigma_w": 1.0},
            "holds a fully-connected network in the NTK parametrisation; a comparison is of",
        ),
    ],
)
def test_networks_that_cannot_be_forecast(tmp_path: Path, section: dict[str, Any], said: str) -> None:
    stored(tmp_path, section)
    with pytest.raises(CheckpointError) as refusal:
        experiment(comparison(), folder=tmp_path, text="")
    assert said in str(refusal.value)


def test_a_file_in_an_unknown_precision(tmp_path: Path) -> None:
    stored(tmp_path, precision="float8")
    with pytest.raises(CheckpointError, match="does not say how its network is built, or says what this version"):
        experiment(comparison(), folder=tmp_path, text="")


def test_other_data_than_the_network_was_made_for(tmp_path: Path) -> None:
    stored(tmp_path)
    with pytest.raises(CheckpointError) as refusal:
        experiment(comparison(data=DATA | {"classes": 4}), folder=tmp_path, text="")
    assert "float32[3, 4], and float32[4, 4] is needed" in str(refusal.value)
    assert "4 classes and inputs of shape (64,), 64 numbers each" in str(refusal.value)
