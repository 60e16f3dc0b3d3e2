r"""Text as LaTeX: special characters, signs of formulas, and words that are too long for a line.

pdfLaTeX must compile whatever a prompt or a subject holds. Latin script and the signs of this package's
formulas are set as they are; every other character is set by its number, such as [U+4E2D], which
:func:`declarations` tells pdfLaTeX. XeLaTeX and LuaLaTeX set all that their font has.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

_SPECIAL: Final = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%",
    "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}",
    "[": "{[}", "]": "{]}", "*": "{*}", "--": "-{}-{}",
}  # fmt: skip
_GREEK: Final = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "ζ": "zeta", "η": "eta",
    "θ": "theta", "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "µ": "mu", "ν": "nu", "ξ": "xi",
    "π": "pi", "ρ": "rho", "σ": "sigma", "ς": "varsigma", "τ": "tau", "υ": "upsilon", "φ": "varphi",
    "χ": "chi", "ψ": "psi", "ω": "omega", "Γ": "Gamma", "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda",
    "Ξ": "Xi", "Π": "Pi", "Σ": "sum", "Υ": "Upsilon", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega",
}  # fmt: skip
_MATH: Final = {
    **{sign: rf"\{command}" for sign, command in _GREEK.items()},
    "∑": r"\sum", "∏": r"\prod", "∩": r"\cap", "∪": r"\cup", "∖": r"\setminus", "∈": r"\in", "∉": r"\notin",
    "⊂": r"\subset", "⊆": r"\subseteq", "×": r"\times", "·": r"\cdot", "⋅": r"\cdot", "÷": r"\div",
    "−": "-", "≤": r"\le", "≥": r"\ge", "≠": r"\ne", "≈": r"\approx", "≡": r"\equiv", "∼": r"\sim",
    "∝": r"\propto", "→": r"\to", "←": r"\gets", "↔": r"\leftrightarrow", "↑": r"\uparrow",
    "↓": r"\downarrow", "⇒": r"\Rightarrow", "⇐": r"\Leftarrow", "⊙": r"\odot", "⊗": r"\otimes",
    "⊕": r"\oplus", "∘": r"\circ", "○": r"\circ", "●": r"\bullet", "∫": r"\int", "∂": r"\partial",
    "∇": r"\nabla", "√": r"\surd", "∞": r"\infty", "‖": r"\Vert", "⟨": r"\langle", "⟩": r"\rangle",
    "±": r"\pm", "¬": r"\neg", "′": "'", "″": "''", "w̄": r"\bar w", "b̄": r"\bar b", "ℓ": r"\ell",
    "²": "^2", "³": "^3", "½": r"\tfrac12", "₀": "_0", "₁": "_1", "₂": "_2", "₃": "_3", "₄": "_4",
    "ᵢ": "_i", "ⱼ": "_j", "ᵀ": "^{T}", "★": r"\star", "✓": r"\checkmark", "✕": r"\times", "✗": r"\times",
    "∅": r"\varnothing", "∀": r"\forall", "∃": r"\exists", "⁻": "^{-}", "⁰": "^0", "¹": "^1", "⁴": "^4",
    "⁵": "^5", "⁶": "^6", "⁷": "^7", "⁸": "^8", "⁹": "^9",
}  # fmt: skip
_WRITTEN: Final = {
    **_SPECIAL,
    **{sign: rf"\ensuremath{{{command}}}" for sign, command in _MATH.items()},
    "–": "--", "—": "---", "‐": "-", "‑": "-", "…": r"\ldots{}", "“": "``", "”": "''", "‘": "`",
    "’": "'", "•": r"\textbullet{}", "\u00a0": "~", "\u00ad": r"\-", "\u202f": r"\,", "€": r"\texteuro{}",
}  # fmt: skip
_FIND: Final = re.compile("|".join(re.escape(sign) for sign in sorted(_WRITTEN, key=len, reverse=True)))

_LATIN: Final = frozenset(map(chr, range(0xA1, 0x180))) - frozenset("ĦħĸŉſŦŧĿŀ") | frozenset("ȘșȚț")
"""What pdfLaTeX sets in T1 as it stands."""

SIZE: Final = 8.0
"""Size of the letters of tables, in points."""
_NARROW, _WIDE = frozenset(" \u00a0.,;:!|'`ijlftrI()[]/-"), frozenset("MW%@mw—…")


def escape(text: str) -> str:
    r"""Write text so that LaTeX shows it as it is, on one line, and breaks words that are too long for one.

    Parameters
    ----------
    text : str
        Anybody's.

    Returns
    -------
    str
        Without a command of its own.

    Examples
    --------
    >>> print(escape("50% of $x_1$ & θ ≥ −0.2"))
    50\% of \$x\_1\$ \& \ensuremath{\theta} \ensuremath{\ge} \ensuremath{-}0.2
    """
    return broken(text, 20 * SIZE)


def broken(text: str, room: float) -> str:
    r"""Write text as :func:`escape` does, with a place to break a line within each word beyond a width.

    Parameters
    ----------
    text : str
        Anybody's.
    room : float
        In points, at the size of tables.

    Returns
    -------
    str
        Words parted by spaces, pieces of words by ``\hspace{0pt}``.
    """
    words = (r"\hspace{0pt}".join(map(_escaped, pieces(word, room))) for word in _line(text).split(" "))
    return " ".join(words)


def _line(text: str) -> str:
    """On one line; no-break spaces stay."""
    return re.sub(r"[ \t\n\r\f\v\u2028\u2029\x85]+", " ", unicodedata.normalize("NFC", text)).strip(" ")


def _escaped(text: str) -> str:
    return _FIND.sub(lambda found: _WRITTEN[found[0]], text)


def pieces(word: str, room: float) -> list[str]:
    """Cut a word where a line may break: not at all where it has room.

    Parameters
    ----------
    word : str
        Without spaces.
    room : float
        In points.

    Returns
    -------
    list of str
        Of up to this width, cut behind signs that join words where there are any.

    Examples
    --------
    >>> pieces("suppress_renormalized", 60.0), pieces("short", 60.0)
    (['suppress_', 'renormalized'], ['short'])
    """
    parts = re.findall(r"[^_/.,:;=+-]+[_/.,:;=+-]*|[_/.,:;=+-]+", _line(word))
    cut = [""]
    for unit in (letter for part in parts for letter in _letters(part, room)):
        if cut[-1] and width(cut[-1] + unit) > room:
            cut.append(unit)
        else:
            cut[-1] += unit
    return cut


def _letters(part: str, room: float) -> list[str]:
    """A part that has room, whole; else its letters, each with the marks that combine with it."""
    return [part] if width(part) <= room else re.findall(r".[\u0300-\u036f]*", part, re.DOTALL)


def width(text: str) -> float:
    """Return an upper bound of the width of text in Latin Modern, at the size of tables.

    Parameters
    ----------
    text : str
        On one line.

    Returns
    -------
    float
        In points.
    """
    return SIZE * sum(map(_em, unicodedata.normalize("NFC", text)))


def _em(letter: str) -> float:
    if unicodedata.combining(letter):
        return 0.0 if letter == "\u0304" else 5.5
    if letter in _NARROW:
        return 0.43
    if letter in _WIDE:
        return 1.12
    if letter.isascii():
        return 0.6 if letter.islower() or letter.isdigit() else 0.85
    return 1.1 if _set(letter) else 5.5


def _set(letter: str) -> bool:
    return letter.isascii() or letter in _WRITTEN or letter in _LATIN


def declarations(texts: Iterable[str]) -> str:
    r"""Tell pdfLaTeX how to set the characters that it does not know.

    Parameters
    ----------
    texts : iterable of str
        Files that it reads.

    Returns
    -------
    str
        A line for each such character, by its number; empty where there is none.

    Examples
    --------
    >>> print(declarations(["Zürich 中"]), end="")
    \DeclareUnicodeCharacter{4E2D}{[U+4E2D]}
    """
    unknown = sorted({letter for text in texts for letter in text if not _set(letter)})
    return "".join(rf"\DeclareUnicodeCharacter{{{ord(c):04X}}}{{[U+{ord(c):04X}]}}" + "\n" for c in unknown)
