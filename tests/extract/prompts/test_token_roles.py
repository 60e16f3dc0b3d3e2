"""Roles of tokens, by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from qloc.extract.models.loading import source
from qloc.extract.prompts.token_roles import token_roles
from qloc.facts import Query, fill


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_each_token_behind_the_subject_has_one_role(tiny: Callable[[str], Any], kind: str) -> None:
    encoder = source(str(tiny(kind).folder)).encoder()
    subject, text = "Kenya Nairobi Peru", "The capital of [X] is [Y]."
    query = Query(template=text, text=fill(text, subject))
    asked = encoder.ask(query, "Paris")
    assert not isinstance(asked, str)
    roles = token_roles(encoder, asked, subject)
    assert roles is not None
    ids = asked.targets[0].ids

    def words(places: tuple[int, ...]) -> str:
        return encoder.tokenizer.decode([ids[place] for place in places]).strip()

    assert words(roles.subject) == subject
    assert len(roles.subject) > 2
    of_subject = [
        place
        for role in ("first_subject", "middle_subject", "last_subject")
        for place in roles.positions[role]
    ]
    assert tuple(of_subject) == roles.subject
    behind = roles.positions["next_token"] + roles.positions["further_tokens"]
    if kind == "gpt2":
        last = asked.targets[0].position
        assert words((*behind, last)) == "is"
        assert (roles.is_last_apart, last not in behind) == (True, True)
    else:
        assert "is" in words(behind)
        assert encoder.tokenizer.mask_token_id not in [ids[place] for place in behind]
        assert ids.index(encoder.tokenizer.sep_token_id) not in behind
    assert set(behind).isdisjoint(roles.subject)


def test_a_prompt_that_ends_with_its_subject_has_no_other_last_token(tiny: Callable[[str], Any]) -> None:
    encoder = source(str(tiny("gpt2").folder)).encoder()
    text = "The capital of [X] [Y]"
    asked = encoder.ask(Query(template=text, text=fill(text, "France")), "Paris")
    assert not isinstance(asked, str)
    roles = token_roles(encoder, asked, "France")
    assert roles is not None
    assert roles.positions["last_subject"] == (roles.subject[-1],)
    assert roles.is_last_apart == (asked.targets[0].position not in roles.subject)


def test_every_mention_is_corrupted_and_the_last_one_has_the_roles(tiny: Callable[[str], Any]) -> None:
    encoder = source(str(tiny("gpt2").folder)).encoder()
    text = "Peru is Peru is [Y]"
    asked = encoder.ask(Query(template=text, text=text), "Lima")
    assert not isinstance(asked, str)
    roles = token_roles(encoder, asked, "Peru")
    assert roles is not None
    ids = asked.targets[0].ids
    n_last = sum(len(roles.positions[role]) for role in ("first_subject", "middle_subject", "last_subject"))
    assert len(roles.subject) > n_last
    assert encoder.tokenizer.decode([ids[place] for place in roles.subject]).replace(" ", "") == "PeruPeru"
    assert token_roles(encoder, asked, "Kenya") is None
