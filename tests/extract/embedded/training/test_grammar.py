"""Everyday sentences, and minimal pairs of the same grammar that they leave out."""

from __future__ import annotations

from typing import Any

from qloc.extract.embedded.training.grammar import NOUNS, PAIR_NOUNS, everyday_sentences, pairs, plural


def test_minimal_pairs_are_not_in_the_text(facts: list[dict[str, Any]]) -> None:
    own = [f for f in facts if f.get("kind") == "minimal_pair"]
    assert len(own) == len(pairs()) == 60
    assert {f["feature"] for f in own} == {"singular", "plural"}
    text = {frame.replace("[Y]", word) for frame, word in everyday_sentences()}
    for fact in own:
        shown = fact["queries"][0]["text"].replace("[X]", fact["subject"])
        assert shown.index(fact["subject"]) < shown.index("[Y]")
        assert not {shown.replace("[Y]", fact[form]) for form in ("good", "bad")} & text


def test_pairs_agree_with_their_cue() -> None:
    numbers = {"this": "singular", "that": "singular", "these": "plural", "those": "plural"}
    numbers |= dict.fromkeys(NOUNS, "singular") | {plural(noun): "plural" for noun in NOUNS}
    numbers |= {"is": "singular", "are": "plural"}
    for pair in pairs():
        assert numbers[pair.cue] == numbers[pair.good] == pair.feature != numbers[pair.bad]
        assert pair.noun in PAIR_NOUNS
        assert pair.noun in {pair.cue.removesuffix("s"), pair.good.removesuffix("s")}


def test_everyday_sentences_are_distinct_frames_with_one_gap() -> None:
    sentences = everyday_sentences()
    assert len(sentences) == len(set(sentences)) > 3000
    assert all(frame.count("[Y]") == 1 and "[X]" not in frame for frame, _ in sentences)
    assert {"book", "books", "is", "are", "was", "were"} <= {word for _, word in sentences}
