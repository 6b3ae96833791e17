"""Theory beside training: eigenspace rates, forecasts from snapshots, and their errors."""

from ntkflow.comparison.comparison import RateComparison, SnapshotComparison, compare_rates, compare_snapshot
from ntkflow.comparison.errors import LIMIT, MOVES, ForecastErrors, e_fold_times, forecast_errors
from ntkflow.comparison.forecast import MODELS, Forecast, Model, forecast, forecast_indices
from ntkflow.comparison.rates import WINDOW, MeasuredRate, gradient_descent_rate, measure_rate

__all__ = [
    "LIMIT",
    "MODELS",
    "MOVES",
    "WINDOW",
    "Forecast",
    "ForecastErrors",
    "MeasuredRate",
    "Model",
    "RateComparison",
    "SnapshotComparison",
    "compare_rates",
    "compare_snapshot",
    "e_fold_times",
    "forecast",
    "forecast_errors",
    "forecast_indices",
    "gradient_descent_rate",
    "measure_rate",
]
