"""What a scenario may say: the union of the kinds, each a pydantic model in a module of its own.

Unknown keys are errors, numbers must be finite, and text is never read as a number. The field descriptions are what
``ntkflow schema`` exports for editors and what the reference page shows.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, TypeAdapter

from ntkflow.scenario.comparison_kind import ComparisonScenario
from ntkflow.scenario.dispersion_kind import DispersionScenario
from ntkflow.scenario.end_of_training_kind import EndOfTrainingScenario
from ntkflow.scenario.flow_kind import FlowScenario
from ntkflow.scenario.kernel_change_kind import KernelChangeScenario
from ntkflow.scenario.kernel_kind import KernelScenario
from ntkflow.scenario.mean_field_kind import MeanFieldScenario
from ntkflow.scenario.regression_kind import RegressionScenario
from ntkflow.scenario.relaxation_kind import RelaxationScenario
from ntkflow.scenario.residuals_kind import ResidualsScenario
from ntkflow.scenario.run_comparison_kind import RunComparisonScenario
from ntkflow.scenario.training_kind import TrainingScenario
from ntkflow.scenario.width_kind import WidthScenario

Scenario = (
    FlowScenario
    | ResidualsScenario
    | RegressionScenario
    | EndOfTrainingScenario
    | RelaxationScenario
    | ComparisonScenario
    | RunComparisonScenario
    | KernelScenario
    | TrainingScenario
    | WidthScenario
    | MeanFieldScenario
    | KernelChangeScenario
    | DispersionScenario
)

SCENARIO: TypeAdapter[Scenario] = TypeAdapter(Annotated[Scenario, Field(discriminator="kind")])
"""Validates a mapping into one of the scenario kinds."""
