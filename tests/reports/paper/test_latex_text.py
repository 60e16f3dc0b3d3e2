"""LaTeX: texts stay texts, whatever they hold, and no word is too long for its line."""

from __future__ import annotations

import unicodedata

import pytest

from qloc.reports.paper.latex_text import _MATH, broken, declarations, escape, pieces, width


def test_special_characters_are_written_as_they_are():
    assert escape(r"\alpha {y} 5% #1 $x^2$ _i_ & ~ <b>") == (
        r"\textbackslash{}alpha \{y\} 5\% \#1 \$x\textasciicircum{}2\$ \_i\_ \& \textasciitilde{} "
        r"\textless{}b\textgreater{}"
    )
    assert escape("[a]*--") == "{[}a{]}{*}-{}-{}"  # a bracket behind a line's end would be its option


def test_signs_of_formulas_are_mathematics():
    assert escape("θ − κ′ ≤ Σ₁") == (
        r"\ensuremath{\theta} \ensuremath{-} \ensuremath{\kappa}\ensuremath{'} \ensuremath{\le} "
        r"\ensuremath{\sum}\ensuremath{_1}"
    )
    assert declarations(map(escape, _MATH)) == ""


def test_what_pdflatex_does_not_know_is_declared_by_its_number():
    assert escape("Zürich 中 Ω") == r"Zürich 中 \ensuremath{\Omega}"
    assert declarations(["中", "Ж中"]) == (
        "\\DeclareUnicodeCharacter{0416}{[U+0416]}\n\\DeclareUnicodeCharacter{4E2D}{[U+4E2D]}\n"
    )
    assert escape("e\u0301") == "é"


@pytest.mark.parametrize(
    "word", ["own_minus_neighbor_of_all", "W" * 30, "中" * 9, "a\u0304" * 40, "1.25e-300"]
)
def test_pieces_have_room_and_join_to_the_word(word):
    cut = pieces(word, 60.0)
    assert "".join(cut) == unicodedata.normalize("NFC", word)
    assert all(width(piece) <= 60.0 for piece in cut)
    assert broken(f"{word} b", 60.0).count(r"\hspace{0pt}") == len(cut) - 1


def test_numbers_do_not_break_at_their_spaces():
    assert broken("0.30\u00a0[0.24,\u00a00.36]", 80.0) == "0.30~{[}0.24,~0.36{]}"
