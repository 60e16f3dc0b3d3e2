"""Pages and sections by the names that links give them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qloc.errors import InputError
from qloc.workflows.documentation import pages, read, sections, title

ROOT = Path(__file__).resolve().parents[3]


def test_the_pages_are_those_of_the_documentation() -> None:
    assert pages() == {
        path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))
    }
    assert title(pages()["store"]) == "The store"


def test_every_pointer_of_a_message_can_be_read() -> None:
    """Errors and docstrings point to `docs/PAGE.md#SECTION`: what follows `docs/` is what the command takes."""
    modules = [
        path
        for room in ("extract", "store", "analysis", "reports", "src/qloc")
        for path in (ROOT / room).rglob("*.py")
    ]
    pointers = {
        found
        for path in modules
        for found in re.findall(r"docs/[a-z-]+\.md#[\w-]*\w", path.read_text(encoding="utf-8"))
    }
    assert len(pointers) > 10
    for pointer in pointers:
        assert read(pointer).strip(), pointer


def test_a_section_ends_where_the_next_of_its_level_begins() -> None:
    text = "# A\n\na\n\n## B\n\n```\n# no heading\n```\n\n### C\n\nc\n\n## D\n"
    assert sections(text) == {
        "a": text,
        "b": "## B\n\n```\n# no heading\n```\n\n### C\n\nc\n",
        "c": "### C\n\nc\n",
        "d": "## D\n",
    }


def test_what_there_is_not_is_refused_with_what_there_is() -> None:
    with pytest.raises(
        InputError, match=r"page is 'stores'; expected one of embedded-models, extraction, .*store\."
    ):
        read("stores")
    with pytest.raises(
        InputError, match=r"section is 'mend'; expected one of the-store, .*repair.* At store\."
    ):
        read("store#mend")
