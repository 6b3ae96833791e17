"""The schema in the form that editors understand: completion, hints and red underlines while typing."""

from __future__ import annotations

from typing import Any

from ntkflow.scenario.schema import SCENARIO


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of scenario files."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ntkflow scenario",
        "description": "What one run of ntkflow does. The key 'kind' decides which other keys there are.",
        **SCENARIO.json_schema(),
    }
