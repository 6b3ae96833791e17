"""Which figures of the papers can be drawn, and what each is made of."""

from __future__ import annotations

from collections.abc import Mapping

import xarray as xr

from ntkflow.figures.paper1 import PAPER_1
from ntkflow.figures.paper1_dispersion import PAPER1_DISPERSION
from ntkflow.figures.paper1_training import PAPER1_TRAINING
from ntkflow.figures.paper2_dispersion import PAPER_2
from ntkflow.figures.paper_figure import PaperFigure, Stage
from ntkflow.report import (
    DeepRun,
    Drawing,
    block_structure_figure,
    collapse_figure,
    eigenvalue_table_figure,
    structure_in_training_figure,
)

_STEPS = tuple(round(10 ** (-4 + 4.25 * index / 10), 6) for index in range(11))
"""Step sizes of paper 3, section 6: 10^-4 … 10^0.25; how many is not said there."""
_RULES = {"lecun": "lecun_truncated_normal", "pytorch": "pytorch_uniform", "he": "he_normal_fan_out"}
"""Rules of initial weights of paper 3, section 6, (a) to (c)."""
_SWEEPS = {
    2: ("ResNet20 on MNIST", "resnet20_mnist"),
    3: ("VGG11 on MNIST", "vgg11_mnist"),
    4: ("VGG11 on FashionMNIST", "vgg11_fashion_mnist"),
    5: ("VGG16 on CIFAR10", "vgg16_cifar10"),
    6: ("ResNet20 on MNIST", "resnet20_mnist"),
    7: ("ResNet20 on FashionMNIST", "resnet20_fashion_mnist"),
    8: ("ResNet20 on CIFAR10", "resnet20_cifar10"),
    9: ("DenseNet40 on MNIST", "densenet40_mnist"),
    10: ("DenseNet40 on FashionMNIST", "densenet40_fashion_mnist"),
    11: ("DenseNet40 on CIFAR10", "densenet40_cifar10"),
}
_VARIANCES = (1.0, 2.0, 2.2)
_DEEP = {"laptop": (0, 30, 150, 1000), "paper": (0, 100, 500, 3000)}


def _block_structure() -> tuple[tuple[Stage, ...], tuple[Stage, ...]]:
    laptop = (
        Stage("paper3-fig1-training", "figures/paper3-fig1-training.yaml"),
        Stage(
            "paper3-fig1-kernels",
            "figures/paper3-fig1-kernels.yaml",
            ('network.path="{paper3-fig1-training}/network.ckpt"',),
        ),
    )
    paper = (
        Stage("paper3-fig1-training-paper", "paper3/resnet20_mnist.yaml"),
        Stage(
            "paper3-fig1-kernels-paper",
            "figures/paper3-fig1-kernels.yaml",
            (
                'network.path="{paper3-fig1-training-paper}/network.ckpt"',
                "data={source: mnist, path: ../../data/mnist, samples_per_class: 5421}",
                "loss_scale=samples_times_outputs",
            ),
        ),
    )
    return laptop, paper


def _by_role(results: Mapping[str, xr.DataTree]) -> tuple[xr.DataTree, xr.DataTree]:
    """Kernels and training, in either setting."""
    found = {"kernels" if "kernels" in name else "training": tree for name, tree in results.items()}
    return found["kernels"], found["training"]


def _figure_1(results: Mapping[str, xr.DataTree]) -> Drawing:
    return block_structure_figure(*_by_role(results), name="paper3-fig1")


def _table_1(results: Mapping[str, xr.DataTree]) -> Drawing:
    return eigenvalue_table_figure(_by_role(results)[0], name="paper3-table1")


def _sweep(number: int, title: str, scenario: str) -> PaperFigure:
    more = number > 2
    stages = tuple(
        Stage(
            f"{scenario}-{short}",
            f"paper3/{scenario}.yaml",
            (f"network.initialization={rule}", f"ensemble={{step_sizes: {list(_STEPS)}}}"),
        )
        for short, rule in _RULES.items()
    )

    def draw(results: Mapping[str, xr.DataTree]) -> Drawing:
        runs = [(_RULES.get(name.rpartition("-")[2], "lecun_normal"), tree) for name, tree in results.items()]
        return collapse_figure(runs, name=f"paper3-fig{number}", more=more)

    return PaperFigure(
        source=f"paper 3, Figure {number}",
        shows=f"{title}, three rules of initial weights, step sizes 10^-4 … 10^0.25: the invariant, its alignment and "
        "NC1 to NC3 over the epochs of a run that collapses and one that does not; metrics and test accuracy over the "
        f"step size{'; the terms of the invariant and the alignment of the kernels at the end' if more else ''}.",
        laptop=(Stage("paper3-fig2", "figures/paper3-fig2.yaml"),),
        paper=stages,
        draw=draw,
    )


def _deep_stages(setting: str) -> tuple[Stage, ...]:
    changes: tuple[str, ...] = ()
    sampled: tuple[str, ...] = ()
    epochs = _DEEP[setting]
    if setting == "paper":
        data = "source: mnist, path: ../../data/mnist"
        changes = (
            f"data={{{data}, samples_per_class: 5421}}",
            "network.width=300",
            "network.features=300",
            f"training.epochs={epochs[-1]}",
            f"checkpoints.snapshots={list(epochs[:-1])}",
        )
        sampled = (f"data={{{data}, samples_per_class: 5421}}",)
    stages: list[Stage] = []
    for variance in _VARIANCES:
        training = f"paper2-fig4-{setting}-sigma2-{variance:g}"
        wide = f"network.sigma_w={variance**0.5!r}"
        stages.append(Stage(training, "figures/paper2-fig4-training.yaml", (*changes, wide)))
        for epoch in epochs:
            kept = "network.ckpt" if epoch == epochs[-1] else f"snapshots/snapshot-{epoch:06d}.ckpt"
            path = f'network.path="{{{training}}}/{kept}"'
            stages.append(Stage(f"{training}-epoch-{epoch}", "figures/paper2-fig4-kernels.yaml", (*sampled, path)))
    return tuple(stages)


def _structure(results: Mapping[str, xr.DataTree]) -> Drawing:
    runs: list[DeepRun] = []
    for name, tree in results.items():
        if "-epoch-" not in name:
            kernels = [
                (int(other.rpartition("-")[2]), found)
                for other, found in results.items()
                if other.startswith(f"{name}-epoch-")
            ]
            runs.append(DeepRun(f"σ_w² = {name.rpartition('-')[2]}", tree, kernels))
    return structure_in_training_figure(runs, name="paper2-fig4")


FIGURES: dict[str, PaperFigure] = {
    **PAPER_1,
    **PAPER1_TRAINING,
    **PAPER1_DISPERSION,
    **PAPER_2,
    "paper2-fig4": PaperFigure(
        source="paper 2, Figure 4",
        shows="Fully-connected ReLU networks with 20 layers of 300 on MNIST, trained by Adam with η = 10^-5 from "
        "σ_w² = 1, 2 and 2.2: losses, the ratios of Θ's block values, and Θ on 100 samples at epochs 0 … 3000.",
        laptop=_deep_stages("laptop"),
        paper=_deep_stages("paper"),
        draw=_structure,
    ),
    "paper3-fig1": PaperFigure(
        "paper 3, Figure 1",
        "ResNet20 on MNIST: both traced kernels on 12 samples a class, the norms of the kernels of all pairs of "
        "outputs and of features, and the kernels' alignment with the labels over training.",
        *_block_structure(),
        draw=_figure_1,
    ),
    "paper3-table1": PaperFigure(
        "paper 3, Table 1",
        "The three eigenvalues of a block-structured kernel, with eigenvectors and multiplicities.",
        *_block_structure(),
        draw=_table_1,
    ),
    **{f"paper3-fig{number}": _sweep(number, *what) for number, what in _SWEEPS.items()},
}
"""By name, as ``ntkflow figure NAME``."""
