"""The documentation that comes with the package: pages of Markdown, by name and by heading."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

from qloc.errors import InputError, message

_CODE: Final = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_HEAD: Final = re.compile(r'^(?P<marks>#+) (?P<heading>.+)$|^<a id="(?P<id>[\w-]+)"></a>', re.MULTILINE)

_MARKS: Final = re.compile(r"\s*^(?P<marks>#+) ", re.MULTILINE)
_PLACE: Final = 7
"""Level of a named place in the text: below every heading."""


def pages() -> dict[str, str]:
    """Return the pages of the documentation.

    Returns
    -------
    dict of str to str
        Name → text in Markdown, by name.

    Examples
    --------
    >>> "statistics" in pages()
    True
    """
    folder = files("qloc") / "docs"
    found = {entry.name: entry for entry in folder.iterdir() if entry.name.endswith(".md")}
    return {name.removesuffix(".md"): found[name].read_text(encoding="utf-8") for name in sorted(found)}


def title(text: str) -> str:
    r"""Return the first heading of a page.

    Parameters
    ----------
    text : str
        In Markdown.

    Returns
    -------
    str
        Without its mark.

    Examples
    --------
    >>> title("# The store\n\nWhat one extraction cached")
    'The store'
    """
    return text.partition("\n")[0].lstrip("# ")


def anchor(heading: str) -> str:
    """Return what a link to a heading calls it, as GitHub does.

    Parameters
    ----------
    heading : str
        A heading without its mark.

    Returns
    -------
    str
        In lower case, spaces as hyphens, punctuation left out.

    Examples
    --------
    >>> anchor("How large, how fast")
    'how-large-how-fast'
    """
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def sections(text: str) -> dict[str, str]:
    r"""Divide a page at its headings and its named places.

    Parameters
    ----------
    text : str
        In Markdown.

    Returns
    -------
    dict of str to str
        Anchor → text: of a heading, with the headings below it; of a place that ``<a id>`` names, up to the
        next place or heading.

    Examples
    --------
    >>> found = sections('# A\n\n## B\n\nb\n\n<a id="c"></a>Here.\n')
    >>> list(found), found["c"]
    (['a', 'b', 'c'], 'Here.\n')
    """
    prose = _CODE.sub(lambda code: re.sub(r"[^\n]", " ", code[0]), text)
    heads = []
    for found in _HEAD.finditer(prose):
        of_heading = _MARKS.match(prose, found.end()) if found["id"] else found
        start = of_heading.start("marks") if of_heading else found.end()
        level = len(of_heading["marks"]) if of_heading else _PLACE
        heads.append((start, level, found["id"] or anchor(found["heading"])))
    divided: dict[str, str] = {}
    for start, level, name in heads:
        ends = (other for other, its_level, _ in heads if other > start and its_level <= level)
        divided.setdefault(name, text[start : next(ends, len(text))].strip("\n") + "\n")
    return divided


def read(asked: str) -> str:
    """Return a page, or one of its sections.

    Parameters
    ----------
    asked : str
        ``PAGE`` or ``PAGE#SECTION``, as the documentation's own links have it (``docs/store.md#repair``).

    Returns
    -------
    str
        In Markdown.

    Raises
    ------
    InputError
        No such page or section; those that there are are listed.
    """
    name, _, section = asked.partition("#")
    known = pages()
    text = known.get(name.removeprefix("docs/").removesuffix(".md"))
    if text is None:
        raise InputError(message("page", name, f"one of {', '.join(known)}", "qloc docs", "Choose one"))
    if not section:
        return text
    parts = sections(text)
    if section not in parts:
        raise InputError(message("section", section, f"one of {', '.join(parts)}", name, "Choose one"))
    return parts[section]
