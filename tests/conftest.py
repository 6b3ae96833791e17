"""Shared settings: float64, strict dtypes, and every annotated shape checked while the tests run."""

from __future__ import annotations

import gc
import os

# Before jax is imported: the tests are about numbers, not about which device this machine has.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# As the command line does: half the time to compile, and programs without host callbacks.
os.environ.setdefault("EQX_ON_ERROR", "off")
# Most of the time goes into compiling programs that run for milliseconds. `make validate` compiles as users' runs do.
# The older emitters of fused loops take half the time to compile. A jaxlib that does not know a flag says so and stops:
# XLA_FLAGS= runs the tests without them.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_parallel_codegen_split_count=1 --xla_cpu_use_fusion_emitters=false",
)

import jax
from hypothesis import settings
from jaxtyping import install_import_hook

# Tracing makes millions of small objects that stay in caches; looking through them again and again takes a twentieth.
gc.set_threshold(200_000, 50, 100)

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")

settings.register_profile("ntkflow", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("ntkflow")

install_import_hook("ntkflow", "runtime_types.check")
