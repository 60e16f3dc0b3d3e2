"""A document as one HTML page that stands alone: nothing is loaded from outside.

Everything that comes from data is escaped by Jinja; only the figures, whose text Matplotlib escapes, and the
style sheet enter as they are. The one script is the explorer's, for results that have something to explore:
the page's policy lets no other run, and without JavaScript the report is whole.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from importlib.resources import files
from itertools import groupby
from typing import Final

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from qloc.analysis.results import MARKS
from qloc.exploration.exploration import Exploration
from qloc.reports import result_text
from qloc.reports.document import SYNTHETIC, Document, Figure, Prediction, TableBlock
from qloc.reports.figures import palette, svg
from qloc.reports.figures.print_pieces import pieces
from qloc.reports.figures.table_words import NAMES
from qloc.reports.glossary import TERMS, first_uses
from qloc.reports.published import TAG, is_published, untagged
from qloc.text import rounding

OPEN_ROWS: Final = 12
"""A table without a figure stands open up to so many rows; all others are folded."""

TALL: Final = 1.7
"""Height over width of a figure that print would shrink beyond reading: it is drawn in pieces there."""

_PIECE: Final = 1.3
"""Height over width of such a piece."""

_SIZE: Final = re.compile(r'viewBox="0 0 ([0-9.]+) ([0-9.]+)"')
_ARXIV: Final = re.compile(r"arXiv[: ]\s?(\d{4}\.\d{4,5})", re.I)


def render(document: Document, explorations: Sequence[Exploration] = ()) -> str:
    """Write a document as one HTML page.

    Parameters
    ----------
    document : Document
        As data.
    explorations : sequence of Exploration, default ()
        Facts to look through, one of each study that has some; the page's explorer shows them.

    Returns
    -------
    str
        The whole file.
    """
    seen: set[str] = set()
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=rounding.number,
        interval=result_text.interval,
        cited=_cited,
        paragraphs=_paragraphs,
        data=_data,
        explained=lambda text: _explained(text, seen),
        tag=_tag,
        begun=_begun,
        groupby_account=_by_account,
    )
    environment.filters["published"] = environment.tests["published"] = is_published
    environment.globals.update(
        estimate=result_text.estimate, surety=result_text.surety, counts=result_text.counts,
        p_value=rounding.p_value, marks=MARKS, classes=_classes,
        laid_out=result_text.laid_out, drawn=_drawn, stands_open=_stands_open, synthetic=SYNTHETIC,
        glossary=lambda: [term for term in TERMS if term.sign in seen],
    )  # fmt: skip
    style = Markup(_style(explorer=bool(explorations)))  # noqa: S704 - our own files
    script = _template("explorer.js")
    sources = {text: n for n, text in enumerate(document.references, start=1)}
    places = {figure.id: n for n, figure in enumerate(document.figures, start=1)}
    page = environment.get_template("report.html.j2").render(
        document=document,
        style=style,
        sources=sources,
        places=places,
        base=3 if document.comparison else 2,
        names=document.comparison.table.heads[1:-2] if document.comparison else (),
        explorations=explorations,
        set_names=json.dumps(NAMES, ensure_ascii=False),
        explorer_script=Markup(script),  # noqa: S704 - our own file
        explorer_hash=_hash(script),
    )
    return page.rstrip() + "\n"


def _template(name: str) -> str:
    return (files("qloc.reports.renderers") / "templates" / name).read_text(encoding="utf-8")


def _style(*, explorer: bool) -> str:
    """The style sheet, with the palette's colours in light and in dark."""
    sheet = _template("report.css") + (_template("explorer.css") if explorer else "")
    sheet = sheet.replace("/* LIGHT */", palette.css(palette.LIGHT))
    return sheet.replace("/* DARK */", palette.css(palette.DARK))


def _hash(script: str) -> str:
    """The name by which the page's policy lets a script run."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _data(exploration: Exploration) -> Markup:
    """JSON that cannot end the element it stands in: no ``<`` is left in it."""
    return Markup(exploration.text().replace("<", "\\u003c"))  # noqa: S704 - has no tag


def _drawn(figure: Figure) -> Markup:
    """A figure twice, for pages and for phones; the style sheet shows one of them.

    One that is too high for paper is there in pieces, too, which print shows in its place.
    """
    wide, narrow = (svg.svg(figure, width=width) for width in (svg.WIDE, svg.NARROW))
    ratio = _ratio(wide)
    cut = pieces(figure, ratio, _PIECE) if ratio > TALL else ()
    pictures = [("wide tall" if len(cut) > 1 else "wide", wide), ("narrow", narrow)]
    pictures += [("piece", svg.svg(one, width=svg.WIDE)) for one in cut if len(cut) > 1]
    return Markup("\n").join(
        Markup('<div class="{}" role="img" aria-label="{}">{}</div>').format(
            name,
            figure.alt,
            Markup(picture),  # noqa: S704 - Matplotlib escapes its text
        )
        for name, picture in pictures
    )


def _ratio(picture: str) -> float:
    """The height of a drawing over its width."""
    found = _SIZE.search(picture)
    return float(found[2]) / float(found[1]) if found else 0.0


def _stands_open(table: TableBlock, figure_sources: list[str]) -> bool:
    return table.name not in figure_sources and 0 < table.n_rows <= OPEN_ROWS


def _explained(text: str, seen: set[str]) -> Markup:
    """A text in which the first use of each term has its meaning, and leads to the glossary."""
    pieces = (
        Markup('<a class="term" href="#{}"><abbr title="{}">{}</abbr></a>').format(
            term.anchor, term.meaning, part
        )
        if term
        else escape(part)
        for part, term in first_uses(text, seen)
    )
    return Markup("").join(pieces)


def _tag(text: str, alone: bool = False) -> Markup:
    """A text whose "as published" becomes the gray tag of whatever is; or the tag itself."""
    if not alone and not is_published(text):
        return escape(text)
    tag = Markup('<span class="tag published"><span aria-hidden="true">○</span> {}</span>').format(TAG)
    return tag if alone else Markup("{} {}").format(untagged(text), tag)


def _classes(numeric: bool, published: bool) -> Markup:
    """The attribute ``class`` of a cell."""
    names = " ".join(name for name, wanted in (("number", numeric), ("published", published)) if wanted)
    return Markup(' class="{}"').format(names) if names else Markup("")


def _begun(value: str) -> str:
    """The beginning of what is folded: twelve digits of a sha256, the first words of all else."""
    return f"{value[:12]}…" if re.fullmatch(r"(sha256:)?[0-9a-f]{64}", value) else f"{value[:48].rstrip()}…"


def _by_account(predictions: Sequence[Prediction]) -> list[tuple[str, list[Prediction]]]:
    return [(name, list(made)) for name, made in groupby(predictions, key=lambda one: one.account)]


def _cited(text: str) -> Markup:
    """A reference whose arXiv number leads there."""
    safe = str(escape(text))
    link = r'<a href="https://arxiv.org/abs/\1">arXiv:\1</a>'
    return Markup(_ARXIV.sub(link, safe))  # noqa: S704 - escaped above; digits and a dot are put in


def _paragraphs(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
