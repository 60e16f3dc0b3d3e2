"""A traced query is its answer tokens' passes, put together by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from qloc.extract.prompts.token_roles import TokenRoles, token_roles
from qloc.extract.prompts.tokenizing import TokenizedQuery
from qloc.extract.tracing.phase import Tracing
from qloc.extract.tracing.query_tracing import Asked, TracedQuery, traced_query
from qloc.extract.tracing.states import Prompts
from qloc.facts import Query
from qloc.phase_plan import TokenRole

ROLES: tuple[TokenRole, ...] = ("further_tokens", "last_token", "middle_subject", "last_subject")
PARTS = ("mlp", "residual")


@pytest.fixture(scope="module")
def asked(phase_of: Callable[..., Tracing]) -> tuple[Tracing, TokenizedQuery, TokenRoles]:
    """A query whose answer has several tokens, with a subject of one token and several behind it."""
    phase = phase_of(parts=PARTS, roles=ROLES)
    encoder = phase.extraction.source.encoder()
    query = Query(template="t", text="Peru: The capital is [Y]")
    found = encoder.ask(query, "Ur")
    assert isinstance(found, TokenizedQuery)
    assert len(found.targets) > 1
    roles = token_roles(encoder, found, "Peru")
    assert roles is not None
    return phase, found, roles


@pytest.fixture(scope="module")
def drawn(asked: Any) -> np.ndarray:
    phase, _, roles = asked
    width = phase.extraction.loaded.model.get_input_embeddings().embedding_dim
    return np.random.default_rng(1).normal(0, 3 * phase.deviation, (2, len(roles.subject), width))


@pytest.fixture(scope="module")
def found(asked: Any, drawn: np.ndarray) -> TracedQuery:
    phase, query, roles = asked
    return traced_query(
        phase.engine, Asked(clean=query, other=None, roles=roles), drawn, ROLES, phase.windows
    )


def _odds(of_tokens: list[Any]) -> Any:
    """Log odds of a product of probabilities, from each one's log odds."""
    product = np.prod([1 / (1 + np.exp(-np.asarray(one))) for one in of_tokens], axis=0)
    return np.log(product / (1 - product))


def test_clean_is_the_product_of_the_answer_tokens_probabilities(asked: Any, found: TracedQuery) -> None:
    phase, query, _ = asked
    total = 0.0
    for target in query.targets:
        with torch.no_grad():
            logits = phase.extraction.loaded.model(input_ids=torch.tensor([target.ids])).logits
        total += float(logits[0, target.position].log_softmax(0)[target.token])
    assert found.clean == pytest.approx(total - np.log(-np.expm1(total)), abs=1e-9)


def test_roles_are_means_over_their_tokens_each_restored_alone(
    asked: Any, drawn: np.ndarray, found: TracedQuery
) -> None:
    """The target's token is another position in each answer token's pass."""
    phase, query, roles = asked
    embedding = phase.extraction.loaded.model.get_input_embeddings()

    def alone(place: int | None) -> np.ndarray:
        """Log odds of the answer with one position restored, (part, layer, sample); None: the target's."""
        of_tokens = []
        for target in query.targets:
            ids = torch.tensor([target.ids])
            noise = torch.zeros(2, *embedding(ids).shape[1:], dtype=torch.float64)
            noise[:, list(roles.subject)] = torch.from_numpy(drawn)
            at = np.array([target.position if place is None else place])
            traced = phase.engine.trace(
                Prompts(ids=ids),
                Prompts(ids=ids.expand(2, -1), noise=noise),
                at,
                (target.position, target.token),
                phase.windows,
            )
            of_tokens.append(traced.restored[:, 0])
        return _odds(of_tokens)

    places: dict[str, list[int | None]] = {
        **{name: list(roles.positions[name]) for name in ROLES[:1] + ROLES[2:]}
    }
    places["last_token"] = [None]
    assert found.n_tokens.tolist() == [len(places[name]) for name in ROLES]
    assert found.n_tokens[0] > 1
    assert found.n_tokens[2] == 0
    n_layers = phase.extraction.loaded.sites.n_layers
    assert found.log_odds.shape == found.probability.shape == (2, 4, n_layers, 3)
    for number, name in enumerate(ROLES):
        if not places[name]:
            assert np.isnan(found.log_odds[:, number]).all()
            assert np.isnan(found.probability[:, number]).all()
            continue
        each = [alone(place) for place in places[name]]
        np.testing.assert_allclose(found.log_odds[:, number, :, :2], np.mean(each, 0), rtol=1e-7)
        probability = np.mean([1 / (1 + np.exp(-one)) for one in each], 0)
        np.testing.assert_allclose(found.probability[:, number, :, :2], probability, rtol=1e-7)


def test_a_corruption_that_the_query_lacks_is_missing(
    asked: Any, drawn: np.ndarray, found: TracedQuery
) -> None:
    """With another subject, its column is that subject's prompt; those of noise stay as they are."""
    phase, query, roles = asked
    assert np.isfinite(found.corrupted[:2]).all()
    assert np.isnan(found.corrupted[2])
    assert np.isnan(found.log_odds[..., 2]).all()
    assert np.isnan(found.probability[..., 2]).all()
    encoder = phase.extraction.source.encoder()
    other = encoder.ask(Query(template="t", text="Kenya: The capital is [Y]"), "Ur")
    assert [len(target.ids) for target in other.targets] == [len(target.ids) for target in query.targets]
    both = traced_query(
        phase.engine, Asked(clean=query, other=other, roles=roles), drawn, ROLES, phase.windows
    )
    np.testing.assert_allclose(both.corrupted[:2], found.corrupted[:2], rtol=1e-9)
    np.testing.assert_allclose(both.log_odds[..., :2], found.log_odds[..., :2], rtol=1e-7)
    odds = []
    for target in other.targets:
        with torch.no_grad():
            logits = phase.extraction.loaded.model(input_ids=torch.tensor([target.ids])).logits
        p = float(logits[0, target.position].softmax(0)[target.token])
        odds.append(np.log(p / (1 - p)))
    assert both.corrupted[2] == pytest.approx(_odds(odds), abs=1e-9)
    # behind the last block, the subject's own state is read by nobody
    np.testing.assert_allclose(both.log_odds[1, 3, -1, 2], both.corrupted[2], rtol=1e-9)


def test_a_pair_is_the_difference_of_log_p_of_its_forms(asked: Any, drawn: np.ndarray) -> None:
    """Of forms of one token and of two; the same noise corrupts both."""
    phase, query, roles = asked
    encoder = phase.extraction.source.encoder()
    bad = encoder.ask(query.query, "Pa")
    assert isinstance(bad, TokenizedQuery)
    assert {len(bad.targets), len(query.targets)} == {1, len(query.targets)}
    both = [Asked(clean=one, other=None, roles=roles) for one in (query, bad)]
    given = (drawn, ROLES, phase.windows)
    found = traced_query(phase.engine, both[0], *given, both[1])
    apart = [traced_query(phase.engine, one, *given) for one in both]

    def log_p(odds: Any) -> Any:
        return -np.log1p(np.exp(-np.asarray(odds)))

    clean, corrupted = ([log_p(getattr(one, name)) for one in apart] for name in ("clean", "corrupted"))
    assert found.clean == pytest.approx(clean[0] - clean[1], rel=1e-9)
    np.testing.assert_allclose(found.corrupted, corrupted[0] - corrupted[1], rtol=1e-9)
    alone = ROLES.index("last_subject")  # one token: its mean is itself
    restored = [log_p(one.log_odds[:, alone, :, :2]) for one in apart]
    np.testing.assert_allclose(found.log_odds[:, alone, :, :2], restored[0] - restored[1], rtol=1e-7)
    odds = found.log_odds[:, alone, :, :2]
    np.testing.assert_allclose(found.probability[:, alone, :, :2], 1 / (1 + np.exp(-odds)), rtol=1e-9)
