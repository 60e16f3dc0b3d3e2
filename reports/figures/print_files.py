"""A figure as files for papers: one PDF and one SVG, in the colours of a light page."""

from __future__ import annotations

import io
import warnings
from typing import Any, Final

import matplotlib.style
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas

from qloc.reports.document import Figure
from qloc.reports.figures import palette
from qloc.reports.figures.panel_layout import draw
from qloc.reports.figures.svg import INKS, STYLE, WIDE

_UNDATED: Final = {"CreationDate": None, "Creator": None, "Producer": None}
_SVG_UNDATED: Final = {"Date": None, "Creator": None, "Format": None, "Type": None}


def print_files(figure: Figure) -> dict[str, bytes]:
    """Draw a figure for print.

    Parameters
    ----------
    figure : Figure
        As data.

    Returns
    -------
    dict of str to bytes
        ``pdf``, with its fonts in it as TrueType, and ``svg``, in which text stays text; equal figures give
        equal bytes.
    """
    inks = {name: palette.LIGHT[role] for name, role in INKS.items()}
    style: list[Any] = ["default", {**STYLE, **inks, "pdf.fonttype": 42}]
    pdf, svg = io.BytesIO(), io.BytesIO()
    with matplotlib.style.context(style), palette.drawn_in(palette.LIGHT), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        canvas = Canvas(figsize=(WIDE / 72, WIDE / 72), layout="constrained")
        draw(canvas, figure, WIDE)
        FigureCanvasPdf(canvas).print_pdf(pdf, metadata=_UNDATED)
        canvas.set_layout_engine("none")  # laid out already
        FigureCanvasSVG(canvas).print_svg(svg, metadata=_SVG_UNDATED)
    return {"pdf": pdf.getvalue(), "svg": svg.getvalue()}
