"""Neural collapse: its metrics by name."""

from ntkflow.collapse.metrics import METRICS, collapse_metrics

__all__ = ["METRICS", "collapse_metrics"]
