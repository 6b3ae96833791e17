"""`kernel.yaml` against NumPy: the whole Jacobian by complex steps, and every measure written out with loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np
import pytest
import xarray as xr
from experiments.command import SCENARIOS, ntkflow, settings
from experiments.conftest import Runs
from experiments.reduced import REDUCED
from kernels.dense import block_matrix, projectors, relative_difference
from kernels.jacobians import gram
from networks.plain_mlp import arrays, forward
from networks.plain_resnet import forward as resnet_forward
from scipy.linalg import subspace_angles

from ntkflow.errors import InterruptedRun, UserError
from ntkflow.experiments import Outcome, experiment, run_scenario
from ntkflow.experiments.kernel_network import starting_network, trained
from ntkflow.experiments.kernel_run import STORED_NUMBERS
from ntkflow.experiments.settings import named_key
from ntkflow.experiments.sources import load_dataset
from ntkflow.networks import MLP, AbstractBatchClassifier, ResNet, encode_checkpoint, load_checkpoint
from ntkflow.progress import silent
from ntkflow.scenario import KernelScenario, load_scenario
from ntkflow.training import Problem, descend

PATH = SCENARIOS / "kernel.yaml"
CLASSES, PER_CLASS, SAMPLES, Z = 3, 4, 12, 12.0
STEPS = [0, 5, 40]
NAMES = ["logits", "features"]


def scenario(*overrides: str) -> KernelScenario:
    found = load_scenario(PATH, (*REDUCED["kernel"], *overrides)).scenario
    assert isinstance(found, KernelScenario)
    return found


def ran(*overrides: str, folder: Path = SCENARIOS) -> Outcome:
    return experiment(scenario(*overrides), folder=folder, text="")


def initial() -> MLP:
    return MLP(named_key(0, "network"), inputs=64, outputs=3, width=8, hidden_layers=1, features=6, activation="tanh")


class Direct:
    """The reduced scenario by hand: the networks at its three moments and their whole kernels."""

    def __init__(self) -> None:
        data = load_dataset(scenario().data, seed=0, folder=SCENARIOS)
        self.inputs = np.asarray(data.inputs)
        problem = Problem.of(data, Z)
        step = eqx.filter_jit(lambda network: descend(network, problem, 0.05))
        network = initial()
        self.networks = []
        for number in range(STEPS[-1] + 1):
            if number in STEPS:
                self.networks.append(network)
            network = step(network)
        self.kernels = {name: [gram(network, self.inputs, name) for network in self.networks] for name in NAMES}
        self.traced = {
            name: [np.einsum("kikj->ij", kernel) / len(kernel) for kernel in kernels]
            for name, kernels in self.kernels.items()
        }


@pytest.fixture(scope="module")
def direct() -> Direct:
    return Direct()


@pytest.fixture(scope="module")
def tree(runs: Runs) -> xr.DataTree:
    return runs.tree("kernel")


def block(matrix: np.ndarray) -> np.ndarray:
    """d, c, n with loops."""
    sums, counts = np.zeros(3), np.zeros(3)
    for i in range(len(matrix)):
        for j in range(len(matrix)):
            kind = 0 if i == j else 1 if i // PER_CLASS == j // PER_CLASS else 2
            sums[kind] += matrix[i, j]
            counts[kind] += 1
    return sums / counts


def aligned(matrix: np.ndarray, other: np.ndarray) -> float:
    return float(np.sum(matrix * other) / np.linalg.norm(matrix) / np.linalg.norm(other))


LABELS = np.kron(np.eye(CLASSES), np.ones((PER_CLASS, PER_CLASS)))
CENTRE = np.eye(SAMPLES) - 1 / SAMPLES


@pytest.mark.parametrize("name", NAMES)
def test_kernels_and_their_values(name: str, tree: xr.DataTree, direct: Direct) -> None:
    group, traced = tree[name], direct.traced[name]
    assert group["step"].values.tolist() == group["kernel_step"].values.tolist() == STEPS
    assert relative_difference(group["kernel"].values, np.stack(traced)) < 1e-10
    values = np.array([block(matrix) for matrix in traced])
    assert relative_difference(group["block_value"].values, values) < 1e-10
    d, c, n = values.T
    assert relative_difference(group["block_ratio"].values, np.stack([c / d, n / d, (c - n) / d], axis=1)) < 1e-10
    eigenvalues = np.stack(
        [d + (PER_CLASS - 1) * c + (SAMPLES - PER_CLASS) * n, d + (PER_CLASS - 1) * c - PER_CLASS * n, d - c], axis=1
    )
    assert relative_difference(group["block_eigenvalue"].values, eigenvalues) < 1e-10
    if name == "logits":
        assert relative_difference(group["rate_block"].values, eigenvalues / Z) < 1e-10
        assert relative_difference(group["rate_block_se"].values, group["block_eigenvalue_se"].values / Z) < 1e-12
    assert (group["block_value_se"].values > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_structure(name: str, tree: xr.DataTree, direct: Direct) -> None:
    group = tree[name]
    for index, matrix in enumerate(direct.traced[name]):
        at = group.isel(step=index)
        nearest = block_matrix(*block(matrix), CLASSES, PER_CLASS)
        centred = CENTRE @ matrix @ CENTRE, CENTRE @ LABELS @ CENTRE
        leading = np.linalg.eigh(matrix)[1][:, -CLASSES:]
        indicators = np.kron(np.eye(CLASSES), np.ones((PER_CLASS, 1))) / np.sqrt(PER_CLASS)
        similarity = np.abs(matrix) / np.diagonal(matrix)[:, None]
        _, same, different = block(similarity)
        expected = {
            "label_alignment": aligned(matrix, LABELS),
            "centred_label_alignment": aligned(*centred),
            "block_share": np.linalg.norm(nearest) ** 2 / np.linalg.norm(matrix) ** 2,
            "class_space_overlap": np.linalg.norm(leading.T @ indicators) ** 2 / CLASSES,
            "elasticity_same_class": same,
            "elasticity_different_class": different,
            "elasticity_ratio": different / same,
        }
        for variable, value in expected.items():
            assert float(at[variable]) == pytest.approx(value, rel=1e-9), variable
        spaces = projectors(CLASSES, PER_CLASS)
        sizes = (1, CLASSES - 1, SAMPLES - CLASSES)
        for part, projector, size in zip(group["part"].values, spaces, sizes, strict=True):
            values = np.sort(np.linalg.eigvalsh(projector @ matrix @ projector))[::-1][:size]
            assert relative_difference(np.atleast_1d(at[f"eigenvalue_{part}"].values), values) < 1e-9
        shares = [np.trace(projector @ matrix) / np.trace(matrix) for projector in spaces]
        assert relative_difference(at["trace_share"].values, shares) < 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_change(name: str, tree: xr.DataTree, direct: Direct) -> None:
    group, (first, *others) = tree[name], direct.traced[name]
    assert group["change_step"].values.tolist() == STEPS[1:]
    start = np.linalg.eigh(first)[1][:, -CLASSES:]
    for index, matrix in enumerate(others):
        at = group.isel(change_step=index)
        angles = subspace_angles(np.linalg.eigh(matrix)[1][:, -CLASSES:], start)
        assert float(at["relative_change"]) == pytest.approx(np.linalg.norm(matrix - first) / np.linalg.norm(first))
        assert float(at["kernel_distance"]) == pytest.approx(1 - aligned(matrix, first), rel=1e-6)
        assert float(at["rotation_largest_angle"]) == pytest.approx(angles.max(), rel=1e-6)
        assert float(at["rotation_mean_angle"]) == pytest.approx(angles.mean(), rel=1e-6)
        assert float(at["rotation_overlap"]) == pytest.approx(np.mean(np.cos(angles) ** 2), rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_single_outputs_and_pairs(name: str, tree: xr.DataTree, direct: Direct) -> None:
    group = tree[name]
    for index, kernel in enumerate(direct.kernels[name]):
        at = group.isel(step=index)
        neurons = len(kernel)
        own = [kernel[k, :, k] for k in range(neurons)]
        assert relative_difference(at["neuron_block_value"].values, [block(matrix) for matrix in own]) < 1e-10
        assert at["neuron_label_alignment"].values == pytest.approx([aligned(matrix, LABELS) for matrix in own])
        if name == "logits":
            indicator = [np.repeat(np.eye(CLASSES)[k], PER_CLASS) for k in range(neurons)]
            expected = [aligned(matrix, np.outer(y, y)) for matrix, y in zip(own, indicator, strict=True)]
            assert at["neuron_own_class_alignment"].values == pytest.approx(expected)
        norms = [[np.linalg.norm(kernel[k, :, s]) for s in range(neurons)] for k in range(neurons)]
        assert relative_difference(at["pair_norm"].values, norms) < 1e-10
        nearest = block_matrix(*block(direct.traced[name][index]), CLASSES, PER_CLASS)
        share = neurons * np.linalg.norm(nearest) ** 2 / np.linalg.norm(kernel) ** 2
        assert float(at["structure_share"].sel(structure="three_values")) == pytest.approx(share)


def test_training(tree: xr.DataTree, direct: Direct) -> None:
    targets = np.repeat(np.eye(CLASSES) - 1 / CLASSES, PER_CLASS, axis=1)
    outputs = [forward(arrays(network), direct.inputs, "tanh")[1] for network in direct.networks]
    losses = [np.sum((output - targets) ** 2) / (2 * Z) for output in outputs]
    right = [np.mean(np.argmax(output, axis=0) == np.arange(SAMPLES) // PER_CLASS) for output in outputs]
    assert tree["training"]["loss"].values == pytest.approx(losses)
    assert tree["training"]["accuracy"].values == pytest.approx(right)
    assert tree["training"]["time"].values == pytest.approx([0.05 * step for step in STEPS])


def test_the_checkpoint_is_the_network_after_the_last_step(runs: Runs, direct: Direct) -> None:
    network, header = load_checkpoint(runs.folder("kernel") / "network.ckpt", initial())
    assert (header.step, header.seed) == (STEPS[-1], 0)
    for found, expected in zip(arrays(network), arrays(direct.networks[-1]), strict=True):
        assert relative_difference(found, expected) < 1e-12


def test_training_goes_on_from_a_checkpoint(tmp_path: Path, runs: Runs) -> None:
    """5 steps and then 35 are 40, and what is measured is the same bit by bit."""
    first = ran("at=[0, 5]", "measure={of: [logits], which: values}")
    (tmp_path / "a.ckpt").write_bytes(first.files["network.ckpt"])
    file = "network={kind: checkpoint, path: a.ckpt}"
    second = ran(file, "at=[0, 35]", "measure={of: [logits], which: values}", folder=tmp_path)
    assert second.files["network.ckpt"] == (runs.folder("kernel") / "network.ckpt").read_bytes()
    group = second.tree["logits"]
    assert group["step"].values.tolist() == [5, 40]
    assert group["time"].values.tolist() == pytest.approx([0, 35 * 0.05])
    expected = runs.tree("kernel")["logits"]["block_value"].values[1:]
    assert relative_difference(group["block_value"].values, expected) < 1e-10
    assert "The network of a.ckpt, saved at step 5" in " ".join(second.summary.statements)


def test_values_alone(runs: Runs) -> None:
    """The same values and errors as with the matrix; with random outputs within their error."""
    expected = runs.tree("kernel")["features"]
    exact = ran("measure={of: [features], which: values}").tree["features"]
    assert "kernel" not in exact
    for variable in ("block_value", "block_value_se", "block_ratio_se", "block_eigenvalue"):
        assert relative_difference(exact[variable].values, expected[variable].values) < 1e-9
    random = ran("measure={of: [features], which: values, random_outputs: 20}").tree["features"]
    error = random["block_value_output_se"].values
    assert (error > 0).all()
    off = np.abs(random["block_value"].values - expected["block_value"].values) / error
    assert 1e-3 < off.max() < 5
    both = np.hypot(error, exact["block_value_se"].values)
    assert relative_difference(random["block_value_se"].values, both) < 0.5
    assert (random["block_value_se"].values > error).all()


def test_matrices_that_are_too_many_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert STORED_NUMBERS * 8 == 64e6
    few = "measure={of: [logits], which: traced}"
    for numbers, kept in ((2 * SAMPLES**2, [0, 40]), (SAMPLES**2, None)):
        monkeypatch.setattr("ntkflow.experiments.kernel_run.STORED_NUMBERS", numbers)
        found = ran(few)
        assert any("Kernel matrices are stored of" in warning for warning in found.summary.warnings)
        if kept is None:
            assert "kernel" not in found.tree["logits"]
            assert "logits_values" in [drawing.name for drawing in found.drawings]
        else:
            assert found.tree["logits"]["kernel_step"].values.tolist() == kept


def test_every_number_says_what_it_is(runs: Runs) -> None:
    summary = runs.result("kernel").summary
    for quantity in summary.quantities:
        assert "mean over outputs k of" in quantity.definition
        assert "diagonal" in quantity.definition or "‖K⁰‖" in quantity.definition
    for table in summary.tables:
        for column in table.columns:
            if column.unit in ("time", "1/time"):
                assert "Z = N = 12" in column.definition
    titles = [table.title for table in summary.tables]
    assert titles[0] == "Moments"
    assert titles[-1] == "Cost"
    assert "What assumptions keep of Θʰ at step 40" in titles


# Networks with batch normalisation


def images(tmp_path: Path, shape: tuple[int, ...] = (4, 4)) -> str:
    generator = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", inputs=generator.normal(size=(14, *shape)), labels=np.arange(14) % 2)
    return "data={source: file, path: x.npz, samples_per_class: 3}"


RESNET = "network={{kind: resnet, depth: 8, channels: [2, 2, 3], statistics: {}, reference: {}}}"


def means(network: Any) -> list[np.ndarray]:
    """Of every normalisation, in the order of the layers."""
    assert isinstance(network, ResNet)
    layers = [network.stem]
    for part in network.blocks:
        layers += [part.first, part.second, *([] if part.projection is None else [part.projection])]
    return [np.asarray(layer.norm.statistics.mean) for layer in layers]


@pytest.mark.parametrize("statistics", ["batch", "stored"])
@pytest.mark.parametrize("reference", ["samples", "all"])
def test_statistics_are_those_of_the_reference(tmp_path: Path, statistics: str, reference: str) -> None:
    asked = scenario(images(tmp_path), RESNET.format(statistics, reference))
    data = load_dataset(asked.data, seed=0, folder=tmp_path)
    start = starting_network(asked, data, tmp_path)
    network = start.refresh(start.network)
    assert start.batch_mode == (statistics == "batch")
    inputs = np.concatenate([data.inputs, data.test_inputs]) if reference == "all" else np.asarray(data.inputs)
    assert f"the {len(inputs)} samples" in start.normalization
    assert isinstance(network, ResNet)
    _, used = resnet_forward(network, inputs[:, None], batch=True)
    for found, (mean, _) in zip(means(network), used, strict=True):
        assert found == pytest.approx(mean, abs=1e-12)


@pytest.mark.slow
def test_training_in_batch_mode(tmp_path: Path) -> None:
    """The function that is trained is the one of the batch, and a step is a step of its own gradient."""
    asked = scenario(images(tmp_path), RESNET.format("batch", "samples"), "at=[0, 1]")
    data = load_dataset(asked.data, seed=0, folder=tmp_path)
    start = starting_network(asked, data, tmp_path)
    problem = Problem.of(start.dataset, 6.0)
    assert isinstance(start.network, AbstractBatchClassifier)
    wrapped = BatchMode(start.network)
    features, _ = resnet_forward(start.network, np.asarray(start.dataset.inputs), batch=True)  # pyright: ignore
    logits = np.asarray(wrapped.readout.weight) @ features + np.asarray(wrapped.readout.bias)[:, None]
    assert np.asarray(eqx.filter_jit(wrapped.logit_matrix)(start.dataset.inputs)) == pytest.approx(logits)
    with pytest.raises(TypeError, match="need a batch"):
        wrapped(start.dataset.inputs[0])
    moments = trained(start, problem, asked, silent)
    # The readout's gradient by hand: R Hᵀ/Z and R 1/Z.
    residual = logits - np.asarray(problem.targets)[:, np.repeat([0, 1], 3)]
    moved = moments[1].network.readout
    assert np.asarray(moved.weight) == pytest.approx(
        np.asarray(wrapped.readout.weight) - 0.05 * residual @ features.T / 6
    )
    assert np.asarray(moved.bias) == pytest.approx(np.asarray(wrapped.readout.bias) - 0.05 * residual.sum(1) / 6)
    _, used = resnet_forward(moments[1].network, np.asarray(start.dataset.inputs), batch=True)  # pyright: ignore
    for found, (mean, _) in zip(means(moments[1].network), used, strict=True):
        assert found == pytest.approx(mean, abs=1e-12)


# What a user can get wrong


def refused(tmp_path: Path, *overrides: str) -> str:
    name = tmp_path / "s.yaml"
    name.write_text(PATH.read_text())
    return ntkflow("run", name, "-o", tmp_path / "out", *settings(*REDUCED["kernel"], *overrides)).refused()


def test_too_little_memory(tmp_path: Path) -> None:
    said = refused(tmp_path, "measure={of: [features], which: pairs, memory: 40 kB}")
    assert said.startswith(
        "measure.which: pairs of 6 features on 12 samples take 0.0415 MB, more than the 0.04 MB of measure.memory\n"
        "  Ask for less (values < traced < outputs < pairs), for fewer samples, or allow more memory.\n"
    )


def test_too_little_memory_for_one_tile(tmp_path: Path) -> None:
    said = refused(tmp_path, "at=[0]", "training=null", "measure={of: [logits], memory: 1.2 kB}")
    assert said.startswith("measure.of: logits, at step 0: a memory budget of 1.2 kB is too small")
    assert "llow" in said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "the kernel is 0: no parameter moves an output on any of the samples\n"),
        (1e200, "the kernel is not finite"),
    ],
)
@pytest.mark.parametrize("which", ["traced", "values"])
def test_kernels_that_say_nothing(tmp_path: Path, value: float, said: str, which: str) -> None:
    np.savez(tmp_path / "x.npz", inputs=np.full((8, 4), value), labels=np.arange(8) % 2)
    data = "data={source: file, path: x.npz, samples_per_class: 3}"
    network = "network={kind: mlp, width: 4, hidden_layers: 0, features: 3, activation: relu}"
    measure = f"measure={{of: [features], which: {which}}}"
    message = refused(tmp_path, data, network, "at=[0]", "training=null", measure)
    assert message.startswith("measure.of: features, at step 0: ")
    assert (said if which == "traced" else ("is 0" if value == 0 else "not finite")) in message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data[:-1], "the checkpoint is damaged: its arrays take"),
        (lambda data: data + b"0", "the checkpoint is damaged: its arrays take"),
        (lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:], "the SHA-256 of its arrays differs"),
        (lambda data: data[:99] + bytes([data[99] ^ 1]) + data[100:], "the SHA-256 of its header differs"),
        (lambda data: b"", "is no checkpoint of ntkflow"),
    ],
)
def test_a_damaged_checkpoint(tmp_path: Path, runs: Runs, change: Any, said: str) -> None:
    data = (runs.folder("kernel") / "network.ckpt").read_bytes()
    (tmp_path / "a.ckpt").write_bytes(change(data))
    message = refused(tmp_path, "network={kind: checkpoint, path: a.ckpt}")
    assert message.startswith(f"{tmp_path / 'a.ckpt'}: ")
    assert said in message.splitlines()[0]


def test_checkpoints_that_do_not_fit(tmp_path: Path, runs: Runs) -> None:
    file = runs.folder("kernel") / "network.ckpt"
    (tmp_path / "a.ckpt").write_bytes(file.read_bytes())
    network = "network={kind: checkpoint, path: a.ckpt}"
    other = refused(tmp_path, network, "data={source: digits, classes: 4, samples_per_class: 3}")
    assert (
        "a.ckpt: holds another network: at .readout.weight it has float64[3, 6], and float64[4, 6] is needed\n" in other
    )
    assert "4 classes and inputs of shape (64,), 64 numbers each" in other
    (tmp_path / "a.ckpt").write_bytes(encode_checkpoint(initial(), step=0, seed=0))
    assert "does not say how its network is built" in said_of(tmp_path, network)
    assert "no such file" in said_of(tmp_path, "network={kind: checkpoint, path: b.ckpt}")
    (tmp_path / "a.ckpt").write_bytes(file.read_bytes())
    said = said_of(tmp_path, "network={kind: checkpoint, path: a.ckpt, statistics: batch}")
    assert "network.statistics: the network in this checkpoint has no batch normalisation" in said


def said_of(folder: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        ran(*overrides, folder=folder)
    return str(caught.value)


def test_vectors_for_a_network_of_images(tmp_path: Path) -> None:
    data = images(tmp_path, (5,))
    said = refused(tmp_path, data, RESNET.format("batch", "samples"))
    assert "images are needed, and inputs are of shape (5,) each\n" in said


class InterruptedWhileMeasuring:
    """Progress that is interrupted when the kernels are half measured."""

    def __call__(self, stage: str, done: float, total: float) -> None:
        if stage == "measuring kernels" and done >= total / 2:
            raise KeyboardInterrupt


def test_interrupted(tmp_path: Path) -> None:
    loaded = load_scenario(PATH, (*REDUCED["kernel"], "measure={which: values}"))
    with pytest.raises(InterruptedRun, match="left without a manifest"):
        run_scenario(loaded, tmp_path / "out", progress=InterruptedWhileMeasuring())
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert not (tmp_path / "out" / "network.ckpt").exists()
