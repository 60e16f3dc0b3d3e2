"""Colours by role: figures are drawn in placeholders, and a page says what each means in light and in dark.

Matplotlib gets a distinct colour for each role; in its SVG each becomes ``var(--role, fallback)``. The
series begin with Okabe and Ito's colours [1]_, darker on light pages and lighter on dark ones for contrast.
They stay apart for protanopes, deuteranopes and tritanopes (a test simulates them); shapes and dashes differ
too, so that nothing depends on colour alone.

References
----------
.. [1] Okabe & Ito 2008. Color Universal Design. https://jfly.uni-koeln.de/color/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

LIGHT: Final[dict[str, str]] = {
    "ink": "#1c1b19",
    "muted": "#5d5a54",
    "grid": "#e3e0d9",
    "paper": "#fffefb",
    "series-0": "#0063a0",
    "series-1": "#c04f00",
    "series-2": "#008f6b",
    "series-3": "#a3487e",
    "series-4": "#3797d1",
    "series-5": "#3d3d3d",
    "published": "#77736b",
}
"""Role → colour on a light page; also what a viewer without the page's variables shows."""

DARK: Final[dict[str, str]] = {
    "ink": "#ece9e2",
    "muted": "#aaa69d",
    "grid": "#3a3935",
    "paper": "#191917",
    "series-0": "#4aa0e6",
    "series-1": "#f0803a",
    "series-2": "#2fb88a",
    "series-3": "#e48abf",
    "series-4": "#a9dcff",
    "series-5": "#f7e27a",
    "published": "#98948b",
}
"""Role → colour on a dark page."""

N_SERIES: Final = 6
MARKERS: Final = ("o", "s", "^", "D", "v", "P")
DASHES: Final = ("-", (0, (5, 2)), (0, (1, 1.6)), (0, (6, 2, 1, 2)), (0, (3, 1)), (0, (8, 2)))

N_STEPS: Final = 10
_RAMP_LIGHT: Final = ("#eef2f5", "#7db4dc", "#083a63")
_RAMP_DARK: Final = ("#23292e", "#296a96", "#b9e2ff")


def _blend(stops: tuple[str, str, str], share: float) -> str:
    """A colour of the ramp: the first stop at 0, the second at 1/2, the third at 1."""
    first, last = (stops[0], stops[1]) if share < 0.5 else (stops[1], stops[2])
    way = 2 * share if share < 0.5 else 2 * share - 1
    mixed = (round(a + (b - a) * way) for a, b in zip(_parts(first), _parts(last), strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def _parts(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def contrast(first: str, second: str) -> float:
    """Return WCAG 2.2's contrast ratio of two colours.

    Parameters
    ----------
    first : str
        As ``#rrggbb``.
    second : str
        As ``#rrggbb``.

    Returns
    -------
    float
        (L₁ + 0.05) / (L₂ + 0.05) of the lighter and the darker relative luminance, from 1 to 21.

    Examples
    --------
    >>> contrast("#ffffff", "#000000")
    21.0
    """
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    shares = (part / 255 for part in _parts(colour))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


for _colours, _ramp in ((LIGHT, _RAMP_LIGHT), (DARK, _RAMP_DARK)):
    for _step in range(N_STEPS):
        _cell = _blend(_ramp, _step / (N_STEPS - 1))
        _colours[f"ramp-{_step}"] = _cell
        _colours[f"on-ramp-{_step}"] = max(("#111111", "#ffffff"), key=lambda ink: contrast(ink, _cell))

_PLACEHOLDER: Final = {role: f"#01fe{place:02x}" for place, role in enumerate(LIGHT, start=1)}
_ROLE: Final = {colour: role for role, colour in _PLACEHOLDER.items()}
_FIND: Final = re.compile("(?<=: )(?:" + "|".join(_ROLE) + ")")


_DRAWN_IN: Final = ContextVar[Mapping[str, str]]("drawn in", default=_PLACEHOLDER)


@contextmanager
def drawn_in(colours: Mapping[str, str]) -> Iterator[None]:
    """Let roles be colours at once, where no page gives them theirs.

    Parameters
    ----------
    colours : mapping of str to str
        Role → colour, such as :data:`LIGHT`.

    Yields
    ------
    None
        Until then :func:`colour` returns these.
    """
    token = _DRAWN_IN.set(colours)
    try:
        yield
    finally:
        _DRAWN_IN.reset(token)


def colour(role: str) -> str:
    """Return the colour that stands for a role in a drawing.

    Parameters
    ----------
    role : str
        A key of :data:`LIGHT`.

    Returns
    -------
    str
        As ``#rrggbb``.
    """
    return _DRAWN_IN.get()[role]


def series(place: int) -> str:
    """Return the colour that stands for a series in a drawing.

    Parameters
    ----------
    place : int
        Of the series, from 0; those beyond the sixth begin again.

    Returns
    -------
    str
        As ``#rrggbb``.
    """
    return colour(f"series-{place % N_SERIES}")


def step(share: float) -> int:
    """Return the step of a heatmap's ramp for a share of its scale.

    Parameters
    ----------
    share : float
        Within [0, 1]; what lies outside counts as the nearer end.

    Returns
    -------
    int
        From 0 to ``N_STEPS - 1``.

    Examples
    --------
    >>> step(0.0), step(0.55), step(1.0)
    (0, 5, 9)
    """
    return min(N_STEPS - 1, max(0, int(share * N_STEPS)))


def themed(svg: str) -> str:
    """Replace the colours of a drawing by variables of the page.

    Parameters
    ----------
    svg : str
        As Matplotlib wrote it.

    Returns
    -------
    str
        With ``var(--role, fallback)`` in place of each role's colour.
    """
    return _FIND.sub(lambda found: f"var(--{_ROLE[found[0]]}, {LIGHT[_ROLE[found[0]]]})", svg)


def css(colours: dict[str, str]) -> str:
    """Write the variables of a page for roles and steps.

    Parameters
    ----------
    colours : dict of str to str
        Role → colour.

    Returns
    -------
    str
        Declarations of a style sheet.
    """
    return " ".join(f"--{role}: {value};" for role, value in colours.items())
