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
