"""Theory beside training: eigenspace rates, forecasts from snapshots, and their errors."""

from ntkflow.comparison.comparison import RateComparison, SnapshotComparison, compare_rates, compare_snapshot
from ntkflow.comparison.decay import FEWEST_RECORDS, WIDEST_WINDOW, DecayFit, fit_decay
from ntkflow.comparison.errors import LIMIT, MOVES, ForecastErrors, e_fold_times, forecast_errors
from ntkflow.comparison.forecast import Forecast, forecast, forecast_indices
from ntkflow.comparison.ladder import Ladder, ladder_of
from ntkflow.comparison.power_law import PowerLaw, fit_power_law
from ntkflow.comparison.rates import WINDOW, Descent, MeasuredRate, gradient_descent_rate, measure_rate
from ntkflow.comparison.rungs import LADDER, RUNGS, KernelsOfSnapshot, Model, Rung, models_of

__all__ = [
    "FEWEST_RECORDS",
    "LADDER",
    "LIMIT",
    "MOVES",
    "RUNGS",
    "WIDEST_WINDOW",
    "WINDOW",
    "DecayFit",
    "Descent",
    "Forecast",
    "ForecastErrors",
    "KernelsOfSnapshot",
    "Ladder",
    "MeasuredRate",
    "Model",
    "PowerLaw",
    "RateComparison",
    "Rung",
    "SnapshotComparison",
    "compare_rates",
    "compare_snapshot",
    "e_fold_times",
    "fit_decay",
    "fit_power_law",
    "forecast",
    "forecast_errors",
    "forecast_indices",
    "gradient_descent_rate",
    "ladder_of",
    "measure_rate",
    "models_of",
]
