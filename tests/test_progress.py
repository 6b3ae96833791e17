"""Progress in plain lines."""

from __future__ import annotations

import tempfile

import pytest

from ntkflow.progress import PlainProgress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def told(clock: list[float], *calls: tuple[float, str, float]) -> list[str]:
    """The lines after calls at given times, each of ten in all."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as stream:
        progress = PlainProgress(stream)
        for at, stage, done in calls:
            clock[0] = 100.0 + at
            progress(stage, done, 10)
        stream.seek(0)
        return stream.read().splitlines()


def test_a_stage_from_its_start_to_its_end(clock: list[float]) -> None:
    lines = told(clock, (0, "a", 0), (2, "a", 3), (6, "a", 4), (7, "a", 5), (9, "a", 10))
    assert lines == ["a …", "a: 40 %", "a: done in 9.0 s"]


def test_stages_that_take_turns(clock: list[float]) -> None:
    """Each is named once, and has the time that passed while it was the last one told."""
    calls = [(0, "a", 0), (1, "b", 0), (4, "a", 5), (6, "b", 5), (9, "a", 10), (9, "b", 10)]
    assert told(clock, *calls) == ["a …", "b …", "b: 50 %", "a: done in 3.0 s", "b: done in 6.0 s"]


def test_a_stage_that_is_over_at_once(clock: list[float]) -> None:
    assert told(clock, (0, "a", 10)) == ["a: done in 0.0 s"]
