"""Figures of a study of dispersion: curves over depth with theory and networks, maps over σ_w² and depth."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, ScalarFormatter

from ntkflow.report.drawing import Drawing
from ntkflow.report.style import colour

INKS = ("blue", "sky", "green", "orange", "vermillion", "purple", "grey")
THEORIES = {
    "exact": ("-", "exact at these widths"),
    "limit": ("--", "limit, derived again"),
    "published_limit": (":", "limit as printed in paper 2"),
    "published": ("-.", "moments of paper 2's lemmas"),
}
_ZONES = LinearSegmentedColormap.from_list(
    "zones",
    [(0.0, "#101114"), (0.1, "#8c1d12"), (0.2, "#d9573f"), (0.231, "#f7f2ee"), (0.4, "#86b7df"), (1.0, "#08316b")],
)
"""Dispersion from 1, dark, over 2, where the standard deviation is the mean, to 20 and more, blue."""
Over = Literal["depth_to_width", "depth"]
Panel = tuple[str, xr.Dataset, xr.Dataset | None]


def dispersion_drawings(tree: xr.DataTree) -> tuple[Drawing, ...]:
    """All figures of a study of dispersion."""
    found = [
        curves_drawing([tree], name="dispersion", theories=("exact", "limit", "published_limit")),
    ]
    theory = tree["theory"].to_dataset()
    if min(theory.sizes["sigma_w_squared"], theory.sizes["point"]) >= 3:
        found.append(map_drawing([tree], name="map"))
    if "networks" in tree.children and np.any(theory["cosine"].to_numpy() != 1):
        found.append(ratio_drawing([tree], name="off-diagonal"))
    return tuple(found)


def curves_drawing(
    trees: Sequence[xr.DataTree],
    *,
    name: str,
    theories: Sequence[str],
    title: str = "Dispersion of the NTK at initialisation",
    over: Over = "depth_to_width",
    bands: bool = False,
) -> Drawing:
    """E Θ²/E² Θ against L/M or L: a panel for each architecture, α₀, σ_b² and cosine, a colour for each σ_w²."""
    lines = "; ".join(f"{_WORDS[THEORIES[item][0]]}: {THEORIES[item][1]}" for item in theories)
    return Drawing(
        name,
        title,
        f"E Θ²/E² Θ against {'L/M' if over == 'depth_to_width' else 'the depth L'}, a colour for each σ_w². "
        f"Dots{' in bands' if bands else ' with bars'}: random networks, estimate and bootstrap standard error; empty "
        "where the tail is too heavy to believe it, and the value is likely too small. Lines, for Θ(x, x) without "
        f"biases: {lines}. Exact moments have no error term; limits are approached as 1/M, "
        "by the source's own bound as 1/√M.",
        lambda: _curves(trees, theories, over, bands),
    )


_WORDS = {"-": "solid", "--": "dashed", ":": "dotted", "-.": "dashes and dots"}


def map_drawing(trees: Sequence[xr.DataTree], *, name: str, title: str = "Dispersion over σ_w² and depth") -> Drawing:
    """E Θ²/E² Θ as colours over (σ_w², L), a panel for each architecture, α₀, σ_b² and cosine."""
    return Drawing(
        name,
        title,
        "E Θ²/E² Θ over σ_w² and the depth L, from random networks where there are any, else exact. Dark: close to 1, "
        "Θ is nearly the same for all networks. White: 2, its standard deviation is its mean. Blue: beyond. Dashed: "
        "the edge of chaos of infinite width and depth.",
        lambda: _maps(trees),
    )


def ratio_drawing(trees: Sequence[xr.DataTree], *, name: str) -> Drawing:
    """E Θ(x, x̃)/E Θ(x, x) against L/M, a line for each σ_w² and cosine."""
    return Drawing(
        name,
        "Off the diagonal beside the diagonal",
        "E Θ(x, x̃)/E Θ(x, x) against L/M. Dots with bars: means over random networks, with standard errors. Lines: "
        "with the angles of infinite width, which are paper 2's (18) and its like for the weights; nearly (18) itself "
        "in the ordered phase. A colour for each σ_w², the larger cosine the higher. Dotted: 1/4, the bound (16).",
        lambda: _ratios(trees),
    )


def _panels(trees: Sequence[xr.DataTree]) -> list[Panel]:
    """Title, formulas and networks of every panel."""
    found: list[Panel] = []
    several = len(trees) > 1
    for tree in trees:
        theory = tree["theory"].to_dataset()
        networks = tree["networks"].to_dataset() if "networks" in tree.children else None
        # Formulas are for σ_b = 0 alone.
        biases = [0.0] if networks is None else networks["sigma_b_squared"].to_numpy().tolist()
        axes = [theory[key].to_numpy().tolist() for key in ("architecture", "input_to_width", "cosine")]
        for which, share, cosine, bias in itertools.product(*axes, biases):
            at = {"architecture": which, "input_to_width": share, "cosine": cosine}
            words = [which]
            if several and "activation" in tree["scenario"].attrs:
                words.insert(0, str(tree["scenario"].attrs["activation"]))
            words += [f"α₀ = {share:g}"] * (len(axes[1]) > 1) + [f"cosine {cosine:g}"] * (cosine != 1)
            words += [f"σ_b² = {bias:g}"] * (bias != 0 or len(biases) > 1)
            formulas = theory.sel(**at, sigma_b_squared=bias)
            if bias != 0 or cosine != 1:
                formulas = formulas.drop_vars([key for key in THEORIES if key in formulas])
            found.append(
                (", ".join(words), formulas, None if networks is None else networks.sel(**at, sigma_b_squared=bias))
            )
    return found


def _grid(count: int, *, height: float = 3.1) -> tuple[Figure, list[Axes]]:
    columns = min(count, 3 if count != 4 else 2)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(3.5 * columns + 0.8, height * rows + 0.5))
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in cells[count:]:
        axes.set_axis_off()
    return figure, list(cells[:count])


def _believed(networks: xr.Dataset) -> np.ndarray:
    share, needed = networks["largest_share"].to_numpy(), networks["samples_needed"].to_numpy()
    return (share <= 0.1) & (networks["samples"].to_numpy() >= needed / 4)


def _curves(trees: Sequence[xr.DataTree], theories: Sequence[str], over: Over, bands: bool) -> Figure:
    panels = _panels(trees)
    figure, cells = _grid(len(panels))
    for index, (axes, (title, theory, networks)) in enumerate(zip(cells, panels, strict=True)):
        where = theory[over].to_numpy()
        for line, variance in enumerate(theory["sigma_w_squared"].to_numpy()):
            ink = colour(INKS[line % len(INKS)])
            for key in theories:
                if key in theory:
                    axes.plot(where, theory[key].to_numpy()[:, line], THEORIES[key][0], color=ink, linewidth=1.2)
            if networks is not None:
                _dots(axes, where, networks.isel(sigma_w_squared=line), ink, bands)
            axes.plot([], [], color=ink, label=f"{variance:g}")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_formatter(FuncFormatter(_few_labels))
        axes.set(xlabel="L/M" if over == "depth_to_width" else "L")
        axes.set_title(title, fontsize=9)
        if index % 3 == 0:
            axes.set_ylabel("E Θ²/E² Θ")
    cells[0].legend(title="σ_w²", fontsize=7, title_fontsize=8)
    return figure


def _few_labels(value: float, _: int) -> str:
    """Of the small marks of a logarithmic axis."""
    leading = value / 10 ** math.floor(math.log10(value) + 1e-9)
    return f"{value:g}" if round(leading, 6) in (2, 3, 5) else ""


def _dots(axes: Axes, where: np.ndarray, networks: xr.Dataset, ink: Any, bands: bool) -> None:
    value, error = networks["dispersion"].to_numpy(), networks["standard_error"].to_numpy()
    good = _believed(networks)
    if bands:
        axes.fill_between(where, np.maximum(value - error, 1), value + error, color=ink, alpha=0.25, linewidth=0)
    else:
        low = np.minimum(error, 0.9 * value)
        axes.errorbar(where, value, np.stack([low, error]), fmt="none", color=ink, linewidth=0.9)
    axes.plot(where[good], value[good], "o", color=ink, markersize=3.2)
    axes.plot(where[~good], value[~good], "o", color=ink, markersize=3.2, markerfacecolor="none")


def _maps(trees: Sequence[xr.DataTree]) -> Figure:
    panels = _panels(trees)
    figure, cells = _grid(len(panels), height=2.9)
    image = None
    for axes, (title, theory, networks) in zip(cells, panels, strict=True):
        values = theory["exact"] if networks is None else networks["dispersion"]
        image = axes.pcolormesh(
            theory["sigma_w_squared"].to_numpy(),
            theory["depth"].to_numpy(),
            values.to_numpy(),
            norm=LogNorm(1, 20),
            cmap=_ZONES,
            shading="nearest",
        )
        edge, shown = float(theory["edge_of_chaos"]), theory["sigma_w_squared"].to_numpy()
        if shown.min() < edge < shown.max():
            axes.axvline(edge, color="white", linestyle="--", linewidth=1)
        axes.set(xlabel="σ_w²", ylabel="L")
        axes.grid(False)
        axes.set_title(title, fontsize=9)
    if image is not None:
        bar = figure.colorbar(image, ax=cells, extend="max", label="E Θ²/E² Θ")
        bar.set_ticks([1, 1.2, 1.5, 2, 3, 5, 10, 20], labels=["1", "1.2", "1.5", "2", "3", "5", "10", "20"])
        bar.ax.minorticks_off()
    return figure


def _ratios(trees: Sequence[xr.DataTree]) -> Figure:
    parts = [
        (
            str(which),
            tree["theory"].to_dataset().sel(architecture=which),
            tree["networks"].to_dataset().sel(architecture=which),
        )
        for tree in trees
        for which in tree["theory"]["architecture"].to_numpy()
    ]
    figure, cells = _grid(len(parts))
    for axes, (title, theory, networks) in zip(cells, parts, strict=True):
        where = theory["depth_to_width"].to_numpy()
        for line, variance in enumerate(theory["sigma_w_squared"].to_numpy()):
            ink = colour(INKS[line % len(INKS)])
            for cosine in theory["cosine"].to_numpy():
                if cosine == 1:
                    continue
                at = networks.isel(input_to_width=0, sigma_b_squared=0, sigma_w_squared=line).sel(cosine=cosine)
                formula = theory["off_diagonal_ratio"].isel(input_to_width=0, sigma_w_squared=line).sel(cosine=cosine)
                axes.plot(where, formula.to_numpy(), color=ink, linewidth=1)
                error = at["ratio_standard_error"].to_numpy()
                axes.errorbar(where, at["ratio"].to_numpy(), error, fmt="o", color=ink, markersize=2.8, linewidth=0.9)
            axes.plot([], [], color=ink, label=f"{variance:g}")
        axes.axhline(0.25, color=colour("grey"), linestyle=":")
        axes.set(xlabel="L/M", ylim=(0, 1.05))
        axes.set_title(title, fontsize=9)
    cells[0].set_ylabel("E Θ(x, x̃)/E Θ(x, x)")
    cells[0].legend(title="σ_w²", fontsize=7, title_fontsize=8)
    return figure
