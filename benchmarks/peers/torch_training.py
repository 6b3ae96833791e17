"""Training by PyTorch, as one writes it: `python torch_training.py resnet-eager`, then a line on stdin for each round.

For an environment of its own, requirements-torch.txt; see peer_rounds.py.
How idle OpenMP threads wait is up to the caller
(OMP_WAIT_POLICY). The layout ``channels-last`` is what PyTorch's documentation recommends for convolutions on CPUs.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import torch
from peer_rounds import MOMENTUM, STEP_SIZE, WEIGHT_DECAY, Round, TrainingSizes, images, serve
from torch import nn
from torch.nn.functional import cross_entropy, relu


class Block(nn.Module):
    """Two normalised 3×3 convolutions and a shortcut, projected where sizes change."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _normalised(inputs, outputs, 3, stride)
        self.second = _normalised(outputs, outputs, 3, 1)
        self.shortcut = _normalised(inputs, outputs, 1, stride) if inputs != outputs else nn.Identity()

    def forward(self, a: torch.Tensor) -> torch.Tensor:
        """One batch."""
        return relu(self.second(relu(self.first(a))) + self.shortcut(a))


def resnet(depth: int) -> nn.Module:
    """A residual network for grey images, channels 16, 32, 64."""
    per_stage = (depth - 2) // 6
    layers: list[nn.Module] = [_normalised(1, 16, 3, 1), nn.ReLU()]
    sizes = [16, *[16] * per_stage, *[32] * per_stage, *[64] * per_stage]
    layers += [Block(a, b, 1 if a == b else 2) for a, b in itertools.pairwise(sizes)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def mlp(inputs: int, width: int) -> nn.Module:
    """Two hidden layers of ``width``."""
    layers = [nn.Flatten(), nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def _normalised(inputs: int, outputs: int, window: int, stride: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, window, stride, window // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


def case(network: str, way: str, sizes: TrainingSizes) -> tuple[Round, int]:
    """Rounds of an epoch: batches by index from arrays in memory, SGD with Nesterov momentum and weight decay."""
    steps = sizes.resnet_steps if network == "resnet" else sizes.mlp_steps
    arrays = images(sizes, steps)
    inputs, labels = (torch.from_numpy(array) for array in arrays)
    torch.manual_seed(0)
    model: Any = resnet(sizes.depth) if network == "resnet" else mlp(sizes.image**2, sizes.width)
    if way == "channels-last":
        model, inputs = (value.to(memory_format=torch.channels_last) for value in (model, inputs))
    optimizer = torch.optim.SGD(
        model.parameters(), STEP_SIZE, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True
    )
    forward = torch.compile(model) if way == "compiled" else model

    def run() -> float:
        losses = []
        for batch in torch.randperm(len(labels)).split(sizes.batch):
            optimizer.zero_grad()
            loss = cross_entropy(forward(inputs[batch]), labels[batch])
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return float(torch.stack(losses).mean())

    return run, steps


CASES = {
    f"{network}-{way}": functools.partial(case, network, way)
    for network, ways in (("resnet", ("eager", "channels-last", "compiled")), ("mlp", ("eager", "compiled")))
    for way in ways
}

if __name__ == "__main__":
    serve((__doc__ or "").splitlines()[0], CASES)
