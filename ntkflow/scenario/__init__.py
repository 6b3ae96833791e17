"""Scenarios: what a YAML file may say, read with clear messages."""

from ntkflow.scenario.common import BlockValues, Classes, FeatureProblem, LossScale, Model, Solver, TimeGrid
from ntkflow.scenario.comparison_kind import (
    MLP,
    ComparisonScenario,
    Forecast,
    ForecastSolver,
    GradientDescent,
    GradientFlow,
    Training,
    TrainingSolver,
)
from ntkflow.scenario.data_sources import Data, DigitsData, FileData
from ntkflow.scenario.flow_kind import FileState, FlowCase, FlowScenario, InitialState, RandomState, ZeroInvariantState
from ntkflow.scenario.json_schema import json_schema
from ntkflow.scenario.load import LoadedScenario, load_scenario, resolved_yaml
from ntkflow.scenario.residuals_kind import ResidualNorms, ResidualsScenario
from ntkflow.scenario.schema import SCENARIO, Scenario

__all__ = [
    "MLP",
    "SCENARIO",
    "BlockValues",
    "Classes",
    "ComparisonScenario",
    "Data",
    "DigitsData",
    "FeatureProblem",
    "FileData",
    "FileState",
    "FlowCase",
    "FlowScenario",
    "Forecast",
    "ForecastSolver",
    "GradientDescent",
    "GradientFlow",
    "InitialState",
    "LoadedScenario",
    "LossScale",
    "Model",
    "RandomState",
    "ResidualNorms",
    "ResidualsScenario",
    "Scenario",
    "Solver",
    "TimeGrid",
    "Training",
    "TrainingSolver",
    "ZeroInvariantState",
    "json_schema",
    "load_scenario",
    "resolved_yaml",
]
