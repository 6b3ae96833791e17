"""What is timed of infinitely wide convolutional networks, in either library: `python PEER.py --head flatten …`.

No library is imported here. 3×3 filters, ReLU, σ_w² = 2, no biases; NNGP and NTK of images from N(0, 1).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from peer_timing import timed

Run = Callable[[], Any]


def command_line(description: str, make: Callable[[np.ndarray, int, str], Run]) -> None:
    """Times the kernel that ``make`` computes of (images channels first, depth, head) and prints one line of JSON."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--head", choices=("flatten", "pooling"), required=True)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--depth", type=int, default=5)
    parser.add_argument("--precision", choices=("float32", "float64"), default="float32")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    shape = (options.images, 3, options.size, options.size)
    images = np.random.default_rng(0).standard_normal(shape).astype(options.precision)
    run = make(images, options.depth, options.head)
    print(json.dumps(timed(options.head, run, options.repeats)), flush=True)
