"""Phase tracing: arrays by a plan, effects by hand, units apart, models refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from qloc.arms import TracingArms
from qloc.block import PhaseBlock, Unit
from qloc.errors import InputError
from qloc.extract.prompts.token_roles import TokenRoles, token_roles
from qloc.extract.prompts.tokenizing import TokenizedQuery
from qloc.extract.signals.extraction import Extraction
from qloc.extract.tracing import phase as traced_phase
from qloc.extract.tracing.phase import Tracing
from qloc.extract.tracing.proof import refused
from qloc.facts import Fact, FactSet, Query
from qloc.random_streams import Stream


def _roles(encoder: Any, asked: Any, subject: str) -> TokenRoles:
    found = token_roles(encoder, asked, subject)
    assert found is not None
    return found


def _block(phase: Tracing, unit: Unit) -> PhaseBlock:
    return phase.extract(unit, TracingArms(traced=np.ones(unit.n_queries, dtype=bool)))


@pytest.fixture(scope="module")
def traced(phase_of: Callable[..., Tracing]) -> tuple[Tracing, dict[str, Any]]:
    phase = phase_of()
    return phase, dict(_block(phase, phase.extraction.outline.units[0]).arrays)


def test_the_outline_names_what_is_planned(phase_of: Callable[..., Tracing]) -> None:
    outline = phase_of(parts=("mlp",), roles=("last_subject",)).outline
    assert outline.labels == {
        "tracing_part": ("mlp",),
        "token_role": ("last_subject",),
        "corruption": ("noise_1", "noise_2", "other_subject"),
    }
    assert (outline.absent, outline.attrs["refused"]) == ((), "")
    assert outline.attrs["deviation"] > 0


def test_corrupted_passes_are_plain_passes_with_the_seeded_noise(traced: Any) -> None:
    """log P of the whole answer, several tokens among them, by the model's own logits."""
    phase, arrays = traced
    loaded, encoder = phase.extraction.loaded, phase.extraction.source.encoder()
    model, embedding = loaded.model, loaded.model.get_input_embeddings()
    queries = [query for of_fact in phase.extraction.asking.asked for query in of_fact]
    subjects = [
        fact.subject
        for fact, of_fact in zip(phase.extraction.facts.facts, phase.extraction.asking.asked, strict=True)
        for _ in of_fact
    ]
    assert max(len(query.targets) for query in queries) > 1
    vectors = [
        embedding.weight[of_fact[0].targets[0].ids[place]]
        for fact, of_fact in zip(phase.extraction.facts.facts, phase.extraction.asking.asked, strict=True)
        for place in _roles(encoder, of_fact[0], fact.subject).subject
    ]
    sigma = float(torch.stack(vectors).std(correction=0))
    assert phase.deviation == pytest.approx(sigma, rel=1e-9)
    for number, query in enumerate(queries):
        roles = _roles(encoder, query, subjects[number])
        shape = (2, len(roles.subject), embedding.embedding_dim)
        drawn = 3 * sigma * Stream.TRACING_NOISE.generator(0, number).standard_normal(shape)
        for sample in range(2):
            total = 0.0
            for target in query.targets:
                inputs = embedding(torch.tensor([target.ids])).clone()
                inputs[0, list(roles.subject)] += torch.from_numpy(drawn[sample])
                with torch.no_grad():
                    logits = model(inputs_embeds=inputs).logits[0, target.position]
                total += float(logits.log_softmax(0)[target.token])
            expected = total - np.log(-np.expm1(total))
            assert arrays["tracing/corrupted_log_odds"][sample, number] == pytest.approx(expected, rel=1e-5)
            assert arrays["tracing/corrupted_probability"][sample, number] == pytest.approx(
                np.exp(total), rel=1e-4
            )


def test_another_subject_is_a_prompt_of_the_relation(traced: Any) -> None:
    """Where a subject fits, the corrupted pass is that of its prompt with the query's own answer."""
    phase, arrays = traced
    others = arrays["tracing/other_subject"]
    queries = [
        (number, query) for number, of_fact in enumerate(phase.extraction.asking.asked) for query in of_fact
    ]
    model, encoder = phase.extraction.loaded.model, phase.extraction.source.encoder()
    assert (others >= 0).any()
    for place, (number, query) in enumerate(queries):
        values = arrays["tracing/corrupted_log_odds"][-1, place]
        if others[place] < 0:
            assert np.isnan(values)
            continue
        own, other = (phase.extraction.facts.facts[fact] for fact in (number, int(others[place])))
        text = query.query.text.replace(own.subject, other.subject)
        swapped = encoder.ask(replace(query.query, text=text), query.answer, ignore_tail=True)
        assert own.subject != other.subject
        total = 0.0
        for target in swapped.targets:
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([target.ids])).logits[0, target.position]
            total += float(logits.log_softmax(0)[target.token])
        assert values == pytest.approx(total - np.log(-np.expm1(total)), rel=1e-5)


def test_the_last_token_restored_in_the_last_layer_is_the_clean_pass(traced: Any) -> None:
    """And the subject's restored there changes nothing; a role without tokens is missing."""
    phase, arrays = traced
    roles, odds = phase.part.roles, arrays["tracing/log_odds"]
    clean, corrupted = arrays["tracing/clean_log_odds"], arrays["tracing/corrupted_log_odds"]
    counts = arrays["tracing/n_role_tokens"]
    last = roles.index("last_token")
    here = counts[last] == 1
    assert here.any()
    np.testing.assert_allclose(
        odds[0, last, -1, :2][:, here], np.broadcast_to(clean, (2, len(clean)))[:, here], rtol=1e-5, atol=1e-5
    )
    subject = roles.index("last_subject")
    apart = (counts[subject] == 1) & here
    np.testing.assert_allclose(odds[0, subject, -1, :2][:, apart], corrupted[:2][:, apart], rtol=1e-6)
    for role in range(len(roles)):
        assert np.isnan(odds[:, role, :, :2][..., counts[role] == 0]).all()
        assert np.isfinite(odds[:, role, :, :2][..., counts[role] > 0]).all()


def test_units_do_not_depend_on_each_other(traced: Any, phase_of: Callable[..., Tracing]) -> None:
    _, every = traced
    apart = phase_of(unit_facts=1)
    second = _block(apart, apart.extraction.outline.units[1])
    for path, values in second.arrays.items():
        np.testing.assert_allclose(every[path][..., 3:5], values, rtol=1e-5, atol=1e-5, err_msg=path)


def test_untraced_queries_are_missing(phase_of: Callable[..., Tracing]) -> None:
    phase = phase_of(parts=("residual",), roles=("last_subject",), samples=1)
    unit = phase.extraction.outline.units[0]
    chosen = np.zeros(unit.n_queries, dtype=bool)
    chosen[1] = True
    arrays = phase.extract(unit, TracingArms(traced=chosen)).arrays
    assert np.isfinite(arrays["tracing/clean_log_odds"]).tolist() == chosen.tolist()
    assert (arrays["tracing/n_role_tokens"][:, ~chosen] == -1).all()
    assert np.isnan(arrays["tracing/log_odds"][..., ~chosen]).all()


def test_a_model_whose_parts_cannot_be_traced_is_refused_by_name(
    phase_of: Callable[..., Tracing], monkeypatch: pytest.MonkeyPatch
) -> None:
    phase = phase_of()

    def refuse(engine: Any, *_: Any) -> Any:
        raise refused(engine.model, "it is a test")

    monkeypatch.setattr(traced_phase, "proved", refuse)
    outline = phase.outline
    assert outline.absent == ("tracing",)
    assert outline.attrs["refused"] == (
        "model type is 'gpt2'; expected one whose parts can be restored: it is a test. At phase tracing. "
        "Leave tracing out of --phases."
    )
    assert (
        phase.extract(phase.extraction.outline.units[0], TracingArms(traced=np.zeros(0, dtype=bool))).arrays
        == {}
    )
    with pytest.raises(InputError, match="it is a test"):
        _ = phase.engine


def _group(feature: str, *cues: str) -> Fact:
    queries = tuple(
        Query(template=f"{n}", text=f"Maria saw {cue} [Y]", good=good, bad=bad, cue=cue)
        for n, (cue, good, bad) in enumerate(zip(cues, ("river", "Lima"), ("rivers", "Paris"), strict=True))
    )
    return Fact(
        id=feature, relation="agreement", subject=feature, object=feature, queries=queries,
        kind="minimal_pair", feature=feature, objects=(feature,),
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_minimal_pairs_are_traced_by_the_cue_of_each_sentence(
    phase_of: Callable[..., Tracing], kind: str
) -> None:
    """Clean and with another cue by the model's own logits; fact-only plans leave them out."""
    planned = phase_of(kind, parts=("residual",), samples=1)
    facts = FactSet(
        facts=(_group("singular", "this", "that"), _group("plural", "these", "those")), source="x"
    )
    extraction = Extraction(planned.extraction.plan, planned.extraction.source, facts)
    phase = replace(planned, extraction=extraction)
    arrays = _block(phase, extraction.outline.units[0]).arrays
    encoder, model = extraction.source.encoder(), extraction.loaded.model

    def log_p(text: str, answer: str) -> float:
        asked = encoder.ask(Query(template="t", text=text), answer)
        assert isinstance(asked, TokenizedQuery)
        total = 0.0
        for target in asked.targets:
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([target.ids])).logits[0, target.position]
            total += float(logits.log_softmax(0)[target.token])
        return total

    traced = np.isfinite(arrays["tracing/clean_log_odds"])
    assert traced.any()
    number = -1
    for fact in facts.facts:
        for query in fact.queries:
            number += 1
            if not traced[number]:  # forms of different length in a masked model
                assert kind == "bert"
                continue
            expected = log_p(query.text, str(query.good)) - log_p(query.text, str(query.bad))
            assert arrays["tracing/clean_log_odds"][number] == pytest.approx(expected, rel=1e-4, abs=1e-5)
            other = int(arrays["tracing/other_subject"][number])
            if other < 0:
                continue
            cues = [of.cue for of in facts.facts[other].queries]
            swapped = [
                log_p(text, str(query.good)) - log_p(text, str(query.bad))
                for text in (query.text.replace(query.cue, cue) for cue in cues)
            ]
            corrupted = arrays["tracing/corrupted_log_odds"][-1, number]
            assert min(abs(corrupted - value) for value in swapped) < 1e-4
    assert phase.outline.attrs["pairs"] is True
    assert "pairs" not in planned.outline.attrs
