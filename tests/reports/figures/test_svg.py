"""Figures as inline SVG: clean, of the width asked, of the same bytes each time."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser

import pytest

from qloc.reports.document import Figure, Mark, Series
from qloc.reports.figures.svg import NARROW, WIDE, svg

VOID = {"meta", "br", "img", "hr", "input", "link"}


class Page(HTMLParser):
    """Counts tags, checks that each is closed in order, and keeps attributes and headings."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.faults: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.stack or self.stack.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag in tags]


def small(kind: str, **changes) -> Figure:
    numeric = kind in ("lines", "profile")
    x = (1, 2, 3) if numeric else ("a", "b", "c")
    series = (
        Series(name="one", x=x, y=(0.1, None, 0.3), low=(0.0, None, 0.2), high=(0.2, None, 0.4)),
        Series(name="two", x=x, y=(-0.1, 0.2, 0.3)),
    )
    given = {
        "kind": kind,
        "id": "f",
        "title": "t",
        "alt": "a",
        "series": series,
        "marks": (Mark(at=0.2, label="Otsu"),),
    }
    return Figure(**{**given, **changes})


@pytest.mark.parametrize("kind", ["dots", "bars", "stacked", "lines", "profile", "heatmap"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_figures_are_clean_svg_of_the_width_asked(kind, width):
    text = svg(small(kind), width=width)
    box = re.match(r'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ([\d.]+) [\d.]+">', text)
    assert box
    assert float(box[1]) == width
    page = Page(text)
    assert (page.faults, page.stack) == ([], [])
    assert not re.search(r"#01fe|<metadata|<!|xlink|font-family|<style|#000000", text)
    assert ("Otsu" in text) == (kind != "heatmap")
    assert text == svg(small(kind), width=width)


def test_figures_leave_pyplot_alone_and_dollars_in_place():
    text = svg(small("dots", series=(Series(name="s", x=("$\\frac{1$", "<b>", "日本"), y=(1.0, 2.0, 3.0)),)))
    assert "$\\frac{1$" in text
    assert "&lt;b&gt;" in text
    assert "日本" in text
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_long_names_are_cut_in_figures_only():
    name = "a relation with a name that goes on and on and on, beyond all measure of patience and width" * 2
    text = svg(small("dots", series=(Series(name="s", x=(name, "b"), y=(1.0, 2.0)),)))
    assert name not in text
    assert "…" in text
