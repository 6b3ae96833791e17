"""Neural collapse: its metrics by name, and what the class flow converges to."""

from ntkflow.collapse.approach import Approach, approach
from ntkflow.collapse.class_metrics import CLASS_METRICS, class_metrics
from ntkflow.collapse.distances import collapse_distances
from ntkflow.collapse.frames import ClassFrame, balanced_frame, equal_bias_constants
from ntkflow.collapse.limits import FlowLimit, conclude, limit_of_flow
from ntkflow.collapse.mean_mode import MeanMode, mean_mode_limit
from ntkflow.collapse.metrics import METRICS, collapse_metrics
from ntkflow.collapse.prediction import CollapsePrediction, predict
from ntkflow.collapse.rates import linear_rates, slowest_rate
from ntkflow.collapse.scatter_bounds import scatter_ceiling, scatter_floor
from ntkflow.collapse.settled import settle
from ntkflow.collapse.verdicts import STATEMENTS, Condition, Verdict

__all__ = [
    "CLASS_METRICS",
    "METRICS",
    "STATEMENTS",
    "Approach",
    "ClassFrame",
    "CollapsePrediction",
    "Condition",
    "FlowLimit",
    "MeanMode",
    "Verdict",
    "approach",
    "balanced_frame",
    "class_metrics",
    "collapse_distances",
    "collapse_metrics",
    "conclude",
    "equal_bias_constants",
    "limit_of_flow",
    "linear_rates",
    "mean_mode_limit",
    "predict",
    "scatter_ceiling",
    "scatter_floor",
    "settle",
    "slowest_rate",
]
