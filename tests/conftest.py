"""Shared settings: float64, strict dtypes, and every annotated shape checked while the tests run."""

from __future__ import annotations

import os

# Before jax is imported: the tests are about numbers, not about which device this machine has.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# As the command line does: half the time to compile, and programs without host callbacks.
os.environ.setdefault("EQX_ON_ERROR", "off")

import jax
import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")

settings.register_profile("ntkflow", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("ntkflow")

install_import_hook("ntkflow", "runtime_types.check")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker for each file, and one for all files that look at the shipped scenarios: each is run once, not once a
    worker."""
    shipped = {item.path for item in items if "runs" in getattr(item, "fixturenames", ())}
    for item in items:
        group = "shipped scenarios" if item.path in shipped else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
