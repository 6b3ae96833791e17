"""Pictures of measured kernels: heat maps with their blocks, spectra by eigenspace, norms of pairs, change over time.

Each function takes plain arrays and gives a :class:`Drawing`; the caption carries the definitions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from ntkflow.report.axes import PART_LABELS, positive
from ntkflow.report.drawing import Drawing
from ntkflow.report.style import colour, diverging, part_colour

_PIXELS = 200
"""Up to so many samples each entry is a pixel of its own; with more, pixels are means, and the file stays small."""

_FLOOR = 1e-8
"""Eigenvalues below this share of the largest are left out: of a kernel in float32 they are rounding."""


def kernel_heat_map(
    matrix: np.ndarray, classes: int, values: Sequence[float], *, name: str, symbol: str, errors: Sequence[float] = ()
) -> Drawing:
    """A kernel sorted by class, the nearest block kernel beside it, and what that one misses.

    Args:
        matrix: N×N, samples sorted into ``classes`` classes of equal size.
        classes: C.
        values: d, c, n of the nearest block kernel.
        name: stem of the files.
        symbol: what the kernel is called, such as "Θʰ".
        errors: standard errors of d, c, n, shown where given.
    """
    matrix = np.asarray(matrix, dtype=float)
    samples = len(matrix)
    if matrix.shape != (samples, samples) or samples % classes:
        raise ValueError(f"a kernel over {classes} classes of equal size is needed, not an array of {matrix.shape}")
    reduced = " A pixel is a mean over neighbouring entries." if samples > _PIXELS else ""
    return Drawing(
        name,
        f"{symbol} and its blocks",
        f"{symbol} on {samples} samples sorted by class, {samples // classes} of each of {classes}; lines: class "
        "boundaries. Left: as measured. Middle: the nearest block kernel in Frobenius norm, with d the mean over the "
        "diagonal, c over pairs of distinct samples of one class, n over pairs from two classes"
        + (", ± jackknife standard error over samples" if len(errors) else "")
        + ". Both have the colours of one scale. Right: measured minus block, on a scale of its own around 0."
        + reduced,
        lambda: _heat_map(matrix, classes, values, errors, symbol),
    )


def subspace_spectra(
    eigenvalues: Sequence[np.ndarray], predicted: Sequence[float], *, name: str, symbol: str
) -> Drawing:
    """The eigenvalues of a kernel in each of the three eigenspaces, with the block kernel's as a line.

    Args:
        eigenvalues: on the global mean, the class means, within classes; each descending, perhaps empty.
        predicted: λ_global, λ_class, λ_single of the nearest block kernel.
        name: stem of the files.
        symbol: what the kernel is called.
    """
    spectra = [np.asarray(values, dtype=float) for values in eigenvalues]
    return Drawing(
        name,
        f"Spectrum of {symbol} by eigenspace",
        f"Eigenvalues of P {symbol} P with P the projector on the constant vectors (global mean, 1), on vectors "
        f"constant on each class with mean 0 (class means, {spectra[1].size}) and on vectors with mean 0 on each class "
        f"(within class, {spectra[2].size}), sorted in each space and drawn one space after the other. Lines: the one "
        "eigenvalue that the nearest block kernel has in each, which is the mean of the dots. Eigenvalues below 10⁻⁸ "
        "of the largest are left out.",
        lambda: _spectra(spectra, [float(value) for value in predicted], symbol),
    )


def pair_norm_map(norms: np.ndarray, *, name: str, symbol: str, neurons: str) -> Drawing:
    """Norms of the kernels of all pairs of neurons as a share of the largest (paper 3, Fig. 1 c–d).

    Args:
        norms: ‖Θ_{k,s}(X)‖_F.
        name: stem of the files.
        symbol: what the kernel is called.
        neurons: what k and s number, such as "output" or "feature".
    """
    norms = np.asarray(norms, dtype=float)
    squares = norms**2
    share = (
        f"The diagonal holds {np.trace(squares) / np.sum(squares):.1%} of the sum of squares"
        if norms.any()
        else "All are 0"
    )
    return Drawing(
        name,
        f"Norms of {symbol} for all pairs",
        f"Frobenius norm over all pairs of samples of {symbol}_{{k,s}} for every pair of {neurons}s k and s, divided "
        f"by the largest. {share}; one block structure for all has equal values on the diagonal and 0 elsewhere.",
        lambda: _pair_norms(norms, neurons),
    )


@dataclasses.dataclass(frozen=True)
class Curve:
    """One quantity over training time: a label, a value at each time, and its standard errors where there are."""

    label: str
    values: np.ndarray
    errors: np.ndarray | None = None


def structure_over_time(
    times: np.ndarray,
    alignments: Sequence[Curve],
    ratios: Sequence[Curve],
    *,
    name: str,
    time_name: str,
    definitions: str,
) -> Drawing:
    """Alignments and ratios of block values at the moments at which kernels were measured.

    Args:
        times: of the moments, ascending and not negative.
        alignments: curves of the left panel.
        ratios: curves of the right panel.
        name: stem of the files.
        time_name: label of the time axis, with its unit.
        definitions: sentences for the caption that say what the curves are.
    """
    times = np.asarray(times, dtype=float)
    return Drawing(
        name,
        "Alignment and block ratios over training",
        f"{definitions} Bands: one standard error. The axis of time is linear up to the first moment after 0 and "
        "logarithmic from there.",
        lambda: _over_time(times, alignments, ratios, time_name),
    )


def _heat_map(
    matrix: np.ndarray, classes: int, values: Sequence[float], errors: Sequence[float], symbol: str
) -> Figure:
    samples = len(matrix)
    labels = np.repeat(np.arange(classes), samples // classes)
    block = np.where(labels[:, None] == labels, values[1], values[2]).astype(float)
    np.fill_diagonal(block, values[0])
    left_over = matrix - block
    low, high = min(0.0, float(matrix.min())), float(max(matrix.max(), block.max()))
    largest = float(np.abs(left_over).max()) or 1.0
    figure = Figure(figsize=(7.6, 3.2))
    measured, fitted, missed = figure.subplots(1, 3)
    image = matrix_image(measured, matrix, vmin=low, vmax=high)
    matrix_image(fitted, block, vmin=low, vmax=high)
    difference = matrix_image(missed, left_over, vmin=-largest, vmax=largest, cmap=diverging())
    # The map of colours is the same in both themes, and so is what can be seen on it.
    inks = ("#ffffff", "#ffffff", colour("ink"))
    for axes, title, ink in zip((measured, fitted, missed), (symbol, "block", "difference"), inks, strict=True):
        axes.set_title(title)
        class_boundaries(axes, classes, samples // classes, ink)
    texts = [
        f"{letter} = {value:.3g}".replace("-", "−") + (f" ± {errors[index]:.1g}" if len(errors) else "")
        for index, (letter, value) in enumerate(zip("dcn", values, strict=True))
    ]
    fitted.set_xlabel("\n".join(texts), fontsize=9)
    measured.set_xlabel("class", fontsize=9)
    figure.colorbar(image, ax=(measured, fitted), location="right", shrink=0.75, aspect=22)
    figure.colorbar(difference, ax=missed, location="right", shrink=0.75, aspect=22)
    return figure


def matrix_image(axes: Axes, matrix: np.ndarray, **options: Any) -> AxesImage:
    """A matrix as squares of colour, without grid and frame."""
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    # "none" puts the entries into the SVG as they are, to be drawn as sharp squares; "auto" takes means for the page.
    return axes.imshow(matrix, interpolation="none" if len(matrix) <= _PIXELS else "auto", **options)


def class_boundaries(axes: Axes, classes: int, per_class: int, ink: str) -> None:
    """Lines between the classes of samples sorted by class, and the classes' numbers below."""
    for edge in range(1, classes):
        for draw in (axes.axvline, axes.axhline):
            draw(edge * per_class - 0.5, color=ink, linewidth=0.5, alpha=0.7)
    every = -(-classes // 10)
    axes.set_xticks(
        np.arange(0, classes, every) * per_class + (per_class - 1) / 2, [str(c) for c in range(0, classes, every)]
    )
    axes.set_yticks([])
    axes.tick_params(length=0, labelsize=8)


def _spectra(spectra: Sequence[np.ndarray], predicted: Sequence[float], symbol: str) -> Figure:
    figure = Figure(figsize=(6.4, 3.6))
    axes = figure.subplots()
    top = max(float(np.max(np.abs(values), initial=0.0)) for values in spectra)
    first = 1
    for part, values, block in zip(PART_LABELS, spectra, predicted, strict=True):
        if values.size:
            ranks = np.arange(first, first + values.size)
            shown = np.where(values > _FLOOR * top, values, 0.0)
            axes.loglog(ranks, positive(shown), ".", color=part_colour(part), label=part)
            # Half a place beyond its dots on both sides, or the line of a single eigenvalue would be a point.
            if block > 0:
                axes.plot([first / 1.15, 1.15 * ranks[-1]], [block, block], color=part_colour(part), linewidth=1.2)
            first += values.size
    axes.set(xlabel="eigenvalue number", ylabel=f"eigenvalue of {symbol}")
    handles, _ = axes.get_legend_handles_labels()
    handles.append(Line2D([], [], color=colour("grey"), linewidth=1.2, label="block kernel"))
    axes.legend(handles=handles, loc="best")
    return figure


def _pair_norms(norms: np.ndarray, neurons: str) -> Figure:
    figure = Figure(figsize=(5.2, 3.9))
    axes = figure.subplots()
    image = matrix_image(axes, norms / (norms.max() or 1.0), vmin=0, vmax=1)
    axes.set(xlabel=f"{neurons} s", ylabel=f"{neurons} k")
    every = max(1, -(-len(norms) // 10))
    axes.set_xticks(range(0, len(norms), every))
    axes.set_yticks(range(0, len(norms), every))
    figure.colorbar(image, ax=axes, shrink=0.9, label="share of the largest norm")
    return figure


_INKS = ("blue", "vermillion", "green", "purple", "orange", "sky")
_MARKERS = "osD^vP"


def _over_time(times: np.ndarray, alignments: Sequence[Curve], ratios: Sequence[Curve], time_name: str) -> Figure:
    figure = Figure(figsize=(7.4, 3.7))
    panels = figure.subplots(1, 2)
    for axes, curves, title in zip(panels, (alignments, ratios), ("alignment", "ratios of block values"), strict=True):
        for index, curve in enumerate(curves):
            ink = colour(_INKS[index % len(_INKS)])
            axes.plot(times, curve.values, color=ink, marker=_MARKERS[index % len(_MARKERS)], label=curve.label)
            if curve.errors is not None:
                known = np.nan_to_num(np.asarray(curve.errors, dtype=float))
                low, high = curve.values - known, curve.values + known
                axes.fill_between(times, low, high, color=ink, alpha=0.2, linewidth=0)
        _time_axis(axes, times)
        low, high = axes.get_ylim()
        axes.set_ylim(min(0.0, low), max(1.03, high) if title == "alignment" else high)
        axes.set_title(title)
        axes.set_xlabel(time_name)
        # Outside, below: curves that rise or fall leave no corner free.
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=2, fontsize=9)
    return figure


def _time_axis(axes: Axes, times: np.ndarray) -> None:
    after = times[times > 0]
    if after.size < 2:
        return
    axes.set_xscale("symlog", linthresh=after[0])
    decades = 10.0 ** np.arange(np.ceil(np.log10(after[0])), np.floor(np.log10(after[-1])) + 1)
    # Within one decade the first and the last moment are the marks.
    marks = decades if decades.size > 1 else after[[0, -1]]
    labels = [f"$10^{{{np.log10(mark):.0f}}}$" if decades.size > 1 else f"{mark:.3g}" for mark in marks]
    start = times[0] == 0
    axes.set_xticks([0.0, *marks] if start else marks, ["0", *labels] if start else labels)
    axes.set_xticks([], minor=True)
