"""Labels of logarithmic axes in plain text: those of Matplotlib, without its typesetting."""

from __future__ import annotations

import re

import pytest
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from ntkflow.report.powers import PlainPowers, write_plain_powers

PLAIN = re.compile(r"(\d×)?10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+")


def labels(figure: Figure) -> list[str]:
    axis = figure.axes[0].yaxis
    return [tick.label1.get_text() for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]]


def drawn(low: float, high: float, *, plain: bool) -> list[str]:
    figure = Figure()
    axes = figure.add_subplot()
    axes.semilogy([0, 1], [low, high])
    if plain:
        write_plain_powers(figure)
    figure.draw_without_rendering()
    return labels(figure)


@pytest.mark.parametrize(("low", "high"), [(1e-12, 1e3), (0.12, 0.7), (3.0, 40.0)])
def test_every_label_is_matplotlibs(low: float, high: float) -> None:
    theirs, ours = drawn(low, high, plain=False), drawn(low, high, plain=True)
    assert len(ours) == len(theirs)
    assert any(ours)
    for plain, math in zip(ours, theirs, strict=True):
        if not math:
            assert not plain
            continue
        assert PLAIN.fullmatch(plain), plain
        numbers = re.findall(r"-?\d+", math)
        raised = plain.rpartition("10")[2].translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
        assert [*re.findall(r"^\d(?=×)", plain), "10", raised] == numbers


def test_labels_of_its_own_stay() -> None:
    figure = Figure()
    axes = figure.add_subplot()
    axes.loglog([1, 100], [1, 100])
    own = StrMethodFormatter("{x:g}")
    axes.xaxis.set_major_formatter(own)
    write_plain_powers(figure)
    assert axes.xaxis.get_major_formatter() is own
    assert type(axes.yaxis.get_major_formatter()) is PlainPowers


def test_negative_ticks() -> None:
    figure = Figure()
    axes = figure.add_subplot()
    axes.plot([0, 1], [-100, 100])
    axes.set_yscale("symlog")
    write_plain_powers(figure)
    figure.draw_without_rendering()
    shown = labels(figure)
    assert "10²" in shown
    assert "-10²" in shown or "−10²" in shown
    assert not any("$" in label and "10" in label for label in shown)
