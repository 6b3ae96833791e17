"""The page is well-formed, loads nothing, defines every number, and takes no text for markup."""

from __future__ import annotations

import html.parser
import re
from typing import Any

import pytest

from ntkflow.report import RenderedFigure, render_report
from ntkflow.results import Summary

VOID = {"meta", "link", "img", "br", "source"}
LOADING = {"src", "srcset", "data", "poster", "action", "background"}


class Page(html.parser.HTMLParser):
    """Walks a page; fails where a tag is not closed or closed twice."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data.strip()))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def said(self, tag: str) -> list[str]:
        return [text for place, text in self.texts if place == tag]

    @property
    def text(self) -> str:
        return " ".join(text for place, text in self.texts if place != "style")


@pytest.fixture
def arguments(summary: Summary, figure: RenderedFigure) -> dict[str, Any]:
    return {
        "summary": summary,
        "figures": [figure],
        "scenario_yaml": "name: <b>x</b>  # </pre></code></details>\nseed: 1\n",
        "provenance": {
            "ntkflow": "0.1.0",
            "seed": 12345678901,
            "started": "2026-11-22T11:30:00+00:00",
            "git_commit": None,
            "command": ["ntkflow", "run", "<a>.yaml"],
            "versions": {"python": "3.11.7", "jax": None},
            "timings_seconds": {"training": 38.2134},
            "environment": {},
        },
        "downloads": (("results.nc", "All <numbers>."), ("figures/a b.svg", "A figure.")),
    }


@pytest.fixture
def page(arguments: dict[str, Any]) -> Page:
    return Page(render_report(**arguments))


def test_it_loads_nothing(arguments: dict[str, Any], page: Page) -> None:
    text = render_report(**arguments)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|javascript:", re.sub(r"base64,[\w+/=]+", "", text))
    assert not {"script", "iframe", "object", "embed", "form", "base"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in LOADING or (name == "href" and tag == "link"):
                assert (value or "").startswith("data:"), (tag, name)
    policy = next(meta for meta in page.of("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in (policy["content"] or "")


def test_links_lead_somewhere(page: Page) -> None:
    identifiers = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(identifiers)) == len(identifiers)
    for _, attributes in page.tags:
        for name in ("aria-describedby", "aria-labelledby"):
            assert attributes.get(name) is None or attributes[name] in identifiers
    targets = [attributes["href"] or "" for attributes in page.of("a")]
    assert {target[1:] for target in targets if target.startswith("#")} <= set(identifiers)
    assert {target for target in targets if not target.startswith("#")} == {
        *("figures/decay.svg", "figures/decay-dark.svg", "figures/decay.png"),
        *("results.nc", "figures/a%20b.svg"),
    }


def test_texts_are_not_markup(page: Page, summary: Summary) -> None:
    assert page.said("title") == [summary.title]
    assert page.said("h1") == [summary.title]
    for text in (*summary.statements, *summary.warnings, "<b>class</b> means"):
        assert text in page.text
    assert any("</pre></code></details>" in text for text in page.said("code"))
    assert "run <a>.yaml" in page.text


def test_every_definition_is_written_out(page: Page, summary: Summary) -> None:
    for quantity in summary.quantities:
        assert quantity.definition in page.said("dd")
    for table in summary.tables:
        for column in table.columns:
            assert column.definition in page.said("dd"), "below the table"
            assert column.definition in page.said("p"), "above it, while its head is pointed at"
            assert column.name in page.said("a")


def test_each_head_is_described_by_its_own_definition(arguments: dict[str, Any], page: Page) -> None:
    text = render_report(**arguments)
    assert 'href="#table-1-column-2" aria-describedby="table-1-column-2">predicted [rate]</a>' in text
    assert re.search(
        r'<div id="table-1-column-2">\s*<dt>predicted \[rate\].*?</dt>\s*<dd>Eigenvalue over Z\.</dd>', text
    )
    shown = (
        r"\.table:has\(thead th:nth-child\(3\) a:is\(:hover, :focus-visible\)\) \.tip:nth-child\(3\)\s*\{ visibility"
    )
    assert re.search(shown, text)


def test_numbers(arguments: dict[str, Any], page: Page) -> None:
    text = render_report(**arguments)
    assert '<dd class="value">0.4124 ± 0.0061 <span class="unit">1/t</span></dd>' in text
    assert '<dd class="value">(3.21 ± 0.22) × 10<sup>−5</sup></dd>' in text
    assert '<td class="number">−2.000 × 10<sup>−7</sup></td>' in text
    assert '<td class="number">–</td>' in text
    assert '<td class="number">1000</td>' in text
    assert "A number behind ± is one standard error." in page.text
    assert "seed 12345678901" in page.text
    assert "38.21" in page.said("dd")


def test_warnings_are_marked_in_words(page: Page) -> None:
    assert "Warnings" in page.said("h2")
    assert [attributes["role"] for attributes in page.of("div") if attributes.get("class") == "warnings"] == ["note"]


def test_statements_come_first(page: Page, summary: Summary) -> None:
    order = [
        page.text.index(text)
        for text in (summary.statements[0], summary.warnings[0], "Rate of the class means", "Decay rates", "Figure 1.")
    ]
    assert order == sorted(order)


def test_figures_in_both_themes_with_words_for_them(page: Page) -> None:
    (source,) = page.of("source")
    (image,) = page.of("img")
    assert source["media"] == "(prefers-color-scheme: dark)"
    assert source["srcset"] != image["src"]
    assert image["alt"] == 'Decay of "the" parts. Lines <are> the parts.'


def test_a_page_with_nothing_on_it() -> None:
    page = Page(render_report(summary=Summary("A", "b"), figures=(), scenario_yaml="", provenance={}, downloads=()))
    assert page.said("h2") == ["Scenario", "Provenance"]


@pytest.mark.parametrize(
    "path", ["http://x/y", "data:x", "/etc/passwd", "../other/results.nc", "//host/x", "\\\\host\\x"]
)
def test_downloads_stay_in_the_folder(arguments: dict[str, Any], path: str) -> None:
    with pytest.raises(ValueError, match="is not a path inside the result folder"):
        render_report(**{**arguments, "downloads": ((path, "x"),)})
