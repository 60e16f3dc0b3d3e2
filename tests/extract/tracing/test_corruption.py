"""Noise by its seed, deviations by hand, and other subjects that a prompt can carry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from qloc.extract.models.loading import source
from qloc.extract.prompts.token_roles import TokenRoles, token_roles
from qloc.extract.prompts.tokenizing import Encoder, Target, TokenizedQuery
from qloc.extract.tracing.corruption import (
    OtherSubjects,
    corrupted,
    embedding_deviation,
    noise,
    subject_ids,
)
from qloc.facts import Fact, Query, fill

TEMPLATE = "The capital of [X] is [Y]"


def _fact(subject: str, answer: str, **changed: Any) -> Fact:
    queries = (Query(template=TEMPLATE, text=fill(TEMPLATE, subject)),)
    made = Fact(
        id=subject, relation="capital", subject=subject, object=answer, objects=(answer,), queries=queries
    )
    return replace(made, **changed)


@pytest.fixture(scope="module", params=["gpt2", "bert"])
def encoder(request: pytest.FixtureRequest, tiny: Callable[[str], Any]) -> Encoder:
    return source(str(tiny(request.param).folder)).encoder()


def _asked(encoder: Encoder, fact: Fact, text: str | None = None) -> TokenizedQuery:
    query = fact.queries[0] if text is None else Query(template=text, text=fill(text, fact.subject))
    found = encoder.ask(query, fact.object)
    assert isinstance(found, TokenizedQuery)
    return found


def test_deviation_is_that_of_all_entries_of_the_tokens_as_often_as_they_occur(families: Any) -> None:
    model = families["gpt2"].loaded.model
    ids = [7, 7, 11, 200]
    entries = model.transformer.wte.weight.numpy()[ids].ravel()
    expected = np.sqrt(np.mean((entries - entries.mean()) ** 2))
    assert embedding_deviation(model, ids) == pytest.approx(expected, rel=1e-12)
    assert embedding_deviation(model, [7, 11, 200]) != pytest.approx(expected, rel=1e-3)


def test_subjects_tokens_are_in_order_and_none_where_no_subject_is_named(encoder: Encoder) -> None:
    kenya, peru = _fact("Kenya", "Paris"), _fact("Peru", "Lima")
    nameless = _fact("France", "Paris", queries=(Query(template="t", text="The capital is [Y]"),))
    facts = (kenya, nameless, peru)
    ids = subject_ids(encoder, [(_asked(encoder, fact), fact.subject) for fact in facts])
    assert encoder.tokenizer.decode(ids).strip() == "KenyaPeru"


def test_noise_is_seeded_by_the_query_alone_and_grows_with_its_scale() -> None:
    roles = TokenRoles(subject=(1, 2, 3), positions={}, is_last_apart=True)
    drawn = noise(2.0, roles, 500, 4, seed=5, query=9)
    assert drawn.shape == (4, 3, 500)
    np.testing.assert_array_equal(noise(2.0, roles, 500, 4, seed=5, query=9), drawn)
    np.testing.assert_allclose(noise(6.0, roles, 500, 4, seed=5, query=9), 3 * drawn)
    for other in (noise(2.0, roles, 500, 4, seed=5, query=8), noise(2.0, roles, 500, 4, seed=6, query=9)):
        assert abs(np.corrcoef(other.ravel(), drawn.ravel())[0, 1]) < 0.1
    assert drawn.std() == pytest.approx(2.0, abs=0.1)  # 6,000 draws: 5 standard errors
    assert drawn.mean() == pytest.approx(0.0, abs=0.13)


def test_only_another_subject_of_the_relation_with_another_answer_and_as_many_tokens_fits(
    encoder: Encoder,
) -> None:
    """Kenya and Peru are two tokens each behind a space; all else here is refused for one reason each."""
    kenya = _fact("Kenya", "Paris")
    unfit = [
        kenya,
        _fact("Peru", "Paris"),  # the same answer
        _fact("Peru", "Lima", objects=("Lima", "Paris")),  # and one among others
        _fact("Peru", "Lima", relation="river"),
        _fact("Peru", "Lima", kind="minimal_pair", bad="Paris"),
        _fact("Kenya", "Lima"),  # the same subject
        _fact("Peru is Peru", "Lima"),  # too many tokens
        _fact("", "Lima"),
    ]
    asked = _asked(encoder, kenya)
    assert OtherSubjects(encoder=encoder, facts=unfit, seed=0).of(asked, 0, 3) is None
    facts = [*unfit, _fact("Peru", "Lima")]
    found = OtherSubjects(encoder=encoder, facts=facts, seed=0).of(asked, 0, 3)
    assert found is not None
    other = found.asked
    assert found.fact == len(unfit)
    assert (other.prompt, other.answer) == ("The capital of Peru is [Y]", "Paris")
    roles = token_roles(encoder, asked, "Kenya")
    assert roles is not None
    for mine, theirs in zip(asked.targets, other.targets, strict=True):
        assert (theirs.position, theirs.token) == (mine.position, mine.token)
        apart = [place for place, (a, b) in enumerate(zip(mine.ids, theirs.ids, strict=True)) if a != b]
        assert apart
        assert set(apart) <= set(roles.subject)


def test_the_first_that_fits_is_drawn_by_the_query_and_every_mention_changes(encoder: Encoder) -> None:
    """Of two that fit each is drawn for some queries; a longer word that begins alike is not a mention."""
    facts = [_fact("Kenya", "Paris"), _fact("Peru", "Lima"), _fact("Peru", "Nairobi")]
    asked = _asked(encoder, facts[0], "Kenyans: [X], [X] [Y]")
    others = OtherSubjects(encoder=encoder, facts=facts, seed=0)
    drawn = []
    for query in range(12):
        found = others.of(asked, 0, query)
        assert found is not None
        assert found == others.of(asked, 0, query)
        assert found.asked.prompt == "Kenyans: Peru, Peru [Y]"
        drawn.append(found.fact)
    assert set(drawn) == {1, 2}


def test_the_cue_of_another_feature_takes_that_of_a_pair_s_sentence(encoder: Encoder) -> None:
    """A cue of the same feature would corrupt nothing; each sentence of a group has its own.

    Names stand for cues: they are of two tokens each.
    """

    def group(feature: str, *cues: str) -> Fact:
        queries = [
            Query(template=f"{n}", text=f"Maria saw {cue} [Y]", good="cup", bad="cups", cue=cue)
            for n, cue in enumerate(cues)
        ]
        kind: dict[str, Any] = {"kind": "minimal_pair", "feature": feature}
        return Fact(
            id=feature, relation="agreement", subject=feature, object=feature, queries=tuple(queries), **kind
        )

    facts = [group("singular", "Kenya", "Peru"), group("plural", "Peru", "Kenya")]
    others = OtherSubjects(encoder=encoder, facts=facts, seed=0)
    alone = OtherSubjects(encoder=encoder, facts=facts[:1], seed=0)
    for query, cue in zip(facts[0].queries, ("Peru", "Kenya"), strict=True):
        asked = encoder.ask(query, "cup")
        assert isinstance(asked, TokenizedQuery)
        assert alone.of(asked, 0, 5) is None
        found = others.of(asked, 0, 5)
        assert found is not None
        assert (found.fact, found.asked.prompt) == (1, f"Maria saw {cue} [Y]")
        assert found.asked.answer == "cup"


def test_a_query_that_does_not_name_its_subject_has_no_other(encoder: Encoder) -> None:
    facts = [_fact("Kenya", "Paris"), _fact("Peru", "Lima")]
    asked = _asked(encoder, facts[0], "The capital is [Y]")
    assert OtherSubjects(encoder=encoder, facts=facts, seed=0).of(asked, 0, 0) is None


@pytest.mark.parametrize("has_other", [True, False])
def test_prompts_are_one_a_sample_and_then_the_other_subject(has_other: bool) -> None:
    """Noise stands at the subject's tokens alone, in the dtype of the embeddings."""
    target, other = Target(ids=(4, 5, 6), position=2, token=9), Target(ids=(4, 8, 6), position=2, token=9)
    drawn = np.array([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])

    def like(ids: np.ndarray) -> torch.Tensor:
        return torch.zeros(*ids.shape, 2, dtype=torch.float32)

    ids, added = corrupted(target, other if has_other else None, drawn, (1, 2), like)
    assert ids.tolist() == [[4, 5, 6], [4, 5, 6], *([[4, 8, 6]] if has_other else [])]
    assert added.dtype == torch.float32
    zero = [0.0, 0.0]
    expected = [[zero, [1.0, 2.0], [3.0, 4.0]], [zero, [5.0, 6.0], [7.0, 8.0]], [zero] * 3]
    assert added.tolist() == expected[: len(ids)]
