"""Networks before training: mean-field theory over depth, phases, the edge of chaos."""

from ntkflow.initialization.mean_field import MeanField, PairStep

__all__ = [
    "MeanField",
    "PairStep",
]
