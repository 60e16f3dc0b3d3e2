"""The feature of an agreement pair, and the words that its form agrees with."""

from __future__ import annotations

import pytest

from qloc.extract.datasets.blimp_agreement import feature_of, subject_of

NOUN, VERB, ANAPHOR = "determiner_noun_agreement", "subject_verb_agreement", "anaphor_agreement"


@pytest.mark.parametrize(
    ("term", "prefix", "good", "bad", "feature"),
    [
        (NOUN, "He sold the", "library", "libraries", "singular"),
        (NOUN, "He sold the", "knives", "knife", "plural"),
        (NOUN, "He sold these", "women", "woman", "plural"),  # irregular: by the determiner
        (NOUN, "He sold these shiny", "oxen", "ox", "plural"),
        (NOUN, "He sold that", "books", "book", ""),  # form and determiner disagree
        (NOUN, "He passed", "this", "these", "singular"),
        (NOUN, "Many guys clean", "this", "these", "singular"),  # the subject's determiner rules nothing here
        (NOUN, "He passed", "this", "that", ""),
        (VERB, "The plays about literature", "astound", "astounds", "plural"),
        (VERB, "The boy", "carries", "carry", "singular"),
        (VERB, "The sketch of those trucks", "hasn't", "haven't", "singular"),
        (VERB, "A niece of most senators", "went", "go", "singular"),  # not "most": it is not the subject's
        (VERB, "A lot of children", "cough", "coughs", "plural"),  # "a" rules nothing
        (VERB, "The boy", "is", "was", ""),
        (ANAPHOR, "Tracy described", "herself", "himself", "feminine"),
        (ANAPHOR, "Tracy described", "herself", "themselves", "singular"),
        (ANAPHOR, "All girls healed", "themselves", "itself", "plural"),
        ("island_effects", "Who did", "boy", "boys", ""),
    ],
)
def test_a_feature_needs_both_forms_or_a_determiner(
    term: str, prefix: str, good: str, bad: str, feature: str
) -> None:
    assert feature_of(term, prefix, good, bad) == feature


@pytest.mark.parametrize(
    ("term", "prefix", "suffix", "noun", "subject"),
    [
        (NOUN, "He sold those old", ".", "", "those"),
        (NOUN, "He sold", " grocery stores.", "grocery stores", "grocery stores"),
        (VERB, "A lot of children", ".", "", "A lot of children"),
        (VERB, "Lissa", " Raymond.", "", "Lissa"),
        (ANAPHOR, "These ladies weren't leaving", ".", "", "These ladies"),
        ("other", "", " burn, he says.", "", "burn"),
    ],
)
def test_a_subject_is_what_the_form_agrees_with(
    term: str, prefix: str, suffix: str, noun: str, subject: str
) -> None:
    assert subject_of(term, prefix, suffix, noun) == subject
