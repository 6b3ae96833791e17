"""How fast torch.func makes the kernels of issue 4: `python torch_kernels.py [--smoke] [--case NAME …]`.

For an environment of its own, requirements-torch.txt. One line of JSON a case on stdout. The way is the one of
PyTorch's own tutorial on neural tangent kernels: per-sample Jacobians by ``vmap(jacrev)``, contracted array by array.
"""

from __future__ import annotations

import os

# By default idle OpenMP threads spin, which on a busy machine costs the others their cores, and this one its time.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import functools
from collections.abc import Callable
from typing import Any

import torch
from peer_problems import EPSILON, Problem, Sizes, mlp_problem, resnet_problem
from peer_timing import Run, command_line
from torch.func import jacrev, vmap
from torch.nn.functional import conv2d
from torch.utils._pytree import tree_leaves, tree_map

Function = Callable[[Any, Any], Any]


def mlp(of: str) -> Function:
    """The MLP's features or logits of one sample."""

    def outputs(parameters: Any, x: Any) -> Any:
        for layer in parameters[:-1]:
            x = torch.relu(_dense(layer, x))
        return x if of == "features" else _dense(parameters[-1], x)

    return outputs


def resnet(problem: Problem, of: str) -> Function:
    """The residual network's features or logits of one image."""
    statistics = tree_map(torch.from_numpy, problem.constants)

    def normalised(layer: Any, constants: Any, a: Any, stride: int = 1) -> Any:
        z = conv2d(a, layer["weight"], stride=stride, padding=layer["weight"].shape[-1] // 2)
        scaled = (z - _channels(constants["mean"])) / torch.sqrt(_channels(constants["variance"]) + EPSILON)
        return _channels(layer["gain"]) * scaled + _channels(layer["shift"])

    def outputs(parameters: Any, x: Any) -> Any:
        a = torch.relu(normalised(parameters["stem"], statistics["stem"], x[None]))
        for block, constants, stride in zip(parameters["blocks"], statistics["blocks"], problem.strides, strict=True):
            z = torch.relu(normalised(block["first"], constants["first"], a, stride))
            z = normalised(block["second"], constants["second"], z)
            if "projection" in block:
                a = normalised(block["projection"], constants["projection"], a, stride)
            a = torch.relu(a + z)
        features = a.mean((2, 3))[0]
        return features if of == "features" else _dense(parameters["readout"], features)

    return outputs


def _dense(layer: Any, a: Any) -> Any:
    return layer["weight"] @ a + layer["bias"]


def _channels(vector: Any) -> Any:
    return vector[:, None, None]


def case(network: str, of: str, trace: str, sizes: Sizes, dtype: str, chunk: int | None) -> Run:
    """One kernel: samples × samples, or samples × samples × outputs × outputs."""
    problem = (mlp_problem if network == "mlp" else resnet_problem)(sizes, dtype)
    parameters = tree_map(torch.from_numpy, problem.parameters)
    if of == "features":  # The readout does not move the features; nobody is made to carry its zeros.
        parameters = [*parameters[:-1], {}] if network == "mlp" else {**parameters, "readout": {}}
    inputs = torch.from_numpy(problem.inputs)
    jacobians = vmap(jacrev(mlp(of) if network == "mlp" else resnet(problem, of), chunk_size=chunk), in_dims=(None, 0))
    subscripts = "iop,jop->ij" if trace == "mean" else "iop,jqp->ijoq"

    def run() -> Any:
        leaves = tree_leaves(jacobians(parameters, inputs))
        outputs, kernel = leaves[0].shape[1], torch.zeros(())
        while leaves:  # Flattening may copy: one array at a time, and what is done with is let go.
            leaf = leaves.pop().flatten(2)
            kernel = kernel + torch.einsum(subscripts, leaf, leaf)
        return kernel / outputs if trace == "mean" else kernel

    return run


CASES = {
    f"{network}-{of}-{trace}-jacobian": functools.partial(case, network, of, trace)
    for network, of, trace in (
        ("mlp", "logits", "mean"),
        ("mlp", "logits", "full"),
        ("resnet", "logits", "mean"),
        ("resnet", "features", "mean"),
        ("resnet", "features", "full"),
    )
}

if __name__ == "__main__":
    command_line((__doc__ or "").splitlines()[0], CASES, {"torch": torch.__version__})
