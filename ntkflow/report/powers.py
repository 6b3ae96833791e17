"""Powers of ten on logarithmic axes as plain text: 10⁻³, 6×10⁻¹."""

from __future__ import annotations

import re

from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterSciNotation

_RAISED = str.maketrans("-−0123456789", "⁻⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_MATH = re.compile(r"\$\\mathdefault\{(?:(?P<factor>[-−]?\d+)\\times)?(?P<sign>[-−]?)10\^\{(?P<power>[-−]?\d+)\}\}\$")


class PlainPowers(LogFormatterSciNotation):
    """Matplotlib's labels without its mathematical typesetting, which takes a quarter of the time of drawing figures.

    What is no power of ten, or times one, stays as Matplotlib writes it.
    """

    def __call__(self, x: float, pos: int | None = None) -> str:
        """The label of a tick."""
        label = super().__call__(x, pos)
        found = _MATH.fullmatch(label)
        if found is None:
            return label
        factor = f"{found['factor']}×" if found["factor"] else ""
        return f"{factor}{found['sign']}10{found['power'].translate(_RAISED)}"


def write_plain_powers(figure: Figure) -> None:
    """Every logarithmic axis of a figure gets such labels, unless it has labels of its own."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            for minor, formatter in ((False, axis.get_major_formatter()), (True, axis.get_minor_formatter())):
                if type(formatter) is LogFormatterSciNotation:
                    plain = PlainPowers(labelOnlyBase=formatter.labelOnlyBase)
                    (axis.set_minor_formatter if minor else axis.set_major_formatter)(plain)
