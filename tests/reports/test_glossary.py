"""Terms: found where they are first used, and explained where documents say more."""

from __future__ import annotations

from pathlib import Path

from qloc.reports.glossary import TERMS, first_uses

ROOT = Path(__file__).parents[2]


def test_terms_point_to_headings_that_exist():
    for term in TERMS:
        file, _, anchor = term.source.partition("#")
        titles = [
            line.lstrip("# ") for line in (ROOT / file).read_text().splitlines() if line.startswith("#")
        ]
        assert anchor in {title.lower().replace(" ", "-") for title in titles}, term.sign


def test_anchors_are_ascii_and_differ():
    anchors = [term.anchor for term in TERMS]
    assert len(set(anchors)) == len(anchors)
    assert all(anchor.isascii() and " " not in anchor for anchor in anchors)


def test_a_term_within_a_word_is_none():
    seen: set[str] = set()
    assert [part for part, term in first_uses("CASE, K_I2, N_if and CAS", seen) if term] == ["CAS"]
    assert (
        "".join(part for part, _ in first_uses("o′ of N_i and o′ of N_j", seen)) == "o′ of N_i and o′ of N_j"
    )
