"""Mathematics on the site, made when it is built: no script, no download.

A fenced block ```math, in LaTeX, becomes a display equation in MathML. In the text, a letter with an underscore behind
it (λ_single, R_e, Θ_{k,s}) gets a subscript; what stands in code is left alone.
"""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from latex2mathml.converter import convert

# Fenced blocks, code spans, the targets of links, and what mkdocstrings reads.
_CODE = re.compile(r"(^ *```.*?^ *```$|`[^`\n]+`|\]\([^)]*\)|\]\[[^\]]*\]|^:::.*?(?=^\S|\Z))", re.DOTALL | re.MULTILINE)
_SUBSCRIPT = re.compile(
    r"([Α-Ωα-ω]\u0304?|(?<![A-Za-z_])[A-Za-z]\u0304?|[ʰḣ⟩‖)])"  # a letter, barred or not, or a closing bracket
    r"_(?:\{([^}]+)\}|(\([^)]+\))|([A-Za-zα-ω0-9]+))"
)


def on_config(config: Any) -> Any:
    """Gives the fence to pymdownx.superfences; mkdocs calls this before it renders the first page."""
    options = config["mdx_configs"].setdefault("pymdownx.superfences", {})
    fence = {"name": "math", "class": "math", "format": display_equation}
    options["custom_fences"] = [*options.get("custom_fences", []), fence]
    return config


def on_page_markdown(markdown: str, **others: Any) -> str:
    """Sets subscripts; mkdocs calls this for every page."""
    pieces = _CODE.split(markdown)
    return "".join(piece if index % 2 else with_subscripts(piece) for index, piece in enumerate(pieces))


def with_subscripts(text: str) -> str:
    """``R_e`` as ``R<sub>e</sub>``."""
    return _SUBSCRIPT.sub(lambda found: f"{found[1]}<sub>{found[2] or found[3] or found[4]}</sub>", text)


def display_equation(source: str, language: str, css_class: str, options: Any, md: Any, **others: Any) -> str:
    """The fence's content as one display equation, or an error that stops the build."""
    return f'<div class="{css_class}">{mathml(source)}</div>'


def mathml(source: str) -> str:
    """LaTeX to MathML.

    Raises:
        ValueError: latex2mathml left something of the LaTeX in its output, as it does with what it does not know.
    """
    # Norm bars that stretch find no partner inside a row, and come out with two heights.
    markup = convert(source.strip(), display="block").replace("<mo>&#x02016;", '<mo stretchy="false">&#x02016;')
    try:
        root = ElementTree.fromstring(markup)
    except ElementTree.ParseError as error:
        raise ValueError(f"not well-formed MathML ({error}) from:\n{source}") from error
    left = [text for text in root.itertext() if "\\" in text or "&" in text]
    if left:
        raise ValueError(f"latex2mathml does not know {left[0]!r} in:\n{source}")
    return markup
