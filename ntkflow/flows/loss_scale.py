"""Z, the scale of the loss ‖R‖²_F/(2Z): the unit of all gradient-flow times and rates."""

from __future__ import annotations

from typing import Literal

NamedLossScale = Literal["one", "samples", "samples_times_outputs"]


def loss_scale_value(loss_scale: NamedLossScale | float, *, samples: int, outputs: int) -> float:
    """Z as a number: 1 (paper 3's text), N (papers 1 and 2), NC (paper 3's code), or the number itself."""
    match loss_scale:
        case "one":
            return 1.0
        case "samples":
            return float(samples)
        case "samples_times_outputs":
            return float(samples * outputs)
    return float(loss_scale)


def describe_loss_scale(loss_scale: NamedLossScale | float, value: float) -> str:
    """How texts and figures name Z: "Z = N = 80"."""
    symbol = {"one": "", "samples": "N = ", "samples_times_outputs": "NC = "}.get(str(loss_scale), "")
    return f"Z = {symbol}{value:g}"
