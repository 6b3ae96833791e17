"""Makes the reference outputs in this folder with PyTorch: `python generate.py [--check]`; see README.md.

Runs in an environment of its own (requirements.txt), without ntkflow. The networks are written from their papers with
PyTorch's own layers.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import platform
import sys
from pathlib import Path

import numpy as np
import torch
from recipe import CASES, CLASSES, COUNTED, Case, Role, draw, inputs
from torch import Tensor, nn
from torch.nn import functional

HERE = Path(__file__).parent
PRECISIONS = {"float64": torch.float64, "float32": torch.float32}
STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


class VGG(nn.Module):
    """Convolution, batch normalisation, ReLU; maximum pooling; two normalised dense layers; a linear readout."""

    def __init__(
        self,
        channels_in: int,
        depth: int,
        channels: tuple[int, ...] = (64, 128, 256, 512, 512),
        head: tuple[int, ...] = (512, 256),
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        size = channels_in
        for count, wanted in zip(STAGES[depth], channels, strict=True):
            for _ in range(count):
                layers += [nn.Conv2d(size, wanted, 3, padding=1, bias=False), nn.BatchNorm2d(wanted), nn.ReLU()]
                size = wanted
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        for wanted in head:
            layers += [nn.Linear(size, wanted, bias=False), nn.BatchNorm1d(wanted), nn.ReLU()]
            size = wanted
        self.features = nn.Sequential(*layers)
        self.readout = nn.Linear(size, CLASSES)


class Block(nn.Module):
    """Two 3×3 convolutions and a shortcut."""

    def __init__(self, size: int, wanted: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.first = nn.Conv2d(size, wanted, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(wanted)
        self.second = nn.Conv2d(wanted, wanted, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(wanted)
        self.stride, self.more = stride, wanted - size
        self.projection = None
        if shortcut == "projection" and (stride > 1 or self.more):
            self.projection = nn.Sequential(nn.Conv2d(size, wanted, 1, stride, bias=False), nn.BatchNorm2d(wanted))

    def forward(self, a: Tensor) -> Tensor:
        """The sum after ReLU."""
        z = functional.relu(self.first_norm(self.first(a)))
        z = self.second_norm(self.second(z))
        if self.projection is not None:
            return functional.relu(z + self.projection(a))
        a = a[:, :, :: self.stride, :: self.stride]
        return functional.relu(z + functional.pad(a, (0, 0, 0, 0, self.more // 2, self.more - self.more // 2)))


class ResNet(nn.Module):
    """Stem, three stages of residual blocks, mean over positions, a linear readout."""

    def __init__(self, channels_in: int, depth: int, shortcut: str) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels_in, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
        size = 16
        for stage, wanted in enumerate((16, 32, 64)):
            for index in range((depth - 2) // 6):
                layers.append(Block(size, wanted, 2 if stage and not index else 1, shortcut))
                size = wanted
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.readout = nn.Linear(64, CLASSES)


def preactivated(size: int, wanted: int, window: int) -> list[nn.Module]:
    """Batch normalisation, ReLU, convolution."""
    return [nn.BatchNorm2d(size), nn.ReLU(), nn.Conv2d(size, wanted, window, padding=window // 2, bias=False)]


class Concatenated(nn.Module):
    """The input and what a bottleneck and a 3×3 convolution make of it, along the channels."""

    def __init__(self, size: int, growth: int) -> None:
        super().__init__()
        self.inside = nn.Sequential(*preactivated(size, 4 * growth, 1), *preactivated(4 * growth, growth, 3))

    def forward(self, a: Tensor) -> Tensor:
        """Old channels first."""
        return torch.cat([a, self.inside(a)], 1)


class DenseNet(nn.Module):
    """Stem, three blocks with two transitions between them, normalisation and ReLU, mean, a linear readout."""

    def __init__(self, channels_in: int, depth: int, growth: int, compression: float) -> None:
        super().__init__()
        size = 16 if compression == 1 else 2 * growth
        self.stem = nn.Conv2d(channels_in, size, 3, padding=1, bias=False)
        self.blocks, self.transitions = nn.ModuleList(), nn.ModuleList()
        for block in range(3):
            layers = []
            for _ in range((depth - 4) // 6):
                layers.append(Concatenated(size, growth))
                size += growth
            self.blocks.append(nn.Sequential(*layers))
            if block < 2:
                kept = int(size * compression)
                self.transitions.append(nn.Sequential(*preactivated(size, kept, 1), nn.AvgPool2d(2)))
                size = kept
        self.last = nn.Sequential(nn.BatchNorm2d(size), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.readout = nn.Linear(size, CLASSES)

    def features(self, x: Tensor) -> Tensor:
        """One row a sample."""
        a = self.stem(x)
        for block, transition in zip(self.blocks, [*self.transitions, nn.Identity()], strict=True):
            a = transition(block(a))
        return self.last(a)


KINDS = {"vgg": VGG, "resnet": ResNet, "densenet": DenseNet}
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def roles(network: nn.Module) -> list[tuple[Role, Tensor]]:
    """Every parameter with its role, in the order of the layers; then mean and variance of every normalisation."""
    found: list[tuple[Role, Tensor]] = []
    modules = [module for module in network.modules() if not list(module.children())]
    for module in modules:
        names: tuple[Role, Role] = ("gain", "shift") if isinstance(module, NORMS) else ("weight", "bias")
        arrays = (getattr(module, "weight", None), getattr(module, "bias", None))
        found += [(name, array) for name, array in zip(names, arrays, strict=True) if array is not None]
    assert sum(array.numel() for _, array in found) == count(network)
    norms = [module for module in modules if isinstance(module, NORMS)]
    return found + [pair for n in norms for pair in (("mean", n.running_mean), ("variance", n.running_var))]


def count(network: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


@torch.no_grad()
def filled(case: Case) -> nn.Module:
    """The network with everything drawn from the recipe."""
    network = KINDS[case.kind](case.image[0], **case.options).double()
    arrays = roles(network)
    for (_, array), value in zip(arrays, draw(case.seed, [(r, tuple(a.shape)) for r, a in arrays]), strict=True):
        array.copy_(torch.from_numpy(value))
    return network


def reference(case: Case) -> dict[str, np.ndarray]:
    """Features and logits, one row a sample, by stored statistics and by the batch's; the gradient norms in training.

    The gradient is that of half the mean square of a batch's logits, in float64; one norm for each parameter array.
    """
    found = {}
    for precision, dtype in PRECISIONS.items():
        network, x = filled(case).to(dtype), torch.from_numpy(inputs(case)).to(dtype)
        for mode in ("stored", "batch"):
            network.train(mode == "batch")
            h = network.features(x)
            logits = network.readout(h)
            found[f"{mode}/logits/{precision}"] = logits
            if precision == "float64":
                found[f"{mode}/features/{precision}"] = h
        if precision == "float64":
            parameters = [array for role, array in roles(network) if role not in ("mean", "variance")]
            gradients = torch.autograd.grad((logits**2).mean() / 2, parameters)
            found["batch/gradient_norms/float64"] = torch.stack([gradient.norm() for gradient in gradients])
    return {name: array.detach().numpy() for name, array in found.items()}


def rounding(arrays: dict[str, np.ndarray]) -> float:
    """How far PyTorch's own float32 outputs are from its float64 ones, relative to the largest."""
    pairs = [(arrays[f"{n}/float32"], arrays[f"{n}/float64"]) for n in ("stored/logits", "batch/logits")]
    return max(float(np.abs(single - double).max() / np.abs(double).max()) for single, double in pairs)


def main() -> None:
    """Writes outputs.npz and values.json, or compares with those that are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if anything would change")
    check = parser.parse_args().check
    made = {name: reference(case) for name, case in CASES.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{f"{case}/{name}": a for case, arrays in made.items() for name, a in arrays.items()})
    record = {
        "versions": {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
        "parameters": {
            name: [count(KINDS[kind](channels, **options)) for channels in (3, 1)]
            for name, (kind, options) in COUNTED.items()
        },
        "float32 from float64": {name: rounding(arrays) for name, arrays in made.items()},
    }
    path = HERE / "values.json"
    if not check:
        (HERE / "outputs.npz").write_bytes(buffer.getvalue())
        path.write_text(json.dumps(record, indent=2) + "\n")
        return
    stored = json.loads(path.read_text())
    changed = [name for name in ("sha256", "parameters") if stored[name] != record[name]]
    sys.exit(f"changed: {', '.join(changed)}" if changed else 0)


if __name__ == "__main__":
    main()
