"""What is said of a network beforehand: beside the formulas, random networks, and mistakes."""

from __future__ import annotations

import math

import pytest
from experiments.command import ntkflow

from ntkflow.errors import UserError
from ntkflow.experiments import trust
from ntkflow.experiments.trust import sampled_first_step
from ntkflow.initialization import ntk_moments


def test_relu_without_biases_is_exact() -> None:
    found = trust(depth=6, width=20, sigma_w=2**0.5)
    assert found.limit.phase == "edge"
    assert found.edge == pytest.approx(2.0, abs=1e-12)
    assert found.dispersion.standard_error is None
    assert found.dispersion.value == pytest.approx(
        float(ntk_moments((20,) * 6, 2**0.5, input_norm_squared=20.0).dispersion), rel=1e-12
    )
    assert found.spread == pytest.approx(math.sqrt(found.dispersion.value - 1), rel=1e-12)


def test_the_first_step_of_real_networks() -> None:
    """The formula against derivatives along the gradients of 200 networks, within four standard errors."""
    exact = trust(depth=3, width=40, sigma_w=1.2).first_step
    sampled = sampled_first_step((40, 40, 40), 1.2, 0.0, "relu", seed=3)
    assert exact is not None
    assert sampled is not None
    assert sampled.standard_error is not None
    assert sampled.standard_error < 0.2 * abs(exact.value)
    assert abs(sampled.value - exact.value) < 4 * sampled.standard_error


def test_verdicts() -> None:
    """A wide shallow ordered network is near its limit; a narrow deep chaotic one is not."""
    good = trust(depth=3, width=2000, sigma_w=1.2)
    assert "can be trusted" in good.verdict
    bad = trust(depth=40, width=30, sigma_w=1.8)
    assert bad.limit.phase == "chaotic"
    assert "not to be trusted" in bad.verdict
    assert "Θ is random" in bad.verdict
    assert trust(depth=60, width=2000, sigma_w=1.0).verdict.count("deeper than") == 1


def test_the_command() -> None:
    said = ntkflow("trust", "--depth", 4, "--width", 24, "--activation", "tanh", "--sigma-w", 1.5, "--samples", 500)
    assert said.code == 0
    for words in ("phase", "correlation length", "trainability depth", "dispersion of Θ(x, x)", "±", "first step"):
        assert words in said.out
    assert "From 500 random networks" in " ".join(said.out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sigma-w", 0), "sigma_w must be positive"),
        (("--sigma-w", 1, "--depth", 0), "depth must be at least 1"),
        (("--sigma-w", 1, "--activation", "rleu"), "no activation 'rleu'"),
        (("--sigma-w", "nan"), "sigma_w must be positive"),
        (("--sigma-w", 1, "--sigma-b", -1), "sigma_b must be at least 0"),
    ],
)
def test_what_is_refused(arguments: tuple[object, ...], message: str) -> None:
    usual = ("--width", 8) if "--depth" in arguments else ("--width", 8, "--depth", 3)
    assert message in ntkflow("trust", *usual, *arguments).refused()


def test_depth_and_width_one() -> None:
    """A linear model: Θ = ‖x‖² + 1 is not random and does not change."""
    found = trust(depth=1, width=1, sigma_w=1.0, inputs=5)
    assert found.dispersion.value == pytest.approx(1.0, rel=1e-12)
    assert found.first_step is not None
    assert found.first_step.value == 0
    assert trust(depth=3, width=1, sigma_w=1.0).spread > 0.5
    with pytest.raises(UserError, match="width must be at least 1"):
        trust(depth=2, width=0, sigma_w=1.0)
