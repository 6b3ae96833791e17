"""The programs in benchmarks/peers: the same networks in every library, one case a process, one line of JSON a case."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkflow.kernels import empirical_ntk

PEERS = Path(__file__).parents[2] / "benchmarks" / "peers"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch):
    """A module of that folder by its name, as the programs themselves import it."""
    monkeypatch.syspath_prepend(str(PEERS))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


def test_the_problems_have_the_sizes_that_are_quoted(module) -> None:
    problems = module("peer_problems")
    sizes = problems.Sizes()
    count = lambda problem: sum(leaf.size for leaf in jax.tree.leaves(problem.parameters))  # noqa: E731
    mlp, resnet = problems.mlp_problem(sizes), problems.resnet_problem(sizes)
    assert count(mlp) == sum(
        inputs * outputs + outputs for inputs, outputs in [(784, 512), (512, 512), (512, 512), (512, 10)]
    )
    assert mlp.inputs.shape == (200, 784)
    # ResNet20 with 1×1 convolutions as shortcuts, one input channel, as in ntkflow.networks.ResNet.
    assert count(resnet) == 272_186
    assert resnet.inputs.shape == (40, 1, 28, 28)
    assert {leaf.dtype for leaf in jax.tree.leaves((mlp.parameters, resnet.parameters, resnet.constants))} == {
        np.dtype("float32")
    }


@pytest.mark.parametrize("kind", ["mlp", "resnet"])
def test_ntkflow_is_given_the_peers_network(module, kind: str) -> None:
    problems, peers, own = module("peer_problems"), module("peer_networks"), module("ntkflow_networks")
    problem = getattr(problems, f"{kind}_problem")(problems.SMOKE, "float64")
    network = getattr(own, kind)(problem)
    assert network.parameter_count() == sum(leaf.size for leaf in jax.tree.leaves(problem.parameters))

    @eqx.filter_jit
    def both(network, parameters, x):
        theirs = {of: peers.mlp(of) if kind == "mlp" else peers.resnet(problem, of) for of in parameters}
        found = [jax.vmap(network.features)(x), jax.vmap(network)(x)]
        return found, [function(parameters[of], x) for of, function in theirs.items()]

    parameters = {of: peers.parameters_of(problem, of) for of in ("features", "logits")}
    for value, expected in zip(*both(network, parameters, jnp.asarray(problem.inputs)), strict=True):
        assert np.std(expected) > 0.1
        np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-12)


PROGRAM = """
import os, signal
import numpy as np
from peer_timing import command_line

def grown(sizes, dtype, chunk):
    return lambda: np.ones((60, 1000, 1000), dtype).sum(axis=0)[: sizes.mlp_inputs, : chunk]

def crash(sizes, dtype, chunk):
    return lambda: os.kill(os.getpid(), signal.SIGKILL)

small = lambda sizes, dtype, chunk: lambda: np.eye(2)
cases = {"crash": crash, "grown": grown, "small": small}
command_line("A library that is only NumPy.", cases, {"numpy": np.__version__})
"""


def run(interpreter: str, program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(PEERS)}
    # The tests' compiler flags are not for those who are timed, and older versions do not know them.
    environment.pop("XLA_FLAGS", None)
    return subprocess.run([interpreter, str(program), *arguments], capture_output=True, text=True, env=environment)


def test_every_case_has_its_own_process_time_and_memory(tmp_path: Path) -> None:
    program = tmp_path / "numpy_kernels.py"
    program.write_text(PROGRAM)
    done = run(sys.executable, program, "--repeats", "3", "--mlp-inputs", "7", "--chunk", "5", "--dtype", "float32")
    # A case that ends badly is named, and does not keep the others from being timed.
    assert done.returncode == 1
    assert "crash: no result, SIGKILL" in done.stderr
    grown, small = [json.loads(line) for line in done.stdout.splitlines()]
    assert (grown["name"], grown["shape"], grown["dtype"]) == ("grown", [7, 5], "float32")
    assert grown["norm"] == pytest.approx(60 * np.sqrt(35))
    assert grown["sizes"]["mlp_inputs"] == 7
    assert grown["versions"] == {"numpy": np.__version__}
    assert len(grown["seconds"]) == len(grown["cpu_seconds"]) == 3
    assert min(grown["seconds"]) > 0
    # 60 million numbers of 4 bytes, one array at a time, and none of it in the process that comes after.
    assert 0.9 * 240e6 < grown["peak_rss"] - grown["start_rss"] < 1.3 * 240e6
    assert small["peak_rss"] < grown["peak_rss"] - 200e6


def test_a_case_can_be_chosen_and_bad_input_is_refused(tmp_path: Path) -> None:
    program = tmp_path / "numpy_kernels.py"
    program.write_text(PROGRAM)
    one = run(sys.executable, program, "--case", "small", "--repeats", "1")
    assert one.returncode == 0
    assert [json.loads(line)["name"] for line in one.stdout.splitlines()] == ["small"]
    for arguments, message in ((("--case", "large"), "invalid choice: 'large'"), (("--repeats", "0"), "at least 1")):
        refused = run(sys.executable, program, *arguments)
        assert refused.returncode == 2
        assert message in refused.stderr
        assert not refused.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "program"),
    [("NTKFLOW_PEER_NT", "neural_tangents_kernels.py"), ("NTKFLOW_PEER_TORCH", "torch_kernels.py")],
)
def test_the_peers_compute_ntkflows_kernels(module, variable: str, program: str) -> None:
    interpreter = os.environ.get(variable)
    if not interpreter:
        pytest.skip(f"{variable} names no interpreter: see benchmarks/peers/README.md")
    done = run(interpreter, PEERS / program, "--smoke", "--repeats", "1")
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["name"] for result in results] == run(interpreter, PEERS / program, "--list").stdout.split()
    problems, own = module("peer_problems"), module("ntkflow_networks")
    for result in results:
        kind, of, trace, _ = result["name"].split("-")
        problem = getattr(problems, f"{kind}_problem")(problems.SMOKE)
        kernel = empirical_ntk(
            getattr(own, kind)(problem), jnp.asarray(problem.inputs), of=of, trace=None if trace == "full" else "mean"
        )
        assert result["dtype"] == "float32"
        assert result["norm"] == pytest.approx(np.linalg.norm(kernel.values), rel=1e-5)


@pytest.mark.slow
def test_infinite_width_is_the_same_kernel_in_both_libraries() -> None:
    interpreter = os.environ.get("NTKFLOW_PEER_NT")
    if not interpreter:
        pytest.skip("NTKFLOW_PEER_NT names no interpreter: see benchmarks/peers/README.md")
    for case in ("fc-relu", "fc-erf"):
        results = []
        for python, library in ((sys.executable, "ntkflow"), (interpreter, "neural_tangents")):
            done = run(python, PEERS / f"{library}_infinite.py", "--case", case, "--dtype", "float64", "--smoke")
            assert done.returncode == 0, done.stderr
            results.append(json.loads(done.stdout))
        assert results[0]["shape"] == results[1]["shape"] == [20, 20]
        assert results[0]["norm"] == pytest.approx(results[1]["norm"], rel=1e-6)
