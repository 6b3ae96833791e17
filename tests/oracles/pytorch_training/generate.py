"""Makes the reference runs in this folder with PyTorch: `python generate.py [--check]`; see README.md.

Runs in an environment of its own (requirements.txt), without ntkflow.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import io
import json
import platform
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent
CLASSES, PER_CLASS, BATCH_PER_CLASS, STEPS = 3, 6, 3, 20
PRECISIONS = {"float32": torch.float32, "float64": torch.float64}
DROP = 10
"""From this step on the learning rate is a tenth."""
OPTIMIZERS = ("nesterov", "coupled", "decoupled", "weights", "adam", "adamw")


class Layers(nn.Module):
    """9-10-8-3, tanh; a bias everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(9, 10), nn.Linear(10, 8)])
        self.readout = nn.Linear(8, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of a batch."""
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.readout(x)


class Normalized(nn.Module):
    """A convolution without bias, then batch normalisation."""

    def __init__(self, inputs: int, outputs: int, window: int, stride: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, window, stride, (window - 1) // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised pre-activations."""
        return self.norm(self.convolution(x))


class Block(nn.Module):
    """Two normalised convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = Normalized(inputs, outputs, 3, stride)
        self.second = Normalized(outputs, outputs, 3, 1)
        self.projection = Normalized(inputs, outputs, 1, stride) if stride != 1 or inputs != outputs else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's output."""
        shortcut = x if self.projection is None else self.projection(x)
        return torch.relu(self.second(torch.relu(self.first(x))) + shortcut)


class Residual(nn.Module):
    """ResNet8 with 3, 4 and 5 channels on 1×8×8 images."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Normalized(1, 3, 3, 1)
        self.blocks = nn.ModuleList([Block(3, 3, 1), Block(3, 4, 2), Block(4, 5, 2)])
        self.readout = nn.Linear(5, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of a batch."""
        x = torch.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.readout(x.mean((2, 3)))


def optimizer(name: str, network: nn.Module) -> torch.optim.Optimizer:
    """By name; `decoupled` is SGD whose decay the loop applies by hand."""
    parameters = list(network.parameters())
    sgd = {"lr": 0.1, "momentum": 0.9, "nesterov": True}
    match name:
        case "nesterov":
            return torch.optim.SGD(parameters, weight_decay=5e-4, **sgd)
        case "coupled":
            return torch.optim.SGD(parameters, lr=0.1, momentum=0.8, weight_decay=0.05)
        case "decoupled":
            return torch.optim.SGD(parameters, **sgd)
        case "weights":
            groups = [
                {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.05},
                {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
            ]
            return torch.optim.SGD(groups, **sgd)
        case "adam":
            return torch.optim.Adam(parameters, lr=0.02, weight_decay=0.05)
        case "adamw":
            return torch.optim.AdamW(parameters, lr=0.02, weight_decay=0.05)
    raise ValueError(name)


def loss_of(network: nn.Module, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The mean squared error to zero-centred targets for the layers, cross-entropy for the residual network."""
    if isinstance(network, Layers):
        targets = nn.functional.one_hot(labels, CLASSES).to(logits.dtype) - 1 / CLASSES
        return nn.functional.mse_loss(logits, targets)
    return nn.functional.cross_entropy(logits, labels)


def train(network: nn.Module, name: str, inputs: torch.Tensor, batches: np.ndarray) -> list[float]:
    """Twenty steps in place; the losses before each."""
    network.train()
    chosen = optimizer(name, network)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    losses = []
    for step, batch in enumerate(batches):
        # ntkflow's running statistics begin with those of the first batch; PyTorch's with 0 and 1.
        for norm in norms:
            norm.momentum = 1.0 if step == 0 else 0.1
        if step == DROP:
            for group in chosen.param_groups:
                group["lr"] /= 10
        chosen.zero_grad()
        loss = loss_of(network, network(inputs[batch]), torch.as_tensor(batch // PER_CLASS).long())
        loss.backward()
        if name == "decoupled":
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.mul_(1 - chosen.param_groups[0]["lr"] * 0.05)
        chosen.step()
        losses.append(float(loss.detach()))
    return losses


def place(name: str) -> str:
    """PyTorch's name of an array as ntkflow's."""
    for theirs, ours in (("norm.weight", "norm.gain"), ("norm.bias", "norm.shift")):
        name = name.replace(theirs, ours)
    return name.replace("running_var", "variance").replace("running_mean", "mean")


def reference(network: nn.Module, shape: tuple[int, ...], seed: int) -> dict[str, np.ndarray]:
    """Start, data and ends of one network's runs."""
    generator = np.random.default_rng(seed)
    samples = generator.standard_normal((CLASSES * PER_CLASS, *shape)).astype(np.float32)
    batches = np.stack([
        np.concatenate([
            c * PER_CLASS + generator.choice(PER_CLASS, BATCH_PER_CLASS, replace=False) for c in range(CLASSES)
        ])
        for _ in range(STEPS)
    ]).astype(np.int32)  # fmt: skip
    # Gains and shifts off their usual start, so that they matter.
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if ".norm." in name:
                parameter.add_(0.2 * torch.randn(parameter.shape))
    stored = {"inputs": samples, "batches": batches}
    for name, parameter in network.named_parameters():
        stored[f"start/{place(name)}"] = parameter.detach().numpy().copy()
    for precision, dtype in PRECISIONS.items():
        for optimizer_name in OPTIMIZERS:
            trained = copy.deepcopy(network).to(dtype)
            key = f"{optimizer_name}/{precision}"
            losses = train(trained, optimizer_name, torch.as_tensor(samples, dtype=dtype), batches)
            stored[f"{key}/losses"] = np.asarray(losses, precision)
            for name, value in trained.state_dict().items():
                if not name.endswith("num_batches_tracked"):
                    stored[f"{key}/end/{place(name)}"] = value.numpy().copy()
    for name, value in stored.items():
        if not np.all(np.isfinite(value)):
            raise SystemExit(f"{name} is not finite")
    return stored


def archive(arrays: dict[str, np.ndarray]) -> bytes:
    """The bytes of an .npz; NumPy writes no times into it, so that equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def main() -> None:
    """Writes the .npz files and values.json, or compares with those that are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if any hash would change")
    check = parser.parse_args().check
    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    made = {"layers": reference(Layers(), (9,), 1), "residual": reference(Residual(), (1, 8, 8), 2)}
    files = {}
    for name, arrays in made.items():
        content = archive(arrays)
        files[f"{name}.npz"] = hashlib.sha256(content).hexdigest()
        if not check:
            (HERE / f"{name}.npz").write_bytes(content)
    versions = {"python": platform.python_version(), "machine": platform.machine()}
    versions |= {"torch": torch.__version__.partition("+")[0], "numpy": np.__version__}
    path = HERE / "values.json"
    if not check:
        path.write_text(json.dumps({"versions": versions, "sha256": files}, indent=2) + "\n")
        return
    stored = json.loads(path.read_text())["sha256"]
    changed = sorted(name for name in stored.keys() | files.keys() if stored.get(name) != files.get(name))
    sys.exit(f"changed: {', '.join(changed)}" if changed else 0)


if __name__ == "__main__":
    main()
