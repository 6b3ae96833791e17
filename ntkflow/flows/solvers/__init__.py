"""Solvers that Diffrax does not have, and how stiff a system is."""

from ntkflow.flows.solvers.newton_krylov import NewtonKrylov, kvaerno5_krylov
from ntkflow.flows.solvers.rkc2 import RKC2
from ntkflow.flows.solvers.spectral_radius import SpectrumEstimate, estimate_spectrum

__all__ = ["RKC2", "NewtonKrylov", "SpectrumEstimate", "estimate_spectrum", "kvaerno5_krylov"]
