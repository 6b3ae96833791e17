"""Networks that a scenario names: every key reaches the network, and what cannot be built is refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from experiments.command import ntkflow
from networks.torch_reference import count
from pydantic import TypeAdapter

from ntkflow import scenario as schema
from ntkflow.errors import DataError
from ntkflow.experiments.networks import make_network
from ntkflow.networks import MLP, VGG, DenseNet, NTKDense, ResNet

SECTIONS: TypeAdapter[Any] = TypeAdapter(schema.BuiltNetwork)

CASES: list[tuple[dict[str, Any], type, dict[str, Any]]] = [
    (
        {"kind": "mlp", "width": 7, "hidden_layers": 1, "features": 5, "activation": "erf"},
        MLP,
        {"inputs": 72, "width": 7, "hidden_layers": 1, "features": 5, "activation": "erf"},
    ),
    (
        {"kind": "mlp", "widths": [4, 3], "sigma_w": 1.5, "sigma_b": 0.25, "parametrization": "ntk"},
        MLP,
        {"inputs": 72, "widths": (4, 3), "features": 48, "sigma_w": 1.5, "sigma_b": 0.25, "parametrization": "ntk"},
    ),
    (
        {"kind": "mlp", "widths": [], "initialization": "pytorch_uniform", "readout_initialization": "pytorch_uniform"},
        MLP,
        {
            "inputs": 72,
            "widths": (),
            "features": 48,
            "initialization": "pytorch_uniform",
            "readout_initialization": "pytorch_uniform",
        },
    ),
    (
        {
            "kind": "resnet",
            "depth": 14,
            "channels": [2, 3, 4],
            "shortcut": "padding",
            "readout_initialization": "pytorch_uniform",
        },
        ResNet,
        {
            "input_channels": 2,
            "depth": 14,
            "channels": (2, 3, 4),
            "shortcut": "padding",
            "readout_initialization": "pytorch_uniform",
        },
    ),
    (
        {
            "kind": "vgg",
            "depth": 13,
            "channels": [1, 2, 3, 4, 5],
            "head": [6, 7],
            "initialization": "lecun_truncated_normal",
        },
        VGG,
        {
            "input_channels": 2,
            "depth": 13,
            "channels": (1, 2, 3, 4, 5),
            "head": (6, 7),
            "initialization": "lecun_truncated_normal",
        },
    ),
    (
        {"kind": "densenet", "depth": 10, "growth": 3, "compression": 0.4, "initialization": "he_normal_fan_out"},
        DenseNet,
        {"input_channels": 2, "depth": 10, "growth": 3, "compression": 0.4, "initialization": "he_normal_fan_out"},
    ),
]


@pytest.mark.parametrize(("section", "kind", "options"), CASES)
def test_every_key_reaches_the_network(section: dict[str, Any], kind: type, options: dict[str, Any]) -> None:
    """The same program is traced as by the constructor with these arguments; nothing is computed."""
    read = SECTIONS.validate_python(section)

    def by_section(key: jax.Array) -> Any:
        return make_network(read, input_shape=(2, 6, 6), classes=3, key=key, dtype=jnp.float32)

    def by_hand(key: jax.Array) -> Any:
        return kind(key, outputs=3, dtype=jnp.float32, **options)

    programs = [str(eqx.filter_make_jaxpr(made)(jax.random.key(0))[0]) for made in (by_section, by_hand)]
    assert programs[0] == programs[1]
    shapes = eqx.filter_eval_shape(by_section, jax.random.key(0))
    assert jax.tree.structure(shapes) == jax.tree.structure(eqx.filter_eval_shape(by_hand, jax.random.key(0)))
    # What is written is read as the same network.
    again = SECTIONS.validate_python(read.model_dump(mode="json"))
    assert again.model_dump() == read.model_dump()


def test_the_papers_networks() -> None:
    for section, parameters in (
        ({"kind": "vgg", "depth": 16}, 15_116_234),
        ({"kind": "densenet"}, 176_122),
        ({"kind": "resnet", "depth": 20, "shortcut": "padding"}, 269_722),
    ):
        read = SECTIONS.validate_python(section)
        made = eqx.filter_eval_shape(
            lambda read=read: make_network(read, input_shape=(3, 32, 32), classes=10, key=jax.random.key(0))
        )
        assert count(made) == parameters


def test_what_cannot_be_built() -> None:
    for kind in ("resnet", "vgg", "densenet"):
        with pytest.raises(DataError, match=rf"a {kind} needs images, and inputs are of shape \(5,\) each"):
            make_network(SECTIONS.validate_python({"kind": kind}), input_shape=(5,), classes=2, key=jax.random.key(0))
    section = SECTIONS.validate_python({"kind": "densenet"})
    with pytest.raises(DataError, match=r"a densenet halves images twice, and inputs of shape \(1, 3, 9\) are too"):
        make_network(section, input_shape=(1, 3, 9), classes=2, key=jax.random.key(0))


SCENARIO = """
kind: kernel
name: small
loss_scale: samples
data: {{source: file, path: x.npz, samples_per_class: 3}}
network: {network}
measure: {{of: [features], which: values}}
checkpoint: {{save: true}}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "said"),
    [
        ("{kind: vgg, channels: [2, 2, 2, 2, 2], head: [3, 3]}", "A VGG network"),
        ("{kind: densenet, depth: 10, growth: 2}", "A densely connected network"),
        ("{kind: mlp, widths: [4, 3], features: 4, parametrization: ntk, sigma_w: 1.4}", "A fully-connected network"),
    ],
)
def test_a_run_and_its_checkpoint(tmp_path: Path, network: str, said: str) -> None:
    """Through the command line; the saved network is read again with the keys that are written beside it."""
    generator = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", inputs=generator.normal(size=(8, 5, 5)), labels=np.arange(8) % 2)
    (tmp_path / "s.yaml").write_text(SCENARIO.format(network=network))
    first = ntkflow("run", tmp_path / "s.yaml", "-o", tmp_path / "one")
    assert first.code == 0, first.err
    assert said in first.out
    (tmp_path / "t.yaml").write_text(SCENARIO.format(network="{kind: checkpoint, path: one/network.ckpt}"))
    second = ntkflow("run", tmp_path / "t.yaml", "-o", tmp_path / "two")
    assert second.code == 0, second.err


def test_the_readout_of_an_ntk_network() -> None:
    section = SECTIONS.validate_python({"kind": "mlp", "widths": [], "sigma_w": 2.0, "parametrization": "ntk"})
    readout = make_network(section, input_shape=(4,), classes=3, key=jax.random.key(0)).readout
    assert isinstance(readout, NTKDense)
    assert (readout.weight_scale, readout.bias_scale) == (2 / np.sqrt(48), 0.0)
