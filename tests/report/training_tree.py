"""Result trees of made-up training runs, with the names, axes and labels that the observations announce."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

COLLAPSE = (
    "nc1_within_std",
    "nc1_trace_ratio",
    "nc1_cdnv",
    "nc1_pinv",
    "nc2_etf_distance",
    "nc2_norm_variation",
    "nc2_angle_deviation",
    "nc3_unit_means",
    "nc3_means",
)
LABELS = {
    "split": ("train", "test"),
    "eigenspace": ("global_mean", "class_means", "within_class"),
    "block_value": ("diagonal", "same_class", "different_class"),
    "block_ratio": ("same_over_diagonal", "different_over_diagonal", "gap"),
    "sample": ("training", "kernels"),
    "work": ("losses", "collapse", "block_values", "sharpness", "forward_passes", "kernels"),
}


def training_tree(epochs: Sequence[int], members: Sequence[str] = ()) -> xr.DataTree:
    """Smooth curves: the first run falls to 0, every later one more slowly. The first has no error from epoch 30 on."""
    at = np.asarray(epochs, dtype=float)
    pace = np.linspace(1.0, 0.3, max(len(members), 1))[:, None]
    fall = np.exp(-pace * at / 40)
    generator = np.random.default_rng(0)

    def array(values: np.ndarray, *dims: str) -> tuple[tuple[str, ...], np.ndarray]:
        wave = values * (1 + 0.03 * generator.standard_normal(values.shape))
        return (("member", "epoch", *dims), wave) if members else (("epoch", *dims), wave[0])

    def group(*dims: str, **variables: tuple[tuple[str, ...], np.ndarray]) -> xr.Dataset:
        coordinates: dict[str, Sequence[object]] = {"epoch": list(epochs), **{dim: list(LABELS[dim]) for dim in dims}}
        if members:
            coordinates["member"] = list(members)
        return xr.Dataset(variables, coordinates)

    def of_two(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.stack([first, second], axis=-1)

    wrong = np.where(pace * at >= 30, 0.0, 5.0)
    losses = group(
        "split",
        loss=array(of_two(0.5 * fall + 1e-5, 0.5 * fall + 0.03), "split"),
        cross_entropy=array(of_two(2 * fall + 1e-4, 2 * fall + 0.2), "split"),
        accuracy=array(of_two(1 - 0.9 * fall, 0.97 - 0.9 * fall), "split"),
    )
    count = np.stack([wrong, wrong + 10], axis=-1)
    losses["misclassified"] = (("member", "epoch", "split"), count) if members else (("epoch", "split"), count[0])
    # Rounding may not go above 1, and what is 0 stays it.
    losses["accuracy"] = losses["accuracy"].clip(0, 1)
    parts = np.stack([3 * fall**3, 2 * fall**2, fall], axis=-1)
    values = np.stack([3 + at / 40, 1.5 + at / 50, 0.5 + 0 * at], axis=-1) * np.ones_like(pace)[..., None]
    ratios = np.stack([0.5 + 0.3 * (1 - fall), 0.2 * fall, 0.3 + 0.4 * (1 - fall)], axis=-1)
    blocks = {}
    for prefix in ("logit", "feature"):
        blocks |= {
            f"{prefix}_block_value": array(values, "block_value"),
            f"{prefix}_block_standard_error": array(0.1 * values, "block_value"),
            f"{prefix}_block_ratio": array(ratios, "block_ratio"),
            f"{prefix}_block_ratio_standard_error": array(0.05 * ratios + 0.01, "block_ratio"),
            f"{prefix}_eigenvalue": array(values[..., ::-1] * [60.0, 9.0, 1.0], "eigenspace"),
            f"{prefix}_eigenvalue_standard_error": array(0.2 * values[..., ::-1] * [60.0, 9.0, 1.0], "eigenspace"),
        }
    aligned = {}
    for prefix, height in (("logit", 0.5), ("feature", 0.6)):
        aligned |= {
            f"{prefix}_alignment": array(0.35 + height * (1 - fall)),
            f"{prefix}_alignment_standard_error": array(0.02 + 0 * fall),
            f"{prefix}_block_share": array(0.6 + 0.3 * (1 - fall)),
            f"{prefix}_relative_change": array(2 * (1 - fall)),
        }
    invariant = {}
    curves = {"norm": 5 * fall + 0.3, "relative_norm": 0.9 * fall + 0.05, "alignment": 0.9 - 0.6 * fall}
    for name, curve in curves.items():
        invariant[name] = array(of_two(curve, 0.8 * curve), "sample")
        invariant[f"{name}_standard_error"] = array(0.05 * of_two(curve, curve), "sample")
    for name in ("", "_standard_error"):
        invariant[f"zero_mean_alignment{name}"] = invariant[f"alignment{name}"]
    eta = 0.05 * np.where(at >= 120, 0.1, 1.0) * np.ones_like(pace)
    sharpness = group(
        sharpness=array(10 + 28 * (1 - fall)),
        gauss_newton=array(9 + 28 * (1 - fall)),
        two_over_step_size=array(2 / eta),
        stability_threshold=array(3.8 / eta),
    )
    costs = np.ones((*fall.shape, 6)) * [0.01, 0.1, 0.02, 3.0, 0.5, 6.0]
    return xr.DataTree.from_dict(
        {
            "scenario": xr.Dataset(attrs={"loss_scale": "Z = 120"}),
            "losses": losses,
            "collapse": group(
                **{name: array((1 + 0.2 * index) * fall + 1e-3) for index, name in enumerate(COLLAPSE)},
                nc4_disagreement=array(np.maximum(0.3 * fall - 0.1, 0)),
                class_mean_norm=array(3 - 2 * fall),
                within_norm=array(2 * fall + 1e-3),
                global_mean_norm=array(0.5 * fall + 0.02),
                weight_norm=array(1 + fall),
                bias_norm=array(0.3 * (1 - fall) + 0.01),
            ),
            "residuals": group("eigenspace", residual_norm=array(parts, "eigenspace")),
            "block_values": group("block_value", "block_ratio", "eigenspace", **blocks),
            "alignments": group(**aligned),
            "invariant": group("sample", **invariant),
            "sharpness": sharpness,
            "cost": group("work", seconds=array(costs, "work"), training_seconds=array(20 + 0 * fall)),
        }
    )
