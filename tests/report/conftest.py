"""A summary with everything in it that a page or a terminal could trip over, and a figure."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from ntkflow.report import Drawing, RenderedFigure, line, render
from ntkflow.results import Column, Quantity, Summary, Table


@pytest.fixture
def summary() -> Summary:
    return Summary(
        title='Digits <script>alert("x")</script> & "quotes"',
        kind="train [bold]",
        statements=("The forecast holds to within 4.2 % <of> the norm.", "It is [red]not[/red] markup."),
        quantities=(
            Quantity("Rate of the class means", 0.41237, "1/t", "Slope of −log ‖R‖ & its <unit>.", 0.0061),
            Quantity("Forecast error", 3.21e-5, "1", "Root mean square over time.", 2.2e-6),
            Quantity("Not measured", math.nan, "", "Nothing to see."),
        ),
        tables=(
            Table(
                "Decay rates",
                (
                    Column("part", "", "Which part of the <residual>."),
                    Column("predicted [rate]", "[1/t]", "Eigenvalue over Z."),
                    Column("agrees", "1", "Whether it agrees."),
                ),
                (("global mean", 3.01234, True), ("<b>class</b> means", -2e-7, False), ("rest", None, None)),
                note="The rest has no prediction.",
            ),
            Table("Steps", (Column("step", "steps", "Steps taken."),), ((1,), (1000,))),
            Table("Empty", (Column("nothing", "", "No row has it."),), ()),
        ),
        warnings=("The step is large.", "A second <warning>."),
    )


def decay() -> Figure:
    figure = Figure()
    axes = figure.subplots()
    time = np.geomspace(1e-2, 1e2, 50)
    axes.loglog(time, np.exp(-time), label="global mean", **line("global mean", "real"))
    axes.loglog(time, np.exp(-1.1 * time), **line("global mean", "three values"))
    axes.set(xlabel="time $t$", ylabel="norm", ylim=(1e-3, 2))
    axes.legend()
    return figure


@pytest.fixture(scope="session")
def drawing() -> Drawing:
    return Drawing("decay", 'Decay of "the" parts', "Lines <are> the parts.", decay)


@pytest.fixture(scope="session")
def figure(drawing: Drawing) -> RenderedFigure:
    return render(drawing)
