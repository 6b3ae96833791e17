"""What people look at: figures in two themes, one self-contained page, and the same summary on the terminal."""

from ntkflow.report.comparison_figures import comparison_drawings
from ntkflow.report.dispersion_figures import curves_drawing, dispersion_drawings, map_drawing, ratio_drawing
from ntkflow.report.drawing import Drawing, RenderedFigure, render, write_figures
from ntkflow.report.end_of_training_figures import end_of_training_drawings
from ntkflow.report.ensemble_figures import ensemble_drawings
from ntkflow.report.flow_figures import flow_drawings
from ntkflow.report.html import render_report
from ntkflow.report.kernel_change_figures import (
    kernel_change_drawings,
    plane_drawing,
    steps_drawing,
    widths_drawing,
)
from ntkflow.report.kernel_figures import Curve, kernel_heat_map, pair_norm_map, structure_over_time, subspace_spectra
from ntkflow.report.kernel_result_figures import kernel_drawings
from ntkflow.report.mean_field_figures import kernel_depth_figure, mean_field_drawings
from ntkflow.report.paper2_structure import DeepRun, structure_in_training_figure
from ntkflow.report.paper3_block_structure import block_structure_figure, eigenvalue_table_figure
from ntkflow.report.paper3_collapse import chosen_pair, collapse_figure
from ntkflow.report.regression_figures import regression_drawings
from ntkflow.report.relaxation_figures import relaxation_drawings
from ntkflow.report.residuals_figures import residuals_drawings
from ntkflow.report.several_figures import several_drawings
from ntkflow.report.style import Theme, colour, line, part_colour, themed
from ntkflow.report.terminal import print_summary
from ntkflow.report.training_figures import training_drawings
from ntkflow.report.width_figures import width_drawings

__all__ = [
    "Curve",
    "DeepRun",
    "Drawing",
    "RenderedFigure",
    "Theme",
    "block_structure_figure",
    "chosen_pair",
    "collapse_figure",
    "colour",
    "comparison_drawings",
    "curves_drawing",
    "dispersion_drawings",
    "eigenvalue_table_figure",
    "end_of_training_drawings",
    "ensemble_drawings",
    "flow_drawings",
    "kernel_change_drawings",
    "kernel_depth_figure",
    "kernel_drawings",
    "kernel_heat_map",
    "line",
    "map_drawing",
    "mean_field_drawings",
    "pair_norm_map",
    "part_colour",
    "plane_drawing",
    "print_summary",
    "ratio_drawing",
    "regression_drawings",
    "relaxation_drawings",
    "render",
    "render_report",
    "residuals_drawings",
    "several_drawings",
    "steps_drawing",
    "structure_in_training_figure",
    "structure_over_time",
    "subspace_spectra",
    "themed",
    "training_drawings",
    "width_drawings",
    "widths_drawing",
    "write_figures",
]
