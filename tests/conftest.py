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


def pytest_itemcollected(item: pytest.Item) -> None:
    """One worker for each file, and one for all of the experiments: each shipped scenario is run once.

    Here and not in ``pytest_collection_modifyitems``, where pytest-xdist has read the marks already.
    """
    group = "experiments" if item.path.parent.name == "experiments" else str(item.path)
    item.add_marker(pytest.mark.xdist_group(group))
