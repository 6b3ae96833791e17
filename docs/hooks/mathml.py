"""Display equations: a fenced block ```math, in LaTeX, becomes MathML when the site is built. No script, no download."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from latex2mathml.converter import convert


def on_config(config: Any) -> Any:
    """Gives the fence to pymdownx.superfences; mkdocs calls this before it renders the first page."""
    options = config["mdx_configs"].setdefault("pymdownx.superfences", {})
    fence = {"name": "math", "class": "math", "format": display_equation}
    options["custom_fences"] = [*options.get("custom_fences", []), fence]
    return config


def display_equation(source: str, language: str, css_class: str, options: Any, md: Any, **others: Any) -> str:
    """The fence's content as one display equation, or an error that stops the build."""
    return f'<div class="{css_class}">{mathml(source)}</div>'


def mathml(source: str) -> str:
    """LaTeX to MathML.

    Raises:
        ValueError: latex2mathml left something of the LaTeX in its output, as it does with what it does not know.
    """
    markup = convert(source.strip(), display="block")
    try:
        root = ElementTree.fromstring(markup)
    except ElementTree.ParseError as error:
        raise ValueError(f"not well-formed MathML ({error}) from:\n{source}") from error
    left = [text for text in root.itertext() if "\\" in text or "&" in text]
    if left:
        raise ValueError(f"latex2mathml does not know {left[0]!r} in:\n{source}")
    return markup
