"""What kernels take as the operating system counts it. The table: tests/validation/test_memory_budget.py."""

from __future__ import annotations

import pytest
from kernels.resident_memory import POSSIBLE, WHY_NOT, Case, measured

MB = 10**6
BUDGET = 24 * MB
ALLOWED = 4 * MB
"""Beyond the budget: Python's own objects, and what the allocator cannot give back."""


def case(what: str, samples: int, **settings: object) -> Case:
    settings = {"memory": BUDGET, **settings}
    return {"what": what, "network": "mlp", "inputs": 16, "width": 128, "samples": samples, "settings": settings}


@pytest.mark.slow
@pytest.mark.skipif(not POSSIBLE, reason=WHY_NOT)
def test_the_resident_set_keeps_to_the_budget() -> None:
    """Each would take several times the budget in one part; a finished kernel may be held three times meanwhile."""
    array, *kernels = measured(
        [
            {"what": "array", "samples": 2500},
            case("kernel", 1500, trace="mean", method="structured"),
            case("kernel", 150, trace=None, method="structured"),
            case("values", 4000, of="features", random_outputs=4),
        ]
    )
    # The counter-check: N² numbers of a program are seen.
    assert 2500**2 * 4 <= array["grown"] <= 1.2 * 2500**2 * 4
    for found in kernels:
        assert found["grown"] <= BUDGET + 3 * found["result"] + ALLOWED, found
        assert found["grown"] >= 0.2 * BUDGET, found
