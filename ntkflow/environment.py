"""The machine and its settings: float64, the compilation cache, and what `ntkflow doctor` reports about them."""

from __future__ import annotations

import ctypes
import dataclasses
import importlib.metadata
import os
import platform
import sys
import tempfile
from pathlib import Path

from ntkflow.results.provenance import PACKAGES

BAD_JAX = {
    "0.10.2": "miscompiles on the CPU",
    "0.11.0": "gives wrong values on some GPUs",
    "0.11.1": "gives wrong values on some GPUs",
}
"""Versions of JAX that the package's requirements exclude, and why (jax issues 39103 and 40633)."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of a check-up: what was looked at, what was found, and whether it is as it should be."""

    name: str
    found: str
    fine: bool = True


def cache_folder() -> Path:
    """Where compiled programs are kept between runs: $NTKFLOW_CACHE, or ntkflow in the user's cache folder."""
    if chosen := os.environ.get("NTKFLOW_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ntkflow"


def configure_jax() -> None:
    """Switch JAX to float64, keep freed memory, and keep compiled programs between runs where that is safe.

    For the command line; a library must not do this. On a CPU programs are kept only if NTKFLOW_CACHE asks for it:
    XLA's compiled CPU code can end in an illegal instruction on another machine that shares the folder, and loading it
    prints warnings by the screenful.
    """
    import jax

    keep_freed_memory()
    jax.config.update("jax_enable_x64", True)
    if _keeps_programs() and _writable(cache_folder()):
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def keep_freed_memory() -> bool:
    """Make the C library keep the memory that a compiled program frees, for the next one; whether that was possible.

    What a program on a CPU needs for intermediate values is one allocation. From 32 MB on, glibc takes it from the
    system anew at every call and gives it back afterwards, and every page of it has to be cleared when it is first
    touched. Linux with glibc only; the process then keeps the most memory that it ever needed.
    """
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(parameter, value) for parameter, value in _MALLOC_PARAMETERS])


# From malloc.h: M_MMAP_MAX 0, no allocations of their own for large arrays; M_TRIM_THRESHOLD, give back above this.
_MALLOC_PARAMETERS = ((-4, 0), (-1, 2**31 - 1))


def _keeps_programs() -> bool:
    import jax

    return jax.default_backend() != "cpu" or "NTKFLOW_CACHE" in os.environ


def check_up() -> list[Finding]:
    """Versions, devices, whether float64 computes in 64 bits, and the cache folder."""
    import jax
    import jax.numpy as jnp

    configure_jax()
    findings = [Finding("Python", platform.python_version()), Finding("platform", platform.platform())]
    for name in ("ntkflow", *PACKAGES):
        version = _version(name)
        trouble = BAD_JAX.get(version) if name in ("jax", "jaxlib") else None
        found = version if trouble is None else f"{version}, which {trouble}: install another"
        findings.append(Finding(name, found, trouble is None and version != "missing"))
    devices = ", ".join(f"{device.platform}:{device.id} ({device.device_kind})" for device in jax.devices())
    findings.append(Finding("devices", devices))
    # 1 + 2⁻⁵² differs from 1 in float64 only.
    works = float(jnp.asarray(1.0) + jnp.asarray(2.0**-52)) > 1.0
    findings.append(Finding("float64", "works" if works else "does not compute in 64 bits", works))
    folder = cache_folder()
    usable = _writable(folder)
    if not usable:
        state = "not writable: every run compiles anew; set NTKFLOW_CACHE to a folder that is"
    elif _keeps_programs():
        state = "writable, keeps compiled programs"
    else:
        state = "writable; not used on a CPU unless NTKFLOW_CACHE is set"
    findings.append(Finding("cache folder", f"{folder} ({state})", usable))
    return findings


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
