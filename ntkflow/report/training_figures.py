"""Figures of a training run, or of several side by side, drawn from what its results file holds.

The tree. Every group is one observation, named as in :mod:`ntkflow.training.observations`, and its arrays have the
names, trailing axes and labels that ``variables`` and ``coordinates`` announce there:

- every array has the axis ``epoch``, with the recorded epochs as its coordinate; NaN where nothing was measured yet;
- before it, if there are several runs, the axis ``member``, with a label of each as its coordinate; all groups have it
  or none;
- labels along the trailing axes: ``split`` (train, test), ``eigenspace``, ``block_value``, ``block_ratio``, ``sample``
  (training, kernels), ``work``;
- ``tree["scenario"].attrs["loss_scale"]`` reads like "Z = 120";
- the group ``cost`` holds ``seconds`` (…, epoch, work), and, if it was measured, ``training_seconds`` (…, epoch): wall
  time of training since the moment before.

A group that is not there has no figure. The epoch of zero training error is read from ``losses``.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ntkflow.report.axes import EIGENSPACES, PART_LABELS
from ntkflow.report.drawing import Drawing
from ntkflow.report.style import PARTS, colour
from ntkflow.report.training_panels import INKS, Curve, Panel, members_of, panels_figure

_ZERO_ERROR = "Vertical lines: the first recorded epoch at which every training sample is classified right."
_MEMBERS = " Colours are runs."
_EIGENSPACES = tuple(zip(EIGENSPACES, PART_LABELS, strict=True))


def training_drawings(tree: xr.DataTree) -> tuple[Drawing, ...]:
    """All figures of a training result; those whose groups are there."""
    scale = str(tree["scenario"].attrs["loss_scale"])
    several = _MEMBERS if members_of(tree) else ""
    found = [
        Drawing(
            "losses",
            "Losses and accuracies over training",
            "Left: the loss as trained, without weight decay. Middle: cross-entropy, mean over samples. Right: "
            "share of samples classified right. Of the measured training samples and of the test samples. "
            f"{_ZERO_ERROR}{several}",
            lambda: panels_figure(tree, _losses(), columns=3),
        ),
        Drawing(
            "collapse",
            "Neural collapse over training",
            "Neural-collapse metrics of the last-layer features of training samples, every definition under its own "
            f"name; all are 0 at collapse, and what is 0 is left out of a logarithmic axis. {_ZERO_ERROR}{several}",
            lambda: panels_figure(tree, _collapse(bool(several)), columns=2),
        ),
        Drawing(
            "collapse_and_invariant",
            "Neural collapse beside the invariant",
            "As in paper 3, Fig. 2 a–e. a: norm of the invariant E of (26), with the block values of Θʰ measured at "
            "each moment, on the kernels' samples. b: cosine of its weight side and its feature side, the global "
            "mean left out, (28) with its sign corrected. c: NC1, standard deviation of features within classes. d: "
            "NC2, distance of the class means' Gram matrix from a simplex ETF. e: NC3, distance of the directions "
            f"of W and of the class means. {_ZERO_ERROR}{several}",
            lambda: panels_figure(tree, _paper(), columns=3),
        ),
        Drawing(
            "residuals",
            "Residual by eigenspace over training",
            "Frobenius norms of the three parts of the residual R = f(X) − Y on the measured training samples: the "
            "mean over all samples, the class means minus it, and what is left within the classes. The squared "
            f"error is the sum of their squares over 2Z, {scale}. {_ZERO_ERROR}{several}",
            lambda: panels_figure(tree, _residuals(bool(several)), columns=3 if several else 1),
        ),
        Drawing(
            "rates",
            "Decay rates by eigenspace: measured and predicted",
            "−d log‖R_e‖/dt of each part of the residual, per unit of gradient-flow time. Measured: least squares over "
            "the records about each epoch. Predicted: by the block values of Θ measured there, paper 3, (13)–(15), as "
            "the optimiser's own map makes it. Bands: one standard error. A part that grows has no place on a "
            f"logarithmic axis. {_ZERO_ERROR}{several}",
            lambda: panels_figure(tree, _rates(), columns=3),
        ),
        Drawing(
            "block_values",
            "Block values of Θ and Θʰ over training",
            "Of the traced kernels, means over outputs: means over the diagonal (d), over pairs of samples of one "
            "class (c), and of two classes (n). Right: ratios of these. Bands: one standard error for another draw "
            f"of samples and, where there were some, of random combinations of outputs. {_ZERO_ERROR}{several}",
            lambda: panels_figure(tree, _blocks(), columns=3),
        ),
        Drawing(
            "alignments",
            "Alignment, block structure and change of Θ and Θʰ",
            "Left: alignment of the traced kernels with the labels, thesis (2.63), diagonal included. Bands: one "
            "jackknife standard error. Middle: share of the squared norm that the nearest block kernel, three "
            "values, keeps. Right: relative change ‖Kᵗ − K⁰‖/‖K⁰‖ since the first recorded moment. "
            f"{_ZERO_ERROR}{several}",
            lambda: panels_figure(tree, _alignments(), columns=3),
        ),
        Drawing(
            "invariant",
            "The invariant over training",
            "E of paper 3, (26), with the block values of Θʰ measured at each moment. Left: ‖E‖ over the sum of the "
            "norms of its sides, WᵀW/m and the feature side. Right: cosine of its sides, 1 where they are "
            "proportional, as collapse needs. H and m are those of the measured training samples, or of the "
            "kernels' samples, as in paper 3. Bands: one standard error from that of the block values. "
            f"{_ZERO_ERROR}{several}",
            lambda: panels_figure(tree, _invariant(), columns=2),
        ),
        Drawing(
            "sharpness",
            "Sharpness and the edge of stability",
            "Largest eigenvalue of the Hessian of the training loss (sharpness), and of its Gauss–Newton part, "
            f"λ_max(Θ)/Z for the squared error with {scale}. Beside them 2/η for the step size η, and the threshold "
            "that takes momentum into account: full-batch gradient descent is unstable where the sharpness is "
            f"above. Normalisation statistics are held constant. {_ZERO_ERROR}{several}",
            lambda: panels_figure(tree, _sharpness(), columns=1),
        ),
        Drawing(
            "norms",
            "Norms of features, weights and biases",
            "Left: Frobenius norms of H₁H₁ᵀ (class means, not centred), H₂H₂ᵀ (within-class scatter) and ⟨h⟩⟨h⟩ᵀ "
            "(global mean), as in paper 3, pane i of its appendix. Right: ‖W‖ and ‖b‖ of the readout. "
            f"{_ZERO_ERROR}{several}",
            lambda: panels_figure(tree, _norms(), columns=2),
        ),
        Drawing(
            "cost",
            "What measuring cost, beside training",
            "Wall seconds of the whole run so far by kind of work, compilation included; passes and kernels that "
            "several groups of observations share stand on their own. For several runs, their mean.",
            lambda: _cost(tree),
        ),
    ]
    needs = {"collapse_and_invariant": ("collapse", "invariant"), "norms": ("collapse",)}
    return tuple(item for item in found if all(name in tree for name in needs.get(item.name, (item.name,))))


def _losses() -> list[Panel]:
    def splits(variable: str) -> list[Curve]:
        return [
            Curve(variable, split, ink, {"split": split}) for split, ink in (("train", "blue"), ("test", "vermillion"))
        ]

    return [
        Panel("loss as trained", "losses", splits("loss")),
        Panel("cross-entropy", "losses", splits("cross_entropy")),
        Panel("accuracy", "losses", splits("accuracy"), log=False, top=1.02),
    ]


def _collapse(several: bool) -> list[Panel]:
    metrics = {
        "NC1": ("nc1_within_std", "nc1_trace_ratio", "nc1_cdnv", "nc1_pinv"),
        "NC2": ("nc2_etf_distance", "nc2_norm_variation", "nc2_angle_deviation"),
        "NC3": ("nc3_unit_means", "nc3_means"),
        "NC4": ("nc4_disagreement",),
    }
    return [
        Panel(
            title,
            "collapse",
            [
                Curve(name, name[4:].replace("_", " "), ink)
                for name, ink in zip(names[: 2 if several else None], INKS, strict=False)
            ],
            log=title != "NC4",
            bottom=0.0 if title == "NC4" else None,
        )
        for title, names in metrics.items()
    ]


def _paper() -> list[Panel]:
    on_kernels = {"sample": "kernels"}
    return [
        Panel("a  ‖E‖_F", "invariant", [Curve("norm", "", "purple", on_kernels, "norm_standard_error")]),
        Panel(
            "b  alignment of E's sides",
            "invariant",
            [Curve("zero_mean_alignment", "", "orange", on_kernels, "zero_mean_alignment_standard_error")],
            log=False,
            top=1.02,
        ),
        Panel("c  NC1: std within classes", "collapse", [Curve("nc1_within_std", "", "blue")]),
        Panel("d  NC2: distance from ETF", "collapse", [Curve("nc2_etf_distance", "", "vermillion")]),
        Panel("e  NC3: W against means", "collapse", [Curve("nc3_unit_means", "", "green")]),
    ]


def _residuals(several: bool) -> list[Panel]:
    curves = [Curve("residual_norm", label, PARTS[label], {"eigenspace": name}) for name, label in _EIGENSPACES]
    if several:
        return [Panel(f"‖R‖_F, {curve.label}", "residuals", [dataclasses.replace(curve, label="")]) for curve in curves]
    return [Panel("‖R_e‖_F", "residuals", curves)]


def _rates() -> list[Panel]:
    return [
        Panel(
            label,
            "rates",
            [
                Curve("measured", "measured", PARTS[label], {"eigenspace": name}, "measured_standard_error"),
                Curve("predicted", "predicted", "purple", {"eigenspace": name}, "predicted_standard_error"),
            ],
        )
        for name, label in _EIGENSPACES
    ]


def _blocks() -> list[Panel]:
    values = (("diagonal", "d", "purple"), ("same_class", "c", "orange"), ("different_class", "n", "sky"))
    ratios = (("same_over_diagonal", "c/d", "orange"), ("different_over_diagonal", "n/d", "sky"))
    panels = []
    for prefix, symbol in (("logit", "Θ"), ("feature", "Θʰ")):
        for title, dim, chosen in (
            (f"{symbol}: d, c, n", "block_value", values),
            (f"{symbol}: ratios", "block_ratio", ratios),
        ):
            name = f"{prefix}_{dim}"
            error = f"{prefix}_block_{'standard_error' if dim == 'block_value' else 'ratio_standard_error'}"
            curves = [Curve(name, label, ink, {dim: key}, error) for key, label, ink in chosen]
            panels.append(Panel(title, "block_values", curves, log=dim == "block_value"))
        panels.append(
            Panel(
                f"{symbol}: eigenvalues",
                "block_values",
                [
                    Curve(
                        f"{prefix}_eigenvalue",
                        label,
                        PARTS[label],
                        {"eigenspace": key},
                        f"{prefix}_eigenvalue_standard_error",
                    )
                    for key, label in _EIGENSPACES
                ],
            )
        )
    return panels


def _alignments() -> list[Panel]:
    def both(variable: str, error: str | None = None) -> list[Curve]:
        return [
            Curve(f"{prefix}_{variable}", label, ink, {}, None if error is None else f"{prefix}_{error}")
            for prefix, label, ink in (("logit", "Θ", "blue"), ("feature", "Θʰ", "vermillion"))
        ]

    return [
        Panel("alignment with labels", "alignments", both("alignment", "alignment_standard_error"), False, 0.0, 1.02),
        Panel("block share", "alignments", both("block_share"), False, 0.0, 1.02),
        Panel("relative change", "alignments", both("relative_change"), False, 0.0),
    ]


def _invariant() -> list[Panel]:
    def both(variable: str) -> list[Curve]:
        kinds = (("training", "training", "purple"), ("kernels", "kernels", "orange"))
        return [Curve(variable, label, ink, {"sample": key}, f"{variable}_standard_error") for key, label, ink in kinds]

    return [
        Panel("‖E‖ over the norms of its sides", "invariant", both("relative_norm"), False, 0.0),
        Panel("alignment of E's sides", "invariant", both("alignment"), False, None, 1.02),
    ]


def _sharpness() -> list[Panel]:
    curves = [
        Curve("sharpness", "sharpness", "blue"),
        Curve("gauss_newton", "Gauss–Newton", "green"),
        Curve("two_over_step_size", "2/η", "vermillion"),
        Curve("stability_threshold", "threshold with momentum", "orange"),
    ]
    return [Panel("largest eigenvalue", "sharpness", curves)]


def _norms() -> list[Panel]:
    features = [
        Curve("class_mean_norm", "‖H₁H₁ᵀ‖", "vermillion"),
        Curve("within_norm", "‖H₂H₂ᵀ‖", "green"),
        Curve("global_mean_norm", "‖⟨h⟩⟨h⟩ᵀ‖", "blue"),
    ]
    readout = [Curve("weight_norm", "‖W‖", "purple"), Curve("bias_norm", "‖b‖", "orange")]
    return [Panel("features", "collapse", features), Panel("readout", "collapse", readout)]


def _cost(tree: xr.DataTree) -> Figure:
    cost = tree["cost"].to_dataset()

    def total(variable: str) -> np.ndarray:
        array = cost[variable]
        summed = array.sum("epoch")
        return (summed.mean("member") if "member" in summed.dims else summed).to_numpy()

    seconds = dict(
        zip((str(work).replace("_", " ") for work in cost["work"].to_numpy()), total("seconds"), strict=True)
    )
    names = sorted(seconds, key=lambda name: seconds[name])
    inks = {name: "blue" for name in names}
    if "training_seconds" in cost:
        names.append("training")
        seconds["training"], inks["training"] = float(total("training_seconds")), "vermillion"
    figure = Figure(figsize=(5.2, 0.32 * len(names) + 1.0))
    axes = figure.subplots()
    axes.barh(names, [seconds[name] for name in names], color=[colour(inks[name]) for name in names], height=0.65)
    for place, name in enumerate(names):
        axes.annotate(
            f"{seconds[name]:.3g}", (seconds[name], place), (4, 0), textcoords="offset points", va="center", fontsize=9
        )
    axes.margins(x=0.14)
    axes.grid(False, axis="y")
    axes.set_xlabel("wall seconds")
    return figure
