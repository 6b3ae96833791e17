"""The figures of the papers, each from scenarios that are run for it."""

from ntkflow.figures.catalogue import FIGURES
from ntkflow.figures.make import made_figure
from ntkflow.figures.paper_figure import PaperFigure, Setting, Stage

__all__ = ["FIGURES", "PaperFigure", "Setting", "Stage", "made_figure"]
