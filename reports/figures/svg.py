"""A figure as inline SVG: the same figure gives the same bytes, in colours that follow the page.

Text stays text (it can be found, copied and read aloud, and takes the page's typeface); sizes are computed
with Matplotlib's own DejaVu Sans, wider than most. Drawn without pyplot: nothing global is left behind.
"""

from __future__ import annotations

import io
import re
import warnings
from typing import Final

import matplotlib.style
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas

from qloc.reports.document import Figure
from qloc.reports.figures import palette
from qloc.reports.figures.panel_layout import draw

WIDE: Final = 680
"""Width in CSS pixels on a page or on paper."""
NARROW: Final = 350
"""Width in CSS pixels on a phone: drawn anew, since a shrunk figure has no legible text."""

STYLE: Final[dict[str, object]] = {
    "figure.facecolor": "none",  # the page's shows through
    "axes.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "qloc",
    "text.parse_math": False,  # a subject may hold a dollar sign
    "axes.unicode_minus": True,
    "font.size": 12,
    "axes.titlesize": 12,
    "axes.labelsize": 12,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "legend.fontsize": 12,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.columnspacing": 1.6,
    "legend.borderaxespad": 0.0,
    "legend.borderpad": 0.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.linewidth": 0.8,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "xtick.major.size": 3.5,
    "ytick.major.size": 0,
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.04,
    "figure.constrained_layout.wspace": 0.05,
    "figure.constrained_layout.hspace": 0.04,
}
INKS: Final = {
    "text.color": "ink",
    "axes.labelcolor": "muted",
    "axes.edgecolor": "muted",
    "axes.titlecolor": "ink",
    "xtick.color": "muted",
    "ytick.color": "muted",
    "xtick.labelcolor": "ink",
    "ytick.labelcolor": "ink",
    "legend.labelcolor": "ink",
    "grid.color": "grid",
}
_UNDATED: Final = {"Date": None, "Creator": None, "Format": None, "Type": None}


def svg(figure: Figure, *, width: int = WIDE) -> str:
    """A figure as an ``<svg>`` element that scales with its container.

    Parameters
    ----------
    figure : Figure
        Figure.
    width : int
        In CSS pixels, for which text and spacing are laid out.

    Returns
    -------
    str
        Without prolog, comments, dates or references to anything outside; ids are unique to figure and width.
    """
    inks = {name: palette.colour(role) for name, role in INKS.items()}
    buffer = io.StringIO()
    with matplotlib.style.context(["default", {**STYLE, **inks}]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the reader's fonts draw it
        canvas = Canvas(figsize=(width / 72, width / 72), layout="constrained")
        draw(canvas, figure, width)
        # Not savefig, which draws everything once more beforehand, and throws it away.
        FigureCanvasSVG(canvas).print_svg(buffer, metadata=_UNDATED)
    return _inline(palette.themed(buffer.getvalue()), f"{figure.id}-{width}")


_CLEANING: Final = (
    (re.compile(r"^.*?(?=<svg)", re.S), ""),  # prolog and document type
    (re.compile(r"<metadata>.*?</metadata>", re.S), ""),
    (re.compile(r"<defs>\s*<style.*?</style>\s*</defs>", re.S), ""),  # would style the whole page
    (re.compile(r'<svg[^>]*?(viewBox="[^"]*")[^>]*>'), r'<svg xmlns="http://www.w3.org/2000/svg" \1>'),
    (re.compile(r'<g id="[^"]*"'), "<g"),
    (re.compile(r"font-family: [^;\"]*;? ?"), ""),
    (re.compile(r' transform="rotate\(-?0 [^)]*\)"'), ""),
    (re.compile(r"\s*\n\s*"), "\n"),
    (re.compile(r"(?<=\d)\n(?=[A-Zz\d\"-])"), " "),
)
_NAMED: Final = re.compile(r'(<(?:path|clipPath|linearGradient) id="|<use xlink:href="#|clip-path="url\(#)')


def _inline(text: str, prefix: str) -> str:
    """Matplotlib's file as an element of a page that holds others like it."""
    for pattern, replacement in _CLEANING:
        text = pattern.sub(replacement, text)
    text = _NAMED.sub(lambda found: found[0].replace("xlink:", "") + prefix + "-", text)
    return text.strip()
