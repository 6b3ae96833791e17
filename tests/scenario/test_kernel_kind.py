"""What a `kernel` scenario accepts, and what it says to what makes no sense together."""

from __future__ import annotations

import pytest

from ntkflow.scenario import KernelScenario, load_scenario


@pytest.fixture
def loaded(tmp_path, example):
    def of(*overrides: str) -> KernelScenario:
        file = tmp_path / "s.yaml"
        file.write_text(example("kernel"), encoding="utf-8")
        scenario = load_scenario(file, overrides).scenario
        assert isinstance(scenario, KernelScenario)
        return scenario

    return of


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        ("2 GiB", 2 * 1024**3),
        ("1.5GB", 1_500_000_000),
        ("512 KiB", 512 * 1024),
        ("0.25 TB", 250_000_000_000),
        ("300", 300_000_000),
        ("0.5", 500_000),
    ],
)
def test_memory_in_bytes(loaded, memory, expected):
    assert loaded(f"measure.memory={memory}").measure.memory_bytes == expected


@pytest.mark.parametrize("memory", ["2 G", "GB", "-1", "0", "2 gb", "1e3 MB", "'300'", "2 GB or so", "[1]", "null"])
def test_what_is_no_memory(memory, example, complaint):
    said = complaint(example("kernel"), f"measure.memory={memory}")
    assert said.startswith(f"--set measure.memory={memory}: measure.memory: expected text (a number with kB, MB, GB")
    assert "or a number > 0" in said
    assert len(said.splitlines()) == 1


def test_defaults(loaded):
    scenario = loaded("measure={}", "checkpoint={}", "at=[0]", "training=null", "network={kind: mlp}")
    assert scenario.measure.of == ("logits", "features")
    assert (scenario.measure.which, scenario.measure.method, scenario.measure.random_outputs) == (
        "traced",
        "auto",
        None,
    )
    assert not scenario.checkpoint.save


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("at=[0, 10, 10]",), "--set at=[0, 10, 10]: at: steps must increase, but are 0, 10, 10"),
        (("at=[0]",), "there is training, but at asks for step 0 alone; add later steps to at"),
        (("training=null",), "at asks for step 20, but there is no training; add training: {step_size: …}"),
        (("network.depth=10",), "network.depth: depth must be 6k + 2 (8, 14, 20, …), but is 10"),
        (("network.channels=[1, 2]",), "network.channels: three stages need three numbers of channels, not 2"),
        (
            ("network.shortcut=padding", "network.channels=[4, 2, 4]"),
            "network: shortcut: padding needs channels that do not shrink, but they are 4, 2, 4; take projection",
        ),
        (("measure.of=[logits, logits]",), "measure.of: each kernel once, but they are logits, logits"),
        (("measure.random_outputs=8",), "random_outputs is for which: values, but which is pairs, which is exact"),
        (("measure.which=values", "measure.random_outputs=2"), "measure.random_outputs: expected a whole number >= 3"),
        (
            ("measure.which=values", "measure.method=jacobian"),
            "which: values needs no kernel matrix, and method: jacobian is a way to compute one",
        ),
        (("network={kind: checkpoint}",), "network.path: missing key, expected text (A network.ckpt"),
        (
            ("network={kind: checkpoint, path: a, reference: all}",),
            "network: reference: all is for statistics: batch, but they are stored in the checkpoint",
        ),
        (("network={kind: mlp, statistics: batch}",), "network.statistics: unknown key"),
        (
            ("network={kind: mlp, widths: [3], width: 4}",),
            "network: widths says every hidden layer; leave width and hidden_layers away",
        ),
        (("network={kind: mlp, sigma_b: 1}",), "network: sigma_b belongs to sigma_w; give both, or a named init"),
        (("network={kind: mlp, parametrization: ntk}",), "network: parametrization: ntk scales by sigma_w; give it"),
        (
            ("network={kind: mlp, sigma_w: 1, initialization: he_normal}",),
            "network: sigma_w is the rule of every layer; leave initialization and readout_initialization away",
        ),
        (("network={kind: mlp, sigma_w: 0}",), "network.sigma_w: expected a number > 0"),
        (("network={kind: vgg, depth: 12}",), "network.depth: depth must be 11, 13, 16 or 19, but is 12"),
        (("network={kind: vgg, channels: [1, 2]}",), "network.channels: five stages need five numbers of channels"),
        (("network={kind: vgg, head: [4]}",), "network.head: the head has two dense layers, not 1"),
        (("network={kind: densenet, depth: 12}",), "network.depth: depth must be 6k + 4 (10, 16, 22, …), but is 12"),
        (("network={kind: densenet, compression: 0}",), "network.compression: expected a number > 0 and <= 1"),
        (
            ("network={kind: densenet, depth: 10, growth: 1, compression: 0.2}",),
            "network: compression: 0.2 leaves none of 3 channels; take more",
        ),
    ],
)
def test_what_makes_no_sense_together(overrides, said, example, complaint):
    message = complaint(example("kernel"), *overrides)
    assert said in message
    assert len(message.splitlines()) == 1


def test_a_comparison_takes_fully_connected_networks_in_the_standard_parametrisation(example, complaint):
    said = complaint(example("descent"), "network={kind: vgg}")
    assert "network.kind: expected 'checkpoint' or 'mlp', found the text 'vgg'" in said
    said = complaint(example("descent"), "network={kind: mlp, parametrization: ntk, sigma_w: 1}")
    assert "which the forecasts do not know; take standard" in said


def test_networks_are_written_without_what_something_else_replaces(loaded):
    for network, keys in [
        ("{kind: mlp}", ["width", "hidden_layers", "initialization", "readout_initialization"]),
        ("{kind: mlp, widths: [3, 2]}", ["widths", "initialization", "readout_initialization"]),
        ("{kind: mlp, sigma_w: 1.5}", ["width", "hidden_layers", "sigma_w", "sigma_b"]),
    ]:
        written = loaded(f"network={network}").network.model_dump(mode="json")
        assert sorted(written) == sorted(["kind", "features", "activation", "parametrization", *keys])
        assert loaded(f"network={written}").network == loaded(f"network={network}").network
