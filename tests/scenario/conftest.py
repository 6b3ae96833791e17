"""Valid example documents, and a way to spoil them and read what is said about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ntkflow.errors import ScenarioError
from ntkflow.scenario import load_scenario

EXAMPLES = Path(__file__).parent / "examples"


@pytest.fixture
def example() -> Callable[..., str]:
    """The text of an example, with pieces of it replaced."""

    def text(name: str, *replacements: tuple[str, str]) -> str:
        found = (EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8")
        for old, new in replacements:
            assert found.count(old) == 1, f"{old!r} must occur once, or the test spoils something else"
            found = found.replace(old, new)
        return found

    return text


@pytest.fixture
def complaint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The text of the error that loading ``s.yaml`` with this content ends in."""
    monkeypatch.chdir(tmp_path)

    def of(content: str | bytes, *overrides: str) -> str:
        Path("s.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(ScenarioError) as caught:
            load_scenario("s.yaml", overrides)
        return str(caught.value)

    return of
