"""Pictures as text inside a page."""

from __future__ import annotations

import base64
import re

_WIDTH = re.compile(r"<svg\b[^>]*?\bwidth=\"([0-9.]+)(pt|px|)\"")
_PIXELS = {"pt": 4 / 3, "px": 1.0, "": 1.0}


def data_uri(svg: str) -> str:
    """An SVG as a ``data:`` address. In Base64, because a comma or a space would end an entry of ``srcset``."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode("ascii")


def natural_width(svg: str) -> int:
    """The width of an SVG in CSS pixels; 500 if it does not say."""
    found = _WIDTH.search(svg)
    return round(float(found[1]) * _PIXELS[found[2]]) if found else 500
