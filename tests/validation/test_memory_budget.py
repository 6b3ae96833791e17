"""Resident memory of kernels under budgets from 64 MB to 1 GB, each network and budget in a process of its own."""

from __future__ import annotations

import pytest
from kernels.resident_memory import POSSIBLE, WHY_NOT, Case, measured

MB = 10**6


def mlp(budget: int) -> list[Case]:
    """784-512-512-512-10, as in the benchmarks."""
    shared = {"network": "mlp", "inputs": 784, "width": 512}
    asked = [
        ("kernel", 1000, {"trace": "mean", "method": "structured"}),
        ("kernel", 200, {"trace": None, "method": "structured"}),
        ("kernel", 20, {"trace": "mean", "method": "jacobian"}),
        ("kernel", 20, {"trace": None, "method": "jacobian"}),
        ("kernel", 20, {"trace": "mean", "method": "jvp-vjp"}),
        ("values", 2000, {"of": "logits"}),
        ("values", 1000, {"of": "features", "random_outputs": 8}),
        ("outputs", 200, {"of": "logits"}),
        ("pairs", 100, {"of": "logits"}),
    ]
    return _cases(asked, shared, budget)


def resnet(budget: int) -> list[Case]:
    """ResNet8 of (16, 32, 64) channels on images of 28×28."""
    shared = {"network": "resnet", "depth": 8, "width": 16}
    asked = [
        ("kernel", 20, {"trace": "mean", "method": "structured"}),
        ("kernel", 20, {"trace": None, "method": "structured"}),
        ("kernel", 20, {"trace": "mean", "method": "jacobian"}),
        ("kernel", 4, {"trace": "mean", "method": "jvp-vjp"}),
        ("values", 60, {"of": "logits"}),
        ("values", 60, {"of": "features", "random_outputs": 8}),
    ]
    return _cases(asked, shared, budget)


def _cases(asked: list, shared: Case, budget: int) -> list[Case]:
    return [
        {"what": what, "samples": samples, **shared, "settings": {"memory": budget, **settings}}
        for what, samples, settings in asked
    ]


@pytest.mark.slow
@pytest.mark.skipif(not POSSIBLE, reason=WHY_NOT)
@pytest.mark.parametrize("budget", [64 * MB, 256 * MB, 1000 * MB])
@pytest.mark.parametrize("network", ["mlp", "resnet"])
def test_resident_memory(network: str, budget: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A finished kernel may be held three times; a tenth of the budget and 16 MB are for what no compiler counts."""
    found = measured({"mlp": mlp, "resnet": resnet}[network](budget))
    over = []
    for case in found:
        settings = {name: value for name, value in case["settings"].items() if name != "memory"}
        allowed = 1.1 * budget + 3 * case["result"] + 16 * MB
        with capsys.disabled():
            print(
                f"\n{network}, {case['what']} at {case['samples']} samples, {settings}, budget {budget / MB:.0f} MB: "
                f"grown {case['grown'] / MB:.1f} MB, finished kernel {case['result'] / MB:.2f} MB; "
                f"{case['said'].splitlines()[-1].strip()}",
                end="",
            )
        if case["grown"] > allowed:
            over.append(case)
    assert not over
