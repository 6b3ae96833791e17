"""Inputs whose infinite-width kernels are timed, and the command line of the programs that do it. NumPy only."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from peer_timing import timed

Kernels = Callable[[np.ndarray], Any]
"""From inputs to the NTK, finished when it returns; the NNGP is made with it."""


@dataclasses.dataclass(frozen=True)
class InfiniteSizes:
    """What is timed: fully connected networks of ``depth`` layers of weights."""

    samples: int = 1000
    features: int = 784
    depth: int = 10


SMOKE = InfiniteSizes(20, 8, 3)
SIGMA_W, SIGMA_B = 1.4, 0.1


def vectors(sizes: InfiniteSizes, dtype: str) -> np.ndarray:
    """Samples from N(0, 1)."""
    return np.random.default_rng(0).standard_normal((sizes.samples, sizes.features)).astype(dtype)


def serve(
    description: str,
    cases: Mapping[str, tuple[Callable[[InfiniteSizes], Kernels], Callable[[InfiniteSizes, str], np.ndarray]]],
    enable_float64: Callable[[], None],
) -> None:
    """Runs one case: a small kernel first, so that memory is what the size costs, then the timed ones."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--case", choices=list(cases), required=True)
    parser.add_argument("--repeats", type=int, default=5, help="timed runs after the first one")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: does everything run?")
    options = parser.parse_args()
    if options.dtype == "float64":
        enable_float64()
    sizes = SMOKE if options.smoke else InfiniteSizes()
    make, inputs = cases[options.case]
    kernels = make(sizes)
    kernels(inputs(dataclasses.replace(sizes, samples=min(100, sizes.samples)), options.dtype))
    x = inputs(sizes, options.dtype)
    print(json.dumps(timed(options.case, lambda: kernels(x), options.repeats)), flush=True)
