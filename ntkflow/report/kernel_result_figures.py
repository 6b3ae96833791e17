"""Figures of a `kernel` result: heat maps, spectra, structure and change over training, all from the stored arrays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ntkflow.report.axes import time_label
from ntkflow.report.drawing import Drawing
from ntkflow.report.kernel_figures import Curve, kernel_heat_map, pair_norm_map, structure_over_time, subspace_spectra
from ntkflow.report.style import colour

_NEURONS = {"logits": "output", "features": "feature"}
_INKS = {"Θ": ("blue", "o"), "Θʰ": ("vermillion", "s")}
_DASHED = (0, (4.0, 2.0))


def kernel_drawings(tree: xr.DataTree) -> tuple[Drawing, ...]:
    """All figures of a `kernel` result."""
    names = [name for name in _NEURONS if name in tree]
    found = [drawing for name in names for drawing in _of(tree, name)]
    changed = [tree[name].to_dataset() for name in names if "relative_change" in tree[name]]
    if changed:
        first = int(changed[0]["step"].to_numpy()[0])
        drawing = Drawing(
            "change",
            "Change of the kernels over training",
            f"Each kernel, the mean over its outputs, against its own first measurement, K⁰ at step {first}. Left: "
            "change in norm ‖Kᵗ − K⁰‖/‖K⁰‖ (solid) and kernel distance 1 − ⟨Kᵗ, K⁰⟩/(‖Kᵗ‖ ‖K⁰‖), blind to scale "
            "(dashed). Right: principal angles between the spans of the C leading eigenvectors, their mean (solid) and "
            "the largest (dashed). The axis of time is linear up to the first moment after 0, then logarithmic.",
            lambda: _change(changed, str(tree["scenario"].attrs["loss_scale"])),
        )
        found.append(drawing)
    return tuple(found)


def _of(tree: xr.DataTree, name: str) -> Iterator[Drawing]:
    group, z = tree[name].to_dataset(), str(tree["scenario"].attrs["loss_scale"])
    symbol, classes = str(group.attrs["kernel"]), int(group.attrs["classes"])
    steps, times = group["step"].to_numpy().tolist(), group["time"].to_numpy()
    values, errors = group["block_value"].to_numpy(), group["block_value_se"].to_numpy()
    errors = np.where(np.isfinite(errors), errors, 0.0)
    mean = f"Here {symbol} stands for the mean over its outputs k of {symbol}_kk."
    if "kernel" in group:
        last, known = group["kernel"].to_numpy()[-1], errors[-1].tolist() if errors[-1].any() else ()
        heat_map = kernel_heat_map(
            last, classes, values[-1].tolist(), name=f"{name}_kernel", symbol=symbol, errors=known
        )
        yield _at(heat_map, steps[-1], mean)
    else:
        yield Drawing(
            f"{name}_values",
            f"Block values of {symbol}",
            f"Mean over outputs k of {symbol}_kk over samples with themselves (d), over pairs of distinct samples of "
            "one class (c) and over pairs from two classes (n) at each step of training that was measured. Bars: one "
            "standard error.",
            lambda: _values(steps, values, errors),
        )
    if "trace_share" in group:
        spectra = [np.atleast_1d(group[f"eigenvalue_{part}"].to_numpy()[-1]) for part in group["part"].to_numpy()]
        predicted = group["block_eigenvalue"].to_numpy()[-1].tolist()
        spectrum = subspace_spectra(spectra, predicted, name=f"{name}_spectrum", symbol=symbol)
        yield _at(spectrum, steps[-1], mean)
    if "pair_norm" in group:
        norms = group["pair_norm"].to_numpy()[-1]
        yield _at(pair_norm_map(norms, name=f"{name}_pairs", symbol=symbol, neurons=_NEURONS[name]), steps[-1])
    if len(steps) > 1 and "label_alignment" in group:
        yield _over_time(group, name, times, z)


def _at(drawing: Drawing, step: int, what: str = "") -> Drawing:
    caption = f"{what} {drawing.caption}" if what else drawing.caption
    return Drawing(drawing.name, f"{drawing.title}, step {step}", caption, drawing.draw)


def _over_time(group: xr.Dataset, name: str, times: np.ndarray, z: str) -> Drawing:
    symbol = group.attrs["kernel"]
    ratios, spread = group["block_ratio"].to_numpy(), group["block_ratio_se"].to_numpy()
    drawing = structure_over_time(
        times,
        (
            Curve(
                "with the labels",
                group["label_alignment"].to_numpy(),
                group["label_alignment_se"].to_numpy(),
            ),
            Curve("the same, centred", group["centred_label_alignment"].to_numpy()),
            Curve("class space overlap", group["class_space_overlap"].to_numpy()),
        ),
        tuple(Curve(label, ratios[:, i], spread[:, i]) for i, label in enumerate(("c/d", "n/d", "(c − n)/d"))),
        name=f"{name}_structure",
        time_name=time_label(z),
        definitions=f"Of the mean over outputs k of {symbol}_kk. Left: alignment with the labels YᵀY, thesis (2.63), "
        "diagonal included; the same with the mean over samples taken out of both; the overlap of the C leading "
        "eigenvectors with the class indicators. Right: ratios of the block values, d of samples with themselves, c of "
        "distinct samples of one class, n of two classes.",
    )
    return Drawing(drawing.name, f"{symbol}: alignment and block ratios over training", drawing.caption, drawing.draw)


def _values(steps: list[int], values: np.ndarray, errors: np.ndarray) -> Figure:
    figure = Figure()
    axes = figure.subplots()
    places = np.arange(len(steps))
    for index, (letter, ink, marker) in enumerate(zip("dcn", ("blue", "vermillion", "green"), "osD", strict=True)):
        options = {"color": colour(ink), "marker": marker, "capsize": 3, "label": letter}
        axes.errorbar(places + 0.06 * (index - 1), values[:, index], yerr=errors[:, index], **options)
    axes.set_xticks(places, [str(step) for step in steps])
    axes.set_ylim(bottom=min(0.0, float((values - errors).min())))
    axes.set(xlabel="step of training", ylabel="block value")
    axes.legend(loc="best")
    return figure


def _change(groups: list[xr.Dataset], z: str) -> Figure:
    figure = Figure(figsize=(7.4, 3.7))
    panels = figure.subplots(1, 2)
    pairs = (
        ("change", ("relative_change", "in norm"), ("kernel_distance", "distance")),
        ("turning in degrees", ("rotation_mean_angle", "mean angle"), ("rotation_largest_angle", "largest")),
    )
    times = groups[0]["time"].to_numpy()
    for axes, (title, *kinds) in zip(panels, pairs, strict=True):
        for group in groups:
            ink, marker = _INKS[str(group.attrs["kernel"])]
            for (name, _), style in zip(kinds, ("-", _DASHED), strict=True):
                values = np.append(0, group[name].to_numpy())
                values = np.degrees(values) if name.endswith("angle") else values
                axes.plot(times, values, color=colour(ink), marker=marker, linestyle=style)
        after = times[times > 0]
        if after.size > 1:
            axes.set_xscale("symlog", linthresh=after[0])
            axes.set_xlim(-0.15 * after[0], 1.5 * after[-1])
        axes.set_title(title)
        axes.set_xlabel(time_label(z))
        handles = [
            Line2D([], [], color=colour(_INKS[symbol][0]), marker=_INKS[symbol][1], label=symbol)
            for symbol in (str(group.attrs["kernel"]) for group in groups)
        ]
        for (_, label), style in zip(kinds, ("-", _DASHED), strict=True):
            handles.append(Line2D([], [], color=colour("grey"), linestyle=style, label=label))
        axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=2, fontsize=9)
    panels[1].set_ylim(-3, 93)
    panels[1].set_yticks([0, 30, 60, 90])
    return figure
