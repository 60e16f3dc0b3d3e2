"""The HTML page: well-formed, alone, accessible."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from qloc.reports.build import build
from qloc.reports.document import Figure, Series
from qloc.reports.renderers.html import _drawn

# As the acceptance test of the project has it.
OUTSIDE = re.compile(
    r"""<(script|link|img|iframe)[^>]*(src|href)\s*=\s*["']?(https?:)?//|url\(\s*["']?(https?:)?//|@import""",
    re.I,
)


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


@pytest.fixture(scope="session")
def pages(rendered):
    return {name: text for (format, name), text in rendered.items() if format == "html"}


NAMES = ("rich", "hostile", "bare", "void", "two")


@pytest.mark.parametrize("name", NAMES)
def test_tags_are_balanced(pages, name):
    page = Page(pages[name])
    assert (page.faults, page.stack) == ([], [])


@pytest.mark.parametrize("name", NAMES)
def test_nothing_comes_from_outside(pages, name):
    text = pages[name]
    assert OUTSIDE.search(text) is None
    page = Page(text)
    assert page.all("script", "link", "img", "iframe", "object", "embed", "form", "base") == []
    assert not re.search(r"url\((?!#)", text)
    links = {str(attributes["href"]) for attributes in page.all("a", "use")}
    assert all(link.startswith(("#", "https://arxiv.org/abs/")) for link in links)
    assert not [name for _, attributes in page.found for name in attributes if name.startswith("on")]


@pytest.mark.parametrize("name", NAMES)
def test_ids_are_unique_and_links_arrive(pages, name):
    page = Page(pages[name])
    ids = Counter(attributes["id"] for _, attributes in page.found if "id" in attributes)
    assert [id for id, n in ids.items() if n > 1] == []
    wanted = {
        str(attributes["href"])[1:]
        for attributes in page.all("a", "use")
        if str(attributes["href"])[0] == "#"
    }
    wanted |= {str(label) for _, attributes in page.found if (label := attributes.get("aria-labelledby"))}
    wanted |= set(re.findall(r"url\(#([^)]*)\)", pages[name]))
    assert wanted - set(ids) == set()


@pytest.mark.parametrize("name", NAMES)
def test_structure_can_be_read_aloud(pages, name):
    page = Page(pages[name])
    assert len(page.all("h1")) == 1
    levels = [int(tag[1]) for tag, _ in page.found if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.all("html")[0]["lang"] == "en"
    assert all(cell.get("scope") in ("col", "row", "rowgroup") for cell in page.all("th"))
    pictures = [attributes for attributes in page.all("div") if attributes.get("role") == "img"]
    assert len(pictures) == len(page.all("svg"))
    assert all(picture["aria-label"] for picture in pictures)


def test_the_banner_stands_before_the_results(pages):
    assert 0 < pages["rich"].index('class="banner"') < pages["rich"].index('class="headline"')
    assert 'class="banner"' not in pages["void"]
    assert pages["two"].count('class="banner"') == 2  # of the comparison, and of one study


def test_tables_without_a_figure_stand_open(pages):
    opened = re.findall(r'<details class="table" open><summary>Table: (.*?) <', pages["rich"])
    assert opened == ["As published: consistent against inconsistent facts"]


def test_every_figure_is_drawn_for_page_and_phone(pages, study):
    figures = build([study]).figures
    assert pages["rich"].count("<svg") == 2 * len(figures) == 22


def test_headings_of_several_studies_are_below_those_of_the_page(pages):
    levels = [tag for tag, _ in Page(pages["two"]).found if re.fullmatch("h[1-6]", tag)]
    assert levels.count("h2") == 5  # side by side, two studies, references, glossary
    assert len(Page(pages["two"]).all("h3")) > 4


def test_counts_of_verdicts_come_last_and_tests_can_be_linked_to(pages):
    page = pages["rich"]
    assert (
        page.index('id="figure-effects"')
        < page.index('class="headline"')
        < page.index('id="consistency-h1a"')
    )
    assert 'href="#consistency-h1a"' in page


def test_terms_are_explained_once_where_they_are_first_used(pages):
    page = pages["rich"]
    assert page.count("<abbr ") == page.count('<div id="term-') == 1  # κ alone is used
    assert page.index('href="#term--3ba"') < page.index('<div id="term--3ba"')


def test_what_is_as_published_has_its_tag_in_tables_and_headings(pages):
    tag = '<span class="tag published"><span aria-hidden="true">○</span> as published</span>'
    assert f"CS1 {tag}" in pages["rich"]
    assert "CS1, as published</th>" not in pages["rich"]


def test_a_table_without_rows_is_a_line(pages):
    assert '<p class="nothing">Table: No rows. No rows.</p>' in pages["void"]


def test_print_has_pieces_of_figures_that_it_would_shrink_beyond_reading():
    rows = tuple(f"row {n}" for n in range(100))
    series = (Series(name="s", x=rows, y=tuple(n / 100 for n in range(100))),)
    figure = Figure(kind="dots", id="f", title="t", alt="", series=series)
    few = replace(figure, series=(replace(series[0], x=rows[:5], y=series[0].y[:5]),))
    whole = _drawn(figure)
    assert whole.count('class="wide tall"') == 1
    assert whole.count('class="piece"') > 1
    for name in rows:  # on the page, on phones, and in one of the pieces
        assert whole.count(f">{name}<") == 3
    assert "piece" not in _drawn(few)
    assert ' tall"' not in _drawn(few)
