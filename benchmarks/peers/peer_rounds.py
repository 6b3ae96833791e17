"""A process that trains in rounds: it says that it is ready, then trains for some steps at each line that it reads.

No library is imported here. Several such processes take turns, so that all of them see the same machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class TrainingSizes:
    """What is trained; float32 everywhere."""

    depth: int = 20
    image: int = 28
    batch: int = 120
    resnet_steps: int = 5
    width: int = 512
    mlp_steps: int = 100
    members: int = 16
    ensemble_steps: int = 20


SMOKE = TrainingSizes(8, 8, 20, 2, 16, 3, 2, 2)

STEP_SIZE, MOMENTUM, WEIGHT_DECAY = 0.01, 0.9, 5e-4

Round = Callable[[], float]
"""One round of steps, finished when it returns; gives the mean loss of its steps."""


def images(sizes: TrainingSizes, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Grey images for an epoch of ``steps`` batches, sorted by class, and their ten classes."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), sizes.batch // 10 * steps)
    inputs = generator.standard_normal((len(labels), 1, sizes.image, sizes.image)).astype(np.float32)
    return inputs, labels


def serve(description: str, cases: Mapping[str, Callable[[TrainingSizes], tuple[Round, int]]]) -> None:
    """Prepares one case, then a round for each line of stdin, and for each one line of JSON on stdout."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("case", choices=list(cases))
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: does everything run?")
    options = parser.parse_args()
    clock = time.perf_counter()
    run, steps = cases[options.case](SMOKE if options.smoke else TrainingSizes())
    run()
    print(json.dumps({"ready": time.perf_counter() - clock, "steps": steps}), flush=True)
    for _ in sys.stdin:
        clock, work = time.perf_counter(), time.process_time()
        loss = run()
        seconds, cpu_seconds = time.perf_counter() - clock, time.process_time() - work
        print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds, "loss": loss}), flush=True)
