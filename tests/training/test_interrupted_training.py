"""Ctrl-C in the middle: it goes through, and training comes back to the host often enough to notice it."""

from __future__ import annotations

import itertools

import pytest
from training.tiny import STEP, TIGHT, network, problem

from ntkflow.training import train_by_gradient_descent, train_by_gradient_flow


class Interrupting:
    """A progress callback that is interrupted at its n-th call."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.calls: list[tuple[str, float, float]] = []

    def __call__(self, stage: str, done: float, total: float) -> None:
        self.calls.append((stage, done, total))
        if len(self.calls) == self.at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("at", [1, 3])
def test_gradient_descent(at: int) -> None:
    progress = Interrupting(at)
    with pytest.raises(KeyboardInterrupt):
        train_by_gradient_descent(
            network(), problem(), step_size=STEP, steps=10_000, snapshots=[0], records=2, progress=progress
        )
    assert len(progress.calls) == at


@pytest.mark.parametrize("at", [1, 3])
def test_gradient_flow(at: int) -> None:
    progress = Interrupting(at)
    with pytest.raises(KeyboardInterrupt):
        train_by_gradient_flow(
            network(), problem(), end_time=1.0, snapshots=[0.0], records=150, integration=TIGHT, progress=progress
        )
    assert len(progress.calls) == at


def test_descent_reports_at_least_every_256_steps() -> None:
    progress = Interrupting(-1)
    train_by_gradient_descent(
        network(), problem(), step_size=STEP, steps=1000, snapshots=[0], records=2, progress=progress
    )
    done = [0.0, *(call[1] for call in progress.calls)]
    assert all(0 < later - earlier <= 256 for earlier, later in itertools.pairwise(done))
    assert {(call[0], call[2]) for call in progress.calls} == {("training", 1000)}
    assert done[-1] == 1000


def test_flow_ends_where_it_said_it_would() -> None:
    progress = Interrupting(-1)
    train_by_gradient_flow(
        network(), problem(), end_time=0.7, snapshots=[0.0], records=70, integration=TIGHT, progress=progress
    )
    done = [call[1] for call in progress.calls]
    assert done == sorted(done)
    assert len(done) >= 3
    assert progress.calls[-1] == ("training", 0.7, 0.7)
