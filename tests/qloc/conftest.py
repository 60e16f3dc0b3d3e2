"""What all tests of commands and workflows share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from qloc.reports.document import Figure
from qloc.reports.figures import svg


@pytest.fixture(scope="session", autouse=True)
def drawn_once() -> Iterator[None]:
    """Draw a figure once for the same data; that the same data give the same bytes, tests of reports show."""
    drawn: dict[tuple[str, int], str] = {}
    draw = svg.svg

    def kept(figure: Figure, *, width: int = svg.WIDE) -> str:
        key = (repr(figure), width)
        if key not in drawn:
            drawn[key] = draw(figure, width=width)
        return drawn[key]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(svg, "svg", kept)
        yield


@pytest.fixture
def few_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the first figure of each kind, wide and narrow, and leave the others out: what makes them is tested apart.

    All figures of a study are drawn in tests/qloc/cli/test_analyze.py.
    """
    _draw_few(monkeypatch)


@pytest.fixture(scope="module")
def few_figures_of_a_module() -> Iterator[None]:
    """Draw as few figures for what is made once for a module."""
    with pytest.MonkeyPatch.context() as patched:
        _draw_few(patched)
        yield


def _draw_few(patched: pytest.MonkeyPatch) -> None:
    first: dict[tuple[str, int], str] = {}
    draw = svg.svg

    def few(figure: Figure, *, width: int = svg.WIDE) -> str:
        chosen = first.setdefault((figure.kind, width), repr(figure))
        return draw(figure, width=width) if chosen == repr(figure) else "<svg></svg>"

    patched.setattr(svg, "svg", few)
