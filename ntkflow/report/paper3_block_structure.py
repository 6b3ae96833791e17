"""Paper 3, Figure 1 and Table 1, from measured kernels: block structure, norms of pairs, alignment, eigenvalues."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ntkflow.report.axes import PART_LABELS, positive
from ntkflow.report.drawing import Drawing
from ntkflow.report.kernel_figures import class_boundaries, matrix_image
from ntkflow.report.style import colour, part_colour
from ntkflow.results import format_number

_KERNELS = (("logits", "Θ"), ("features", "Θʰ"))
_WHITE = "#ffffff"
_FORMULAS = ("d − c", "λ_single + m(c − n)", "λ_class + N n")


def block_structure_figure(kernels: xr.DataTree, training: xr.DataTree, *, name: str) -> Drawing:
    """Panes a to e of paper 3, Figure 1.

    Args:
        kernels: of a `kernel` result with ``which: pairs``, both kernels.
        training: the `training` result of the same network.
        name: stem of the files.
    """
    return Drawing(
        name,
        "The block structure of a trained network's kernels",
        "a, b: traced kernels Σ_k Θ_kk and Σ_p Θʰ_pp over samples sorted by class. c, d: ‖Θ_ks‖_F of all pairs of "
        "outputs, ‖Θʰ_pq‖_F of all pairs of features, over the same samples. Each as a share of its largest value. "
        "e: alignment ⟨K, YᵀY⟩/(‖K‖ ‖YᵀY‖) of both traced kernels with the labels over training; bands: one standard "
        "error.",
        lambda: _panes(kernels, training),
    )


def _panes(kernels: xr.DataTree, training: xr.DataTree) -> Figure:
    figure = Figure(figsize=(12.6, 2.9))
    panes = figure.subplots(1, 5, width_ratios=(1, 1, 1, 1, 1.15))
    for axes, letter, (group, symbol) in zip(panes[:2], "ab", _KERNELS, strict=True):
        found = kernels[group].to_dataset()
        matrix, classes = found["kernel"].to_numpy()[-1], int(found.attrs["classes"])
        image = matrix_image(axes, matrix / matrix.max(), vmin=min(0.0, float((matrix / matrix.max()).min())), vmax=1)
        class_boundaries(axes, classes, len(matrix) // classes, _WHITE)
        axes.set_title(f"{letter}  traced {symbol}")
        axes.set_xlabel("class")
        figure.colorbar(image, ax=axes, location="bottom", shrink=0.9, aspect=24)
    for axes, letter, (group, symbol) in zip(panes[2:4], "cd", _KERNELS, strict=True):
        norms = kernels[group]["pair_norm"].to_numpy()[-1]
        image = matrix_image(axes, norms / norms.max(), vmin=0, vmax=1)
        axes.set_title(f"{letter}  norms of {symbol} of pairs")
        axes.set_xlabel("output s" if group == "logits" else "feature s")
        axes.set_xticks(range(0, len(norms), -(-len(norms) // 5)))
        axes.set_yticks([])
        figure.colorbar(image, ax=axes, location="bottom", shrink=0.9, aspect=24)
    _alignments(panes[4], training["alignments"].to_dataset())
    return figure


def _alignments(axes: Axes, group: xr.Dataset) -> None:
    epochs = group["epoch"].to_numpy()
    for (kernel, symbol), ink, marker in zip(_KERNELS, ("blue", "vermillion"), "os", strict=True):
        of = kernel[:-1]
        values, errors = (group[f"{of}_{what}"].to_numpy() for what in ("alignment", "alignment_standard_error"))
        axes.plot(epochs, values, color=colour(ink), marker=marker, markersize=4, label=symbol)
        axes.fill_between(epochs, values - errors, values + errors, color=colour(ink), alpha=0.2, linewidth=0)
    axes.set_xscale("symlog", linthresh=1)
    axes.set(title="e  alignment with the labels", xlabel="epoch", ylim=(0, 1.02))
    axes.legend(loc="lower right")


def eigenvalue_table_figure(kernels: xr.DataTree, *, name: str) -> Drawing:
    """Paper 3, Table 1, beside the eigenvalues of the measured Θ.

    Args:
        kernels: of a `kernel` result with ``which: traced`` or more.
        name: stem of the files.
    """
    return Drawing(
        name,
        "Eigenvalues of the block kernel, and of the measured one",
        "Points: eigenvalues of the measured Θ (mean over outputs) restricted to its three parts: what is constant "
        "over all samples, differences of class means, and what is left within classes. Lines: those of the block "
        "kernel with the measured d, c, n, with their multiplicities 1, C − 1 and N − C. The table: formula, "
        "multiplicity, its value from d, c, n; the largest ‖Bv − λv‖/(λ‖v‖) over the eigenvectors v of paper 3's "
        "Table 1, for the block matrix B written out; mean, smallest and largest measured eigenvalue of that part.",
        lambda: _eigenvalues(kernels["logits"].to_dataset()),
    )


def _eigenvalues(group: xr.Dataset) -> Figure:
    classes, samples = int(group.attrs["classes"]), group.sizes["sample"]
    values, predicted = group["block_value"].to_numpy()[-1], group["block_eigenvalue"].to_numpy()[-1]
    measured = [np.atleast_1d(group[f"eigenvalue_{part}"].to_numpy()[-1]) for part in group["part"].to_numpy()]
    figure = Figure(figsize=(8.6, 5.0))
    axes, below = figure.subplots(2, 1, height_ratios=(3, 1.15))
    first = 1
    for label, found, level in zip(PART_LABELS, measured, predicted, strict=True):
        ranks = np.arange(first, first + found.size)
        axes.loglog(ranks, positive(found), ".", color=part_colour(label), label=label)
        axes.plot([first / 1.12, 1.12 * ranks[-1]], [level, level], color=part_colour(label), linewidth=1.2)
        first += found.size
    axes.set(xlabel="eigenvalue number", ylabel="eigenvalue of Θ")
    axes.legend()
    errors = _eigenvector_errors(values, classes, samples // classes)
    rows = [
        [formula, f"{count}", format_number(float(level)), f"{error:.0e}", _range(of)]
        for formula, count, level, error, of in zip(
            _FORMULAS,
            (samples - classes, classes - 1, 1),
            predicted[::-1],
            errors,
            measured[::-1],
            strict=True,
        )
    ]
    below.set_axis_off()
    table = below.table(
        rows,
        rowLabels=["λ_single", "λ_class", "λ_global"],
        colLabels=["formula", "multiplicity", "from d, c, n", "‖Bv − λv‖/(λ‖v‖)", "measured: mean (range)"],
        colWidths=[0.22, 0.13, 0.14, 0.19, 0.32],
        loc="center",
        cellLoc="center",
    )
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    table.scale(1, 1.35)
    for cell in table.get_celld().values():
        cell.set(facecolor="none", edgecolor=colour("grey"), linewidth=0.5)
        cell.get_text().set_color(colour("ink"))
    return figure


def _range(values: np.ndarray) -> str:
    if values.size == 1:
        return format_number(float(values[0]))
    mean, low, high = (format_number(float(value)) for value in (values.mean(), values.min(), values.max()))
    return f"{mean}  ({low} … {high})"


def _eigenvector_errors(values: np.ndarray, classes: int, m: int) -> tuple[float, float, float]:
    """For λ_single, λ_class and λ_global, with the eigenvectors as Table 1 of paper 3 prints them."""
    d, c, n = values
    labels = np.repeat(np.arange(classes), m)
    block = np.where(labels[:, None] == labels, c, n) + (d - c) * np.eye(classes * m)
    single = d - c
    of_class = single + m * (c - n)
    levels = (single, of_class, of_class + classes * m * n)
    of_sample = np.where(labels[:, None] == labels, -1.0 / max(m - 1, 1), 0.0)
    np.fill_diagonal(of_sample, 1.0)
    of_classes = np.where(np.arange(classes)[:, None] == labels, 1.0, -1.0 / (classes - 1))
    vectors = (of_sample, of_classes, np.ones((1, classes * m)))
    return tuple(  # pyright: ignore[reportReturnType]
        float((np.linalg.norm(v @ block - level * v, axis=1) / (abs(level) * np.linalg.norm(v, axis=1))).max())
        for level, v in zip(levels, vectors, strict=True)
    )
