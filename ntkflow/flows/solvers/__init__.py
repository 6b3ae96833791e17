"""Solvers that Diffrax does not have."""

from ntkflow.flows.solvers.rkc2 import RKC2

__all__ = ["RKC2"]
